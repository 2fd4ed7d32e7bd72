"""What the gateway knows of a session, put together for the controller. Reading only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import select

from claude_operator.gateway.model.accounts import of_row
from claude_operator.gateway.model.usage import Spent
from claude_operator.gateway.redaction import redact
from claude_operator.gateway.store import tables
from claude_operator.resources.session_status import ArtifactStatus, PullRequestStatus
from claude_operator.wire.internal import (
    AttemptRecord,
    KnownSession,
    Outcome,
    Published,
    SessionRecord,
    UnfinishedSessions,
)
from claude_operator.wire.session import RunResult

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger(__name__)

NEVER_CLAIMED = "never-claimed/"
"""Prefix of the pod uid in the row of an attempt that was closed before any pod claimed it."""


def session_record(connection: Connection, uid: str) -> SessionRecord | None:
    """The record of one session; None when nothing is known of it."""
    sessions, attempts, checkpoints = tables.sessions, tables.attempts, tables.checkpoints
    row = connection.execute(select(sessions).where(sessions.c.uid == uid)).one_or_none()
    if row is None:
        return None
    rows = [
        attempt
        for attempt in connection.execute(
            select(attempts).where(attempts.c.session_uid == uid).order_by(attempts.c.number)
        )
        if not attempt.pod_uid.startswith(NEVER_CLAIMED)
    ]
    kept = connection.execute(select(checkpoints.c.attempt).where(checkpoints.c.session_uid == uid)).scalar()
    return SessionRecord(
        uid=uid,
        namespace=row.namespace,
        name=row.name,
        claude_session_id=row.claude_session_id,
        usage=sum((of_row(attempt) for attempt in rows), Spent()).to_usage(),
        attempts=[
            AttemptRecord(
                number=attempt.number,
                pod_uid=attempt.pod_uid,
                claimed_at=attempt.claimed_at,
                closed_at=attempt.closed_at,
                usage=of_row(attempt).to_usage(),
                reported=_shown(attempt.reported, uid) if attempt.reported else None,
                verdict=attempt.verdict,
                verdict_message=attempt.verdict_message,
            )
            for attempt in rows
        ],
        published=(
            Published(branch=row.published_branch, commit=row.published_commit)
            if row.published_branch
            else None
        ),
        pull_request=(
            PullRequestStatus(url=row.pull_request_url, number=row.pull_request_number)
            if row.pull_request_url
            else None
        ),
        artifacts=artifacts_of(connection, uid),
        cancel_requested=row.cancel_requested_at is not None,
        last_event=row.last_event,
        has_checkpoint=kept is not None,
    )


def _shown(reported: str, uid: str) -> RunResult | None:
    """What a runner told of its end, as the journal would show it: an agent's words may hold a key."""
    try:
        return RunResult.model_validate_json(redact(reported))
    except ValidationError:
        _log.warning("a result of session %s is not readable after redaction", uid)
        return None


def unfinished(connection: Connection) -> UnfinishedSessions:
    """The sessions without an outcome."""
    sessions, outcomes = tables.sessions, tables.outcomes
    rows = connection.execute(
        select(sessions.c.uid, sessions.c.namespace, sessions.c.name)
        .outerjoin(outcomes, outcomes.c.uid == sessions.c.uid)
        .where(outcomes.c.uid.is_(None))
    )
    return UnfinishedSessions(
        sessions=[KnownSession(uid=row.uid, namespace=row.namespace, name=row.name) for row in rows]
    )


def artifacts_of(connection: Connection, uid: str) -> list[ArtifactStatus]:
    """The files that a session has left, by path."""
    table = tables.artifacts
    rows = connection.execute(select(table).where(table.c.session_uid == uid).order_by(table.c.path))
    return [ArtifactStatus(path=row.path, size=row.size, sha256=row.sha256) for row in rows]


def outcome_of(connection: Connection, uid: str) -> Outcome | None:
    """How the session with this uid ended."""
    table = tables.outcomes
    body = connection.execute(select(table.c.body).where(table.c.uid == uid)).scalar()
    return Outcome.model_validate_json(body) if body else None


def latest_outcome(connection: Connection, namespace: str, name: str) -> Outcome | None:
    """How the last session of this name ended."""
    table = tables.outcomes
    body = connection.execute(
        select(table.c.body)
        .where(table.c.namespace == namespace, table.c.name == name)
        .order_by(table.c.serial.desc())
        .limit(1)
    ).scalar()
    return Outcome.model_validate_json(body) if body else None


def last_words(connection: Connection, uid: str) -> str:
    """The whole summary that the last attempt's runner told; an outcome's is cut."""
    table = tables.attempts
    body = connection.execute(
        select(table.c.reported)
        .where(table.c.session_uid == uid, table.c.reported.is_not(None))
        .order_by(table.c.number.desc())
        .limit(1)
    ).scalar()
    return RunResult.model_validate_json(body).summary if body else ""
