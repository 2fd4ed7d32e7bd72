"""The internal requests, each in a few lines."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson
from aiohttp import web
from sqlalchemy import select

from claude_operator.gateway import blobs, endings, inbox, records
from claude_operator.gateway.callbacks.owe import client_metadata
from claude_operator.gateway.clock import parse
from claude_operator.gateway.cluster import ClusterUnavailableError, ForbiddenError
from claude_operator.gateway.errors import Refusal, unavailable
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.outbox import queue
from claude_operator.gateway.session.handlers import bearer, body_of, message_response, number
from claude_operator.gateway.store import tables
from claude_operator.wire import internal as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from claude_operator.gateway.cluster import Cluster
    from claude_operator.gateway.identity import TokenVerifier
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Live, LiveAttempts
    from claude_operator.gateway.model.meter import Meter
    from claude_operator.gateway.settings import Settings
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.wakeups import Wakeups
    from claude_operator.wire.session import InboxItem

_SETTLE_SECONDS: Final = 5.0
"""How long a close waits for answers of the model that are still being read, before it cuts them off."""
_FOLLOW_SECONDS: Final = 15.0
"""An empty line goes out at least that often, so that both sides notice a dead connection."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InternalPort:
    """The handlers."""

    settings: Settings
    verifier: TokenVerifier
    live: LiveAttempts
    store: Store
    journal: Journal
    wakeups: Wakeups
    meter: Meter
    cluster: Cluster
    stopping: asyncio.Event

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        session = f"{wire.SESSIONS_PATH}/{{uid}}"
        return [
            web.get(wire.SESSIONS_PATH, self._unfinished),
            web.get(session, self._record),
            web.post(f"{session}/attempts/{{number}}/close", self._close),
            web.post(f"{session}/cancel", self._cancel),
            web.put(f"{session}/outcome", self._conclude),
            web.get(f"{wire.OUTCOMES_PATH}/{{namespace}}/{{name}}", self._outcome),
            web.post(f"{session}/inbox", self._post),
            web.get(f"{session}/events", self._events),
            web.get(f"{session}/deliveries", self._deliveries),
            web.get(f"{session}/artifacts", self._artifacts),
            web.get(f"{session}/artifacts/{{path:.+}}", self._artifact),
        ]

    async def _caller(self, request: web.Request) -> str:
        token = bearer(request)
        try:
            return await self.verifier.internal(token, self.settings.internal_subjects)
        except Refusal:
            await self._note_pod(request, token)
            raise

    async def _note_pod(self, request: web.Request, token: str) -> None:
        """A session's pod that tries its token here is an agent that looks for a way out: on record."""
        try:
            live = await self.live.of(await self.verifier.pod(token))
        except Refusal:
            return
        told = {"message": f"{request.method} {request.path[:200]}: the internal port is not for pods"}
        self.journal.note_of(live, "internal_refused", told)

    async def _unfinished(self, request: web.Request) -> web.Response:
        await self._caller(request)
        return message_response(await self.store.read(records.unfinished))

    async def _record(self, request: web.Request) -> web.Response:
        await self._caller(request)
        return message_response(await self._record_of(request.match_info["uid"]))

    async def _record_of(self, uid: str) -> wire.SessionRecord:
        record = await self.store.read(lambda connection: records.session_record(connection, uid))
        if record is None:
            raise Refusal(404, "NotFound", f"nothing is known of a session with the uid {uid}")
        return record

    async def _close(self, request: web.Request) -> web.Response:
        await self._caller(request)
        uid, text = request.match_info["uid"], request.match_info["number"]
        if not text.isdecimal() or not 1 <= int(text) < 10_000:  # noqa: PLR2004 - as in claims
            raise Refusal(400, "BadRequest", f"attempt: {text[:20]!r} is not a number from 1 on")
        closing = await body_of(request, wire.CloseRequest)
        fenced = self.live.fence(uid, f"attempt {text} is closed", attempt=int(text))
        await _settled(fenced)
        await self.store.write(lambda connection: endings.close(connection, uid, int(text), closing))
        await _settled(self.live.fence(uid, f"attempt {text} is closed", attempt=int(text)))
        self.wakeups.notify(uid)
        return message_response(await self._record_of(uid))

    async def _cancel(self, request: web.Request) -> web.Response:
        await self._caller(request)
        uid = request.match_info["uid"]
        asked = await body_of(request, wire.CancelRequest)
        told = await self.store.write(lambda connection: endings.cancel(connection, uid, asked))
        if told:
            deadline = await self.store.read(lambda connection: _cancel_deadline(connection, uid))
            self.live.cancel(uid, parse(deadline))
            self.wakeups.notify(inbox.wakeup_key(uid))
            self.wakeups.notify(uid)
        return web.Response(status=204)

    async def _conclude(self, request: web.Request) -> web.Response:
        await self._caller(request)
        outcome = await body_of(request, wire.Outcome)
        uid = request.match_info["uid"]
        if outcome.uid != uid:
            raise Refusal(400, "BadRequest", f"uid: the body says {outcome.uid}, the path {uid}")
        void = "the session is finished: its tokens are void"
        await _settled(self.live.fence(uid, void))
        metadata = await self._metadata(outcome)
        standing = await self.store.write(lambda connection: endings.conclude(connection, outcome, metadata))
        await _settled(self.live.fence(uid, void))
        self.meter.forget(uid)
        self.wakeups.notify(uid)
        self.wakeups.notify(queue.WAKEUP)
        return message_response(standing)

    async def _metadata(self, outcome: wire.Outcome) -> Mapping[str, Any]:
        """What the client gave the session to keep, read only where it is to be called back."""
        if outcome.callback is None:
            return {}
        try:
            session = await self.cluster.session(outcome.namespace, outcome.name)
        except ClusterUnavailableError as error:
            raise unavailable(f"ClaudeSession {outcome.name} can't be read now: {error}") from error
        except ForbiddenError as error:
            _log.warning(
                "%s/%s is called back without its metadata: %s", outcome.namespace, outcome.name, error
            )
            return {}
        return (
            client_metadata(session.annotations) if session is not None and session.uid == outcome.uid else {}
        )

    async def _outcome(self, request: web.Request) -> web.Response:
        await self._caller(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        outcome = await self.store.read(
            lambda connection: records.latest_outcome(connection, namespace, name)
        )
        if outcome is None:
            raise Refusal(404, "NotFound", f"no session {namespace}/{name} has finished")
        return message_response(outcome)

    async def _post(self, request: web.Request) -> web.Response:
        await self._caller(request)
        uid = request.match_info["uid"]
        message = await body_of(request, wire.InboxPost)
        if message.kind == "message" and not message.text.strip():
            raise Refusal(400, "BadRequest", "text: a message must say something")

        def write(connection: Connection) -> InboxItem:
            item = inbox.put(connection, uid, message.kind, message.text)
            told = entry("inbox", {"id": item.id, "kind": item.kind, "text": item.text[:2000]})
            append(connection, uid, 0, "gateway", [told])
            return item

        item = await self.store.write(write)
        self.wakeups.notify(inbox.wakeup_key(uid))
        self.wakeups.notify(uid)
        return message_response(item)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        await self._caller(request)
        uid = request.match_info["uid"]
        after, follow = number(request, "after", 0), bool(number(request, "follow", 0))
        await self._record_of(uid)  # 404 before the stream begins
        response = web.StreamResponse(
            headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        while True:
            # In this order: an event that comes between the look and the wait has raised the count.
            seen = self.wakeups.count(uid)
            finished = await self.journal.finished(uid) if follow else True
            lines, after = await self.journal.read(uid, after)
            if lines:
                await response.write(b"".join(lines))
            elif finished or self.stopping.is_set():
                break
            elif not await self.wakeups.wait(uid, seen, _FOLLOW_SECONDS):
                await response.write(b"\n")
        await response.write_eof()
        return response

    async def _deliveries(self, request: web.Request) -> web.Response:
        await self._caller(request)
        uid = request.match_info["uid"]
        await self._record_of(uid)
        found = await self.store.read(lambda connection: queue.of_session(connection, uid))
        return web.Response(
            body=orjson.dumps([one.model_dump(mode="json", by_alias=True) for one in found]),
            content_type="application/json",
        )

    async def _artifacts(self, request: web.Request) -> web.Response:
        await self._caller(request)
        uid = request.match_info["uid"]
        await self._record_of(uid)
        found = await self.store.read(lambda connection: records.artifacts_of(connection, uid))
        return web.Response(
            body=orjson.dumps([one.to_api() for one in found]), content_type="application/json"
        )

    async def _artifact(self, request: web.Request) -> web.StreamResponse:
        await self._caller(request)
        uid, path = request.match_info["uid"], request.match_info["path"]
        found = await self.store.read(lambda connection: records.artifacts_of(connection, uid))
        artifact = next((one for one in found if one.path == path), None)
        if artifact is None:
            raise Refusal(404, "NotFound", f"the session has no artifact {path[:200]}")
        name = quote(path.rsplit("/", 1)[-1])
        response = web.StreamResponse(
            headers={
                # An agent wrote it: a browser must neither run nor guess it.
                "Content-Type": "application/octet-stream",
                "X-Content-Type-Options": "nosniff",
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "Content-Length": str(artifact.size),
            }
        )
        await response.prepare(request)
        async for data in blobs.content(self.store, uid, artifact.sha256):
            await response.write(data)
        await response.write_eof()
        return response


async def _settled(fenced: list[Live]) -> None:
    """Wait until every answer that a fenced pod had asked for is booked; cut off what takes too long."""
    tasks = {task for live in fenced for task in live.under_way}
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=_SETTLE_SECONDS)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_SETTLE_SECONDS)


def _cancel_deadline(connection: Connection, uid: str) -> str:
    table = tables.sessions
    return str(connection.execute(select(table.c.cancel_deadline).where(table.c.uid == uid)).scalar_one())
