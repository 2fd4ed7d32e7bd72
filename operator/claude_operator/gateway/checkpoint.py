"""Checkpoints: conversation and working tree at one moment, from which a later attempt goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from claude_operator.gateway import blobs
from claude_operator.gateway.clock import stamp
from claude_operator.gateway.errors import claim_refused
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.store import tables
from claude_operator.wire.session import ArtifactUpload, Checkpoint

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.live import Grant


def keep(connection: Connection, grant: Grant, checkpoint: Checkpoint) -> None:
    """Replace the session's checkpoint.

    Raises:
        Refusal: 409, a blob of it is not whole.
    """
    _require_holder(connection, grant)
    uid = grant.session_uid
    blobs.require_whole(connection, uid, checkpoint.transcript)
    if checkpoint.bundle is not None:
        blobs.require_whole(connection, uid, checkpoint.bundle)
    table = tables.checkpoints
    connection.execute(delete(table).where(table.c.session_uid == uid))
    connection.execute(
        insert(table).values(
            session_uid=uid, attempt=grant.attempt, taken_at=stamp(), body=checkpoint.model_dump_json()
        )
    )
    blobs.drop_unused(connection, uid, _used(connection, uid))
    told = entry("checkpoint", {"turns": checkpoint.turns, "commit": checkpoint.commit})
    append(connection, uid, grant.attempt, "gateway", [told])


def keep_artifact(connection: Connection, grant: Grant, upload: ArtifactUpload) -> None:
    """Keep a file of the session; a later one of the same path replaces it.

    Raises:
        Refusal: 409, its blob is not whole.
    """
    _require_holder(connection, grant)
    uid, table = grant.session_uid, tables.artifacts
    blobs.require_whole(connection, uid, upload.blob)
    connection.execute(delete(table).where(table.c.session_uid == uid, table.c.path == upload.path))
    connection.execute(
        insert(table).values(
            session_uid=uid, path=upload.path, sha256=upload.blob.sha256, size=upload.blob.size
        )
    )
    told = entry("artifact", {"path": upload.path, "size": upload.blob.size})
    append(connection, uid, grant.attempt, "gateway", [told])


def latest(connection: Connection, session_uid: str) -> Checkpoint | None:
    """The checkpoint of a session."""
    table = tables.checkpoints
    body = connection.execute(select(table.c.body).where(table.c.session_uid == session_uid)).scalar()
    return Checkpoint.model_validate_json(body) if body else None


def _used(connection: Connection, uid: str) -> set[str]:
    table = tables.artifacts
    used = set(connection.execute(select(table.c.sha256).where(table.c.session_uid == uid)).scalars())
    checkpoint = latest(connection, uid)
    if checkpoint is not None:
        used.add(checkpoint.transcript.sha256)
        if checkpoint.bundle is not None:
            used.add(checkpoint.bundle.sha256)
    return used


def _require_holder(connection: Connection, grant: Grant) -> None:
    # Looked at in the same transaction: a pod that was fenced while it sent this must not overwrite the
    # checkpoint of the pod that follows it.
    table = tables.attempts
    row = connection.execute(
        select(table.c.pod_uid, table.c.closed_at).where(
            table.c.session_uid == grant.session_uid, table.c.number == grant.attempt
        )
    ).one_or_none()
    if row is None or row.pod_uid != grant.pod_uid or row.closed_at is not None:
        raise claim_refused("this attempt is closed, or another pod has claimed it")
