"""The claim's transaction: which pod is the live one of a session. Database only; `claim` does the asking.

One transaction decides about attempt, slot and branch together; whatever it refuses leaves no trace. It is
idempotent for the pod that holds the claim, so an answer that was lost is asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from claude_operator.gateway.clock import stamp
from claude_operator.gateway.errors import Refusal, claim_refused
from claude_operator.gateway.live import Grant
from claude_operator.gateway.store import tables
from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim that stands."""

    grant: Grant
    first: bool
    """False: this pod had claimed before."""


def ensure_session(connection: Connection, uid: str, namespace: str, name: str, project: str = "") -> None:
    """Put a session on record, unless it is; a later claim fills in its project."""
    table = tables.sessions
    known = connection.execute(select(table.c.project).where(table.c.uid == uid)).scalar()
    if known is None:
        connection.execute(
            insert(table).values(
                uid=uid,
                namespace=namespace,
                name=name,
                project=project,
                created_at=stamp(),
                last_event=0,
                last_inbox=0,
                stored_bytes=0,
                journal_full=False,
            )
        )
    elif project and not known:
        connection.execute(update(table).where(table.c.uid == uid).values(project=project))


def claim(connection: Connection, grant: Grant, most_at_once: int | None) -> Claimed:
    """Make the pod of `grant` the live one.

    Args:
        connection: within a transaction.
        grant: what it would be granted.
        most_at_once: the project's maxConcurrentSessions.

    Raises:
        Refusal: 409; the text says why.
    """
    sessions, attempts, fenced = tables.sessions, tables.attempts, tables.fenced_pods
    uid, number = grant.session_uid, grant.attempt
    ensure_session(connection, uid, grant.namespace, grant.name, grant.project)
    _require_unfinished(connection, uid)
    why = connection.execute(select(fenced.c.why).where(fenced.c.pod_uid == grant.pod_uid)).scalar()
    if why is not None:
        raise claim_refused(why, status=409)
    rows = list(
        connection.execute(select(attempts).where(attempts.c.session_uid == uid).order_by(attempts.c.number))
    )
    if rows and rows[-1].number > number:
        raise claim_refused(
            f"attempt {rows[-1].number} of the session has begun: attempt {number} is over", status=409
        )
    same = next((row for row in rows if row.number == number), None)
    if same is not None and same.closed_at is not None:
        raise claim_refused(f"attempt {number} is closed", status=409)
    if same is not None and same.pod_uid == grant.pod_uid:
        return Claimed(Grant.model_validate_json(same.grant), first=False)
    _take_slot(connection, grant, most_at_once)
    _lock_branch(connection, grant)
    for row in rows:
        if row.closed_at is None:
            _fence(connection, row.pod_uid, uid, f"pod {grant.pod_name} has claimed attempt {number}")
    connection.execute(
        update(attempts)
        .where(attempts.c.session_uid == uid, attempts.c.number < number, attempts.c.closed_at.is_(None))
        .values(closed_at=stamp())
    )
    if same is not None:
        connection.execute(
            update(attempts)
            .where(attempts.c.session_uid == uid, attempts.c.number == number)
            # The new pod counts its events from 1 again; those of the old one stay.
            .values(pod_uid=grant.pod_uid, grant=grant.model_dump_json(), acknowledged=0)
        )
        events = tables.events
        connection.execute(
            update(events).where(events.c.session_uid == uid, events.c.attempt == number).values(pod_seq=None)
        )
    else:
        connection.execute(insert(attempts).values(**attempt_row(grant)))
    connection.execute(
        update(sessions).where(sessions.c.uid == uid).values(claude_session_id=grant.claude_session_id)
    )
    return Claimed(grant, first=True)


def attempt_row(grant: Grant) -> dict[str, object]:
    """A new row of `attempts`."""
    return {
        "session_uid": grant.session_uid,
        "number": grant.attempt,
        "pod_uid": grant.pod_uid,
        "namespace": grant.namespace,
        "project": grant.project,
        "grant": grant.model_dump_json(),
        "claimed_at": stamp(),
        **EMPTY_SUMS,
    }


EMPTY_SUMS = {
    "acknowledged": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
    "cost_nanousd": 0,
    "turns": 0,
    "estimated": False,
    "verdict_message": "",
}


def _require_unfinished(connection: Connection, uid: str) -> None:
    outcomes, sessions = tables.outcomes, tables.sessions
    if connection.execute(select(outcomes.c.serial).where(outcomes.c.uid == uid)).scalar() is not None:
        raise claim_refused("the session is finished: its tokens are void", status=409)
    cancelled = select(sessions.c.cancel_requested_at).where(sessions.c.uid == uid)
    if connection.execute(cancelled).scalar() is not None:
        raise Refusal(409, Reason.CANCELLED, "the session is cancelled")


def _take_slot(connection: Connection, grant: Grant, most_at_once: int | None) -> None:
    if most_at_once is None:
        return
    attempts = tables.attempts
    others = connection.execute(
        select(func.count(func.distinct(attempts.c.session_uid))).where(
            attempts.c.namespace == grant.namespace,
            attempts.c.project == grant.project,
            attempts.c.closed_at.is_(None),
            attempts.c.session_uid != grant.session_uid,
        )
    ).scalar_one()
    if others >= most_at_once:
        raise Refusal(
            409,
            Reason.CONCURRENCY_LIMIT,
            f"{others} sessions of project {grant.project} run; its maxConcurrentSessions is {most_at_once}",
        )


def _lock_branch(connection: Connection, grant: Grant) -> None:
    locks, outcomes = tables.branch_locks, tables.outcomes
    mine = (
        locks.c.host == grant.host,
        locks.c.repository == grant.repository,
        locks.c.branch == grant.publish_branch,
    )
    holder = connection.execute(select(locks.c.session_uid).where(*mine)).scalar()
    if holder == grant.session_uid:
        return
    if holder is not None:
        over = connection.execute(select(outcomes.c.serial).where(outcomes.c.uid == holder)).scalar()
        if over is None:
            raise claim_refused(
                f"branch {grant.publish_branch} of {grant.host}/{grant.repository} is another unfinished "
                f"session's (uid {holder}): choose another publish.branch or wait for it",
                status=409,
            )
        connection.execute(delete(locks).where(*mine))
    connection.execute(
        insert(locks).values(
            host=grant.host,
            repository=grant.repository,
            branch=grant.publish_branch,
            session_uid=grant.session_uid,
        )
    )


def _fence(connection: Connection, pod_uid: str, session_uid: str, why: str) -> None:
    fenced = tables.fenced_pods
    known = connection.execute(select(fenced.c.pod_uid).where(fenced.c.pod_uid == pod_uid)).scalar()
    if known is None:
        connection.execute(insert(fenced).values(pod_uid=pod_uid, session_uid=session_uid, why=why))
