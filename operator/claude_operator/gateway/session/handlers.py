"""The pod's requests, each in a few lines: who asks, what is asked, who does it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import web
from pydantic import ValidationError

from claude_operator.gateway import blobs, checkpoint, endings, inbox
from claude_operator.gateway.bodies import read_body, require_parsable, size_of, size_parsed
from claude_operator.gateway.errors import Refusal, claim_refused
from claude_operator.gateway.journal import event_delay
from claude_operator.gateway.outbox import queue
from claude_operator.wire import session as wire
from claude_operator.wire.message import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

    from claude_operator.gateway.claim import Claimer
    from claude_operator.gateway.git.proxy import GitProxy
    from claude_operator.gateway.identity import TokenVerifier
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Live, LiveAttempts
    from claude_operator.gateway.model.proxy import ModelProxy
    from claude_operator.gateway.pull_request import PullRequests
    from claude_operator.gateway.room import Room
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.wakeups import Wakeups
    from claude_operator.wire.message import Message

M = TypeVar("M", bound="Message")

_LONGEST_WAIT: Final = 60.0
_MOST_JSON: Final = 4 * 1024 * 1024
"""A runner's batch of events has 768 KiB, or one event."""


def bearer(request: web.Request) -> str:
    """The token of a request; empty: none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def body_of(request: web.Request, expected: type[M]) -> M:
    """The JSON body of a request.

    Raises:
        Refusal: 400, naming field and fault; 413, it is too large.
    """
    body = await read_body(request, _MOST_JSON)
    require_parsable(body)
    try:
        return expected.model_validate_json(body)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)[:5]
        )
        raise Refusal(400, "BadRequest", f"not a {expected.__name__}: {faults}") from None


def message_response(message: Message) -> web.Response:
    """A message as a JSON answer."""
    return web.Response(
        body=message.model_dump_json(by_alias=True, exclude_none=True).encode(),
        content_type="application/json",
    )


@dataclass(frozen=True, slots=True)
class SessionPort:
    """The handlers."""

    verifier: TokenVerifier
    live: LiveAttempts
    claimer: Claimer
    store: Store
    journal: Journal
    wakeups: Wakeups
    model: ModelProxy
    git: GitProxy
    pull_requests: PullRequests
    room: Room

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.post(wire.CLAIM_PATH, self._claim),
            web.post(wire.EVENTS_PATH, self._events),
            web.get(wire.INBOX_PATH, self._inbox),
            web.put(f"{wire.BLOBS_PATH}/{{sha256}}/{{index}}", self._put_chunk),
            web.get(f"{wire.BLOBS_PATH}/{{sha256}}", self._get_blob),
            web.post(wire.CHECKPOINT_PATH, self._checkpoint),
            web.post(wire.ARTIFACTS_PATH, self._artifact),
            web.post(wire.RESULT_PATH, self._result),
            web.post(wire.PULL_REQUEST_PATH, self._pull_request),
            web.post(wire.MESSAGES_PATH, self._messages),
            web.route("*", f"{wire.GIT_PATH}/{{path:.*}}", self._git),
            web.route("*", "/{path:.*}", self._nothing),
        ]

    async def _caller(self, request: web.Request) -> Live:
        return await self.live.of(await self.verifier.pod(bearer(request)))

    @asynccontextmanager
    async def _message(self, request: web.Request, live: Live, expected: type[M]) -> AsyncIterator[M]:
        """The JSON body of a request, and the room for it while the block runs."""
        size = size_parsed(size_of(request, _MOST_JSON))
        async with self.room.hold(live.grant.session_uid, size):
            yield await body_of(request, expected)

    async def _claim(self, request: web.Request) -> web.Response:
        pod = await self.verifier.pod(bearer(request))
        assignment = await self.claimer.claim(pod)
        self.wakeups.notify(queue.WAKEUP)
        return message_response(assignment)

    async def _events(self, request: web.Request) -> web.Response:
        live = await self._caller(request)
        async with self._message(request, live, wire.EventBatch) as batch:
            acknowledged, count = await self.journal.take(live, batch.events), len(batch.events)
        del batch  # the delay is not for its memory
        await asyncio.sleep(event_delay(live, count))
        return message_response(wire.EventReceipt(acknowledged=acknowledged))

    async def _inbox(self, request: web.Request) -> web.Response:
        live = await self._caller(request)
        after = number(request, "after", 0)
        wait = min(_LONGEST_WAIT, number(request, "wait", 0))
        uid = live.grant.session_uid
        key = inbox.wakeup_key(uid)
        seen = self.wakeups.count(key)
        items = await self._items(uid, after)
        if not items and wait and await self.wakeups.wait(key, seen, wait):
            items = await self._items(uid, after)
        return message_response(wire.Inbox(items=items))

    async def _items(self, uid: str, after: int) -> list[wire.InboxItem]:
        return await self.store.read(lambda connection: inbox.items(connection, uid, after))

    async def _put_chunk(self, request: web.Request) -> web.Response:
        live = await self._caller(request)
        live.require_push()
        sha256, index = _digest(request), request.match_info["index"]
        if not index.isdecimal() or len(index) > 6:  # noqa: PLR2004 - no blob has a million chunks
            raise Refusal(400, "BadRequest", "the chunk's index must be a number from 0 on")
        uid = live.grant.session_uid
        async with self.room.hold(uid, 2 * size_of(request, MAX_CHUNK_BYTES)):
            data = await read_body(request, MAX_CHUNK_BYTES)
            await self.store.write(
                lambda connection: blobs.put_chunk(connection, uid, sha256, int(index), data)
            )
        return web.Response(status=204)

    async def _get_blob(self, request: web.Request) -> web.StreamResponse:
        live = await self._caller(request)
        sha256, uid = _digest(request), live.grant.resume_uid

        def size_of(connection: Connection) -> int | None:
            kept = checkpoint.latest(connection, uid) if uid else None
            parts = [kept.transcript, kept.bundle] if kept else []
            return next((part.size for part in parts if part and part.sha256 == sha256), None)

        size = await self.store.read(size_of)
        if size is None or uid is None:
            message = f"blob {sha256[:12]}: no such blob in this attempt's assignment"
            self.journal.note_of(live, "request_refused", {"message": message})
            raise Refusal(404, "NotFound", message)
        response = web.StreamResponse(
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        )
        await response.prepare(request)
        async for data in blobs.content(self.store, uid, sha256):
            await response.write(data)
        await response.write_eof()
        return response

    async def _checkpoint(self, request: web.Request) -> web.Response:
        live = await self._caller(request)
        live.require_push()
        async with self._message(request, live, wire.Checkpoint) as taken:
            await self.store.write(lambda connection: checkpoint.keep(connection, live.grant, taken))
        self.wakeups.notify(live.grant.session_uid)
        return web.Response(status=204)

    async def _artifact(self, request: web.Request) -> web.Response:
        live = await self._caller(request)
        live.require_push()
        async with self._message(request, live, wire.ArtifactUpload) as upload:
            if upload.path.startswith("/") or ".." in upload.path.split("/") or "\0" in upload.path:
                raise Refusal(
                    400, "BadRequest", f"path: {upload.path!r} is not relative to the repository's root"
                )
            await self.store.write(
                lambda connection: checkpoint.keep_artifact(connection, live.grant, upload)
            )
        self.wakeups.notify(live.grant.session_uid)
        return web.Response(status=204)

    async def _result(self, request: web.Request) -> web.Response:
        live = await self._caller(request)
        async with self._message(request, live, wire.RunResult) as result:
            await self.store.write(lambda connection: endings.report(connection, live.grant, result))
        self.wakeups.notify(live.grant.session_uid)
        return web.Response(status=204)

    async def _pull_request(self, request: web.Request) -> web.Response:
        live = await self._caller(request)
        live.require_push()
        async with self._message(request, live, wire.PullRequestRequest) as wanted:
            return message_response(await self.pull_requests.open(live, wanted))

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        if request.raw_path.partition("?")[0] != wire.MESSAGES_PATH:
            raise claim_refused("the path must be written plainly")
        return await self.model.handle(request, await self._caller(request))

    async def _git(self, request: web.Request) -> web.StreamResponse:
        return await self.git.handle(request, await self._caller(request))

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        live = await self._caller(request)
        # As it was sent: a decoded path would not show what was tried.
        message = f"{request.method} {request.raw_path[:200]}: there is no such path on the session port"
        self.journal.note_of(live, "request_refused", {"message": message})
        raise Refusal(404, "NotFound", message)


def number(request: web.Request, name: str, default: int) -> int:
    """A query parameter that is a number from 0 on.

    Raises:
        Refusal: 400, it is none.
    """
    text = request.query.get(name, str(default))
    if not text.isdecimal() or len(text) > 15:  # noqa: PLR2004 - fits every integer type
        raise Refusal(400, "BadRequest", f"{name}: {text[:50]!r} is not a number from 0 on")
    return int(text)


def _digest(request: web.Request) -> str:
    sha256 = request.match_info["sha256"]
    if not blobs.DIGEST.fullmatch(sha256):
        raise Refusal(400, "BadRequest", "a blob's name is its SHA-256 in hex, lower case")
    return sha256
