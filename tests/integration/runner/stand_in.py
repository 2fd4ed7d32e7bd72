"""A gateway for one session: the session port of `wire.session`, without policy, metering or database.

It keeps what it is told in memory, so tests can look, and passes model and git traffic on to the test
world with the credentials that the pod does not have. Stopped and started again it has the same port
and the same memory, like a gateway that restarts.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from yarl import URL

from claude_operator.resources.lifecycle import Reason
from claude_operator.wire import session as wire
from claude_operator.wire.message import BlobRef, ErrorBody, Message

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from tests.world import GitServer, GitUser, ModelServer

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DROPPED = {"host", "authorization", "transfer-encoding", "connection", "content-length"}


@dataclass(slots=True)
class Told:
    """What the runner has said."""

    events: list[wire.PodEvent] = field(default_factory=list)
    repeated_events: int = 0
    checkpoints: list[wire.Checkpoint] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    results: list[wire.RunResult] = field(default_factory=list)
    pull_requests: list[wire.PullRequestRequest] = field(default_factory=list)
    connects: list[str] = field(default_factory=list)
    claims: int = 0

    def of(self, kind: str) -> list[wire.PodEvent]:
        return [event for event in self.events if event.type == kind]


class StandIn:
    def __init__(
        self,
        assignment: wire.Assignment,
        *,
        model: ModelServer,
        model_key: str,
        git: GitServer,
        git_user: GitUser,
        tls: ssl.SSLContext,
    ) -> None:
        self.assignment = assignment
        self.token = "first-token"
        self.told = Told()
        self.refusal: web.Response | None = None
        """Answer to the claim in place of the assignment."""
        self.model_refusal: tuple[int, str, str] | None = None
        """Status, reason and message with which requests to the model are refused."""
        self.slow_inbox = False
        """Long polls bring nothing, like one that was answered a moment before the item came."""
        self.fenced = False
        self.tokens_seen: set[str] = set()
        self._model, self._model_key = model, model_key
        self._git, self._git_user = git, git_user
        self._tls = tls
        self._inbox: list[wire.InboxItem] = []
        self._changed = asyncio.Condition()
        self._chunks: dict[str, dict[int, bytes]] = {}
        self._port = self._connect_port = 0
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._connect: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def proxy(self) -> str:
        return f"127.0.0.1:{self._connect_port}"

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None), trust_env=False
        )
        app = web.Application(client_max_size=2 << 20)
        app.router.add_post(wire.CLAIM_PATH, self._guarded(self._claim))
        app.router.add_post(wire.EVENTS_PATH, self._guarded(self._events))
        app.router.add_get(wire.INBOX_PATH, self._guarded(self._read_inbox))
        app.router.add_put(wire.BLOBS_PATH + "/{sha}/{index}", self._guarded(self._put_chunk))
        app.router.add_get(wire.BLOBS_PATH + "/{sha}", self._guarded(self._get_blob))
        app.router.add_post(wire.CHECKPOINT_PATH, self._guarded(self._checkpoint))
        app.router.add_post(wire.ARTIFACTS_PATH, self._guarded(self._artifact))
        app.router.add_post(wire.RESULT_PATH, self._guarded(self._result))
        app.router.add_post(wire.PULL_REQUEST_PATH, self._guarded(self._pull_request))
        app.router.add_post(wire.MESSAGES_PATH, self._guarded(self._messages))
        app.router.add_route("*", wire.GIT_PATH + "/{host}/{path:.*}", self._guarded(self._git_request))
        self._runner = web.AppRunner(
            app, access_log=None, auto_decompress=False, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._connect = await asyncio.start_server(
            self._serve_connect, "127.0.0.1", self._connect_port, ssl=self._tls
        )
        self._connect_port = self._connect.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a kill would: whatever is under way breaks off."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        if self._connect is not None:
            self._connect.close()

    async def post(self, kind: str, text: str = "") -> None:
        async with self._changed:
            self._inbox.append(wire.InboxItem(id=len(self._inbox) + 1, kind=kind, text=text))
            self._changed.notify_all()

    async def until(self, holds: Callable[[Told], bool], within: float = 60) -> None:
        """Wait until `holds` of what was told."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: holds(self.told))

    def resume(self) -> wire.Resume:
        """What the next attempt is assigned after the last checkpoint."""
        last = self.told.checkpoints[-1]
        return wire.Resume(transcript=last.transcript, bundle=last.bundle, commit=last.commit, head=last.head)

    def blob(self, sha: str) -> bytes:
        chunks = self._chunks[sha]
        return b"".join(chunks[index] for index in range(len(chunks)))

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            self.tokens_seen.add(given)
            if given != self.token:
                return _refuse(401, Reason.CLAIM_REFUSED, "not this session's token")
            if self.fenced:
                return _refuse(403, Reason.CLAIM_REFUSED, "a later claim has taken this session over")
            return await handler(request)

        return answer

    async def _told(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _claim(self, _: web.Request) -> web.StreamResponse:
        self.told.claims += 1
        return self.refusal if self.refusal is not None else _json(self.assignment)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        batch = wire.EventBatch.model_validate_json(await request.read())
        for event in batch.events:
            if event.seq == len(self.told.events) + 1:
                self.told.events.append(event)
            else:
                assert event.seq <= len(self.told.events), "a gap"
                self.told.repeated_events += 1
        await self._told()
        return _json(wire.EventReceipt(acknowledged=len(self.told.events)))

    async def _read_inbox(self, request: web.Request) -> web.StreamResponse:
        after, wait = int(request.query["after"]), int(request.query["wait"])
        if wait and self.slow_inbox:
            await asyncio.sleep(wait)
            return _json(wire.Inbox(items=[]))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait), self._changed:
                await self._changed.wait_for(lambda: len(self._inbox) > after)
        return _json(wire.Inbox(items=self._inbox[after:]))

    async def _put_chunk(self, request: web.Request) -> web.StreamResponse:
        chunks = self._chunks.setdefault(request.match_info["sha"], {})
        chunks[int(request.match_info["index"])] = await request.read()
        return web.Response(status=204)

    async def _get_blob(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.blob(request.match_info["sha"]))

    def _whole(self, blob: BlobRef) -> bytes:
        content = self.blob(blob.sha256)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (blob.sha256, blob.size)
        return content

    async def _checkpoint(self, request: web.Request) -> web.StreamResponse:
        checkpoint = wire.Checkpoint.model_validate_json(await request.read())
        self._whole(checkpoint.transcript)
        if checkpoint.bundle is not None:
            self._whole(checkpoint.bundle)
        self.told.checkpoints.append(checkpoint)
        await self._told()
        return web.Response(status=204)

    async def _artifact(self, request: web.Request) -> web.StreamResponse:
        upload = wire.ArtifactUpload.model_validate_json(await request.read())
        self.told.artifacts[upload.path] = self._whole(upload.blob)
        return web.Response(status=204)

    async def _result(self, request: web.Request) -> web.StreamResponse:
        self.told.results.append(wire.RunResult.model_validate_json(await request.read()))
        await self._told()
        return web.Response(status=204)

    async def _pull_request(self, request: web.Request) -> web.StreamResponse:
        self.told.pull_requests.append(wire.PullRequestRequest.model_validate_json(await request.read()))
        return _json(wire.PullRequestOpened(url="https://git.example/acme/greetings/pulls/7", number=7))

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        assert "x-api-key" not in request.headers, "the dummy key has left the pod"
        if self.model_refusal is not None:
            status, reason, message = self.model_refusal
            error = {"type": "permission_error", "message": message, "reason": reason}
            return web.json_response({"type": "error", "error": error}, status=status)
        return await self._pass(
            request, f"{self._model.url}{request.raw_path}", {"x-api-key": self._model_key}
        )

    async def _git_request(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        assert request.match_info["host"] == self.assignment.repository_host
        if ".git/" not in path:
            return web.Response(status=404, text="repositories are named owner/repo.git here\n")
        login = f"{self._git_user.username}:{self._git_user.token}"
        query = f"?{request.query_string}" if request.query_string else ""
        return await self._pass(
            request,
            f"{self._git.url}/{path}{query}",
            {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()},
        )

    async def _pass(self, request: web.Request, url: str, credentials: dict[str, str]) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
        async with self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers | credentials,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as upstream:
            response = web.StreamResponse(status=upstream.status)
            for name, value in upstream.headers.items():
                if name.lower() not in _DROPPED:
                    response.headers[name] = value
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _serve_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.told.connects.append(head)
        if f"Proxy-Authorization: Bearer {self.token}\r\n" in head and head.startswith("CONNECT allowed."):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            # What stands behind the tunnel: an echo.
            while block := await reader.read(1000):
                writer.write(block)
                await writer.drain()
        else:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        with contextlib.suppress(OSError):
            await writer.drain()
            writer.close()


def _json(message: Message) -> web.Response:
    return web.Response(
        text=message.model_dump_json(by_alias=True, exclude_none=True), content_type="application/json"
    )


def _refuse(status: int, reason: str, message: str) -> web.Response:
    return web.Response(
        status=status,
        text=ErrorBody(reason=reason, message=message).model_dump_json(),
        content_type="application/json",
    )


refuse = _refuse
