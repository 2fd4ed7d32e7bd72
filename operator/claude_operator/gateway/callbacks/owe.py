"""What is told of a session's end, put into the outbox in the transaction that puts the end on record.

The text is made once, so every try says the same, whatever happens to the session's resource, its project
or the gateway's version meanwhile.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select

from claude_operator.gateway.clock import utc_now
from claude_operator.gateway.live import Grant
from claude_operator.gateway.outbox import queue
from claude_operator.gateway.outbox.delivery import Wanted
from claude_operator.gateway.records import session_record
from claude_operator.gateway.redaction import redact
from claude_operator.gateway.store import tables
from claude_operator.resources.identity import ANNOTATION_REQUEST, session_id_of
from claude_operator.resources.lifecycle import ENDED_AS
from claude_operator.wire.internal import Callback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from claude_operator.wire.internal import Outcome

KIND: Final = "notify"
_DELETED: Final = "cancelled"
"""A session that is deleted before it has ended was stopped by somebody."""

_log = logging.getLogger(__name__)


class Owed(BaseModel):
    """The body of the outbox's row."""

    model_config = ConfigDict(frozen=True)

    url: str
    secret: str | None
    session: dict[str, Any]
    """As it is told."""


def owe(connection: Connection, outcome: Outcome, metadata: Mapping[str, Any] | None) -> None:
    """Owe the callback of a session that has just ended, if anybody wants to be called.

    Args:
        connection: within the transaction that records the outcome.
        outcome: how it ended.
        metadata: what the client gave the session to keep.
    """
    callback = outcome.callback or _granted(connection, outcome)
    if callback is None:
        return
    owed = Owed(
        url=callback.url,
        secret=callback.secret,
        session=_session(connection, outcome, callback, metadata),
    )
    wanted = Wanted(
        session_uid=outcome.uid,
        kind=KIND,
        namespace=outcome.namespace,
        project=callback.project,
        target=shown(callback.url),
        body=owed.model_dump_json(),
    )
    queue.put(connection, wanted, utc_now())


def shown(url: str) -> str:
    """The origin of a URL, for people: its path or query may be a secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    host = parts.hostname or ""
    return f"{parts.scheme}://[{host}]{port}" if ":" in host else f"{parts.scheme}://{host}{port}"


def client_metadata(annotations: Mapping[str, str]) -> dict[str, Any]:
    """What a client gave its session to keep, out of the annotation in which the shim keeps it."""
    try:
        found = orjson.loads(annotations.get(ANNOTATION_REQUEST, ""))["echo"]["metadata"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}  # not made over HTTP, or kubectl has written something else there
    return found if isinstance(found, dict) else {}


def _granted(connection: Connection, outcome: Outcome) -> Callback | None:
    """The callback of a session that was deleted while no controller looked: its pod's claim still tells."""
    if outcome.phase != "Deleted":
        return None
    attempts = tables.attempts
    text = connection.execute(
        select(attempts.c.grant)
        .where(attempts.c.session_uid == outcome.uid, attempts.c.grant != "")
        .order_by(attempts.c.number.desc())
        .limit(1)
    ).scalar()
    if text is None:
        return None
    try:
        grant = Grant.model_validate_json(text)
    except ValidationError:
        # Of another version: nobody can be called, and the outcome must be recorded all the same.
        _log.warning("the claim of %s/%s can't be read", outcome.namespace, outcome.name)
        return None
    notify = grant.spec.notify
    if notify is None:
        return None
    return Callback(
        url=notify.url,
        secret=notify.secret_ref.name if notify.secret_ref else None,
        session_id=grant.session_id or session_id_of(outcome.name, outcome.uid, {}),
        project=grant.project,
    )


def _session(
    connection: Connection, outcome: Outcome, callback: Callback, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    record = session_record(connection, outcome.uid)
    pull_request = record.pull_request if record is not None else None
    told: dict[str, Any] = {
        "id": callback.session_id,
        "namespace": outcome.namespace,
        "name": outcome.name,
        "project": callback.project,
        "type": outcome.type,
        "status": _DELETED if outcome.phase == "Deleted" else ENDED_AS[outcome.phase],
        "phase": outcome.phase,
        "reason": outcome.reason,
        "message": outcome.message,
        "summary": outcome.summary,
        "branch": outcome.branch,
        "commit": outcome.commit,
        "pullRequest": pull_request.to_api() if pull_request is not None else None,
        "artifacts": outcome.artifacts,
        "usage": record.usage.to_api() if record is not None else None,
        "finishedAt": outcome.finished_at,
        "metadata": dict(metadata or {}),
    }
    # An agent's words leave as they do when the journal is served. Each on its own: nothing that stands in
    # one of them can spoil the JSON, on which the outcome's record hangs.
    return told | {name: redact(told[name]) for name in ("message", "summary")}
