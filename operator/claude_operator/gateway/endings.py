"""How attempts and sessions end, in the database: result, close, cancel, outcome.

All of it is repeatable, since every caller may have lost the answer. The first result and the first outcome
stand: what was acted on does not change.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from claude_operator.gateway import inbox
from claude_operator.gateway.callbacks.owe import owe
from claude_operator.gateway.claims import EMPTY_SUMS, ensure_session
from claude_operator.gateway.clock import stamp, utc_now
from claude_operator.gateway.github import answers
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.records import NEVER_CLAIMED, outcome_of
from claude_operator.gateway.store import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from claude_operator.gateway.live import Grant
    from claude_operator.wire.internal import CancelRequest, CloseRequest, Outcome
    from claude_operator.wire.session import RunResult


def report(connection: Connection, grant: Grant, result: RunResult) -> None:
    """The runner's word on how its run ended; the first one stands."""
    table = tables.attempts
    told = connection.execute(
        update(table)
        .where(
            table.c.session_uid == grant.session_uid,
            table.c.number == grant.attempt,
            table.c.pod_uid == grant.pod_uid,
            table.c.reported.is_(None),
        )
        .values(reported=result.model_dump_json())
    )
    if told.rowcount:
        data = {"reason": result.reason.value, "message": result.message[:1000], "exitCode": result.exit_code}
        append(connection, grant.session_uid, grant.attempt, "gateway", [entry("result", data)])


def close(connection: Connection, uid: str, number: int, request: CloseRequest) -> None:
    """No pod may act for this attempt, or an earlier one, any more; also when none ever claimed it."""
    attempts = tables.attempts
    ensure_session(connection, uid, request.namespace, request.name)
    known = connection.execute(
        select(attempts.c.number).where(attempts.c.session_uid == uid, attempts.c.number == number)
    ).scalar()
    if known is None:
        connection.execute(
            insert(attempts).values(
                session_uid=uid,
                number=number,
                pod_uid=f"{NEVER_CLAIMED}{uid}/{number}"[:64],
                namespace=request.namespace,
                project="",
                grant="",
                claimed_at="",
                closed_at=stamp(),
                **EMPTY_SUMS,
            )
        )
    closed = connection.execute(
        update(attempts)
        .where(attempts.c.session_uid == uid, attempts.c.number <= number, attempts.c.closed_at.is_(None))
        .values(closed_at=stamp())
    )
    if closed.rowcount or known is None:
        append(connection, uid, number, "gateway", [entry("closed", {"attempt": number})])


def cancel(connection: Connection, uid: str, request: CancelRequest) -> bool:
    """The session is to stop; False: that was known."""
    sessions = tables.sessions
    ensure_session(connection, uid, request.namespace, request.name)
    deadline = stamp(utc_now() + timedelta(seconds=request.grace_seconds))
    asked = connection.execute(
        update(sessions)
        .where(sessions.c.uid == uid, sessions.c.cancel_requested_at.is_(None))
        .values(cancel_requested_at=stamp(), cancel_deadline=deadline)
    )
    if not asked.rowcount or outcome_of(connection, uid) is not None:
        return False
    inbox.put(connection, uid, "cancel")
    data = {"graceSeconds": request.grace_seconds}
    append(connection, uid, 0, "gateway", [entry("cancel_requested", data)])
    return True


def conclude(connection: Connection, outcome: Outcome, metadata: Mapping[str, Any] | None = None) -> Outcome:
    """Put a session's end on record; the outcome that stands is returned.

    Whoever is to be told of it is owed that from the same moment on, never the one without the other.

    Args:
        connection: within a transaction.
        outcome: how it ended.
        metadata: what the client gave the session to keep, for its callback.
    """
    standing = outcome_of(connection, outcome.uid)
    if standing is not None:
        return standing
    attempts, locks = tables.attempts, tables.branch_locks
    kept = outcome.model_copy(update={"callback": None})
    ensure_session(connection, outcome.uid, outcome.namespace, outcome.name)
    connection.execute(
        insert(tables.outcomes).values(
            uid=outcome.uid,
            namespace=outcome.namespace,
            name=outcome.name,
            recorded_at=stamp(),
            body=kept.model_dump_json(),
        )
    )
    connection.execute(
        update(attempts)
        .where(attempts.c.session_uid == outcome.uid, attempts.c.closed_at.is_(None))
        .values(closed_at=stamp())
    )
    connection.execute(delete(locks).where(locks.c.session_uid == outcome.uid))
    data = {"phase": str(outcome.phase), "reason": outcome.reason, "message": outcome.message}
    append(connection, outcome.uid, 0, "gateway", [entry("outcome", data)])
    owe(connection, outcome, metadata)
    answers.owe(connection, outcome.uid, utc_now())
    return kept
