"""A plain HTTP server on loopback through which CLI and git reach the gateway.

Neither can read a token file anew for each request, trust a private CA by itself, or wait for a
gateway that restarts; this server does the three for both. It answers on 127.0.0.1 alone and keeps
nothing: bodies stream through in both directions, whatever their size.

A request is sent again only while nothing of its answer has been seen: from the first header on, a
repetition could bill a model's answer twice or replay half a push. What was already read of the
request's body is kept for that, up to a bound; beyond it a broken connection is the client's to see.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError
from claude_operator.runner.gateway import CONNECT_SECONDS, pauses
from claude_operator.wire.session import GIT_PATH, MESSAGES_PATH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from multidict import CIMultiDictProxy

    from claude_operator.runner.access import Access

REPLAY_BYTES = 32 << 20
"""How much of a request's body is kept for another try: the largest Messages API request."""

_FIRST_ERROR = 400
_KEPT_BYTES = 64 << 10

# RFC 9110 §7.6.1 and what describes one connection only.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "expect",
    }
)
# The CLI's dummy key must not reach the gateway beside the real proof of who asks.
_CREDENTIALS = frozenset({"authorization", "x-api-key", "cookie"})
# The gateway knows repositories as `owner/repo.git`; people, and so the clone's origin, often leave it out.
_GIT_ENDPOINT = re.compile(
    r"^(?P<base>/git/[^/?]+/[^/?]+/[^/?]+?)(?:\.git)?/(?P<service>info/refs|git-upload-pack|git-receive-pack)$"
)


def upstream_path(raw_path: str) -> str | None:
    """The gateway's path for a request line's target; None when nothing of the kind is served."""
    path, question, query = raw_path.partition("?")
    if path == MESSAGES_PATH:
        return raw_path
    if not path.startswith(f"{GIT_PATH}/"):
        return None
    endpoint = _GIT_ENDPOINT.match(path)
    if endpoint is None:
        # Unknown git paths (LFS, dumb HTTP) go through all the same: the gateway's refusal is clearer.
        return raw_path
    return f"{endpoint['base']}.git/{endpoint['service']}{question}{query}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gateway's own word on why it did not answer a request to the model."""

    reason: Reason
    message: str


def read_refusal(body: bytes) -> Refusal | None:
    """The refusal in an error answer's body; None when the words are not the gateway's."""
    try:
        error = json.loads(body)["error"]
        return Refusal(Reason(error["reason"]), str(error["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class Forwarder:
    """The server; `lost` is told when the gateway has been away for longer than `patience_seconds`."""

    def __init__(self, access: Access, *, patience_seconds: float, lost: Callable[[str], None]) -> None:
        self._access = access
        self._patience = patience_seconds
        self._lost = lost
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""
        """`http://127.0.0.1:port` once started."""
        self.refusal: Refusal | None = None
        """Why the gateway refused the last request to the model; None when it answered it."""

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._access.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            # Bodies pass as they are: what is gzipped stays gzipped.
            auto_decompress=False,
            trust_env=False,
        )
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # handler_cancellation: a CLI that hangs up (an interrupt) must end the model's answer as well.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, auto_decompress=False, access_log=None, shutdown_timeout=0.5
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"

    async def close(self) -> None:
        """Stop listening and drop what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = upstream_path(request.raw_path)
        if path is None:
            return web.Response(
                status=404,
                text=f"{request.raw_path}: this server forwards {MESSAGES_PATH} and {GIT_PATH}/ only\n",
            )
        try:
            upstream = await self._open(request, path)
        except (RunError, aiohttp.ClientError, TimeoutError, OSError) as error:
            return _unreachable(path, f"{type(error).__name__}: {error}")
        try:
            response, kept = await _relay(request, upstream)
        finally:
            upstream.close()
        if request.path == MESSAGES_PATH:
            self.refusal = read_refusal(kept) if upstream.status >= _FIRST_ERROR else None
        return response

    async def _open(self, request: web.Request, path: str) -> aiohttp.ClientResponse:
        """The gateway's response, its body unread.

        Raises:
            RunError, aiohttp.ClientError, TimeoutError, OSError: it cannot be had.
        """
        assert self._session is not None, "start() comes first"
        body = _Replay(request.content) if request.can_read_body else None
        deadline = time.monotonic() + self._patience
        waits = pauses()
        attempt = 0
        while True:
            headers = _forwarded(request.headers)
            headers["Authorization"] = self._access.bearer()
            try:
                return await self._session.request(
                    request.method,
                    URL(self._access.url + path, encoded=True),
                    headers=headers,
                    data=None if body is None else body.chunks(),
                    allow_redirects=False,
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if isinstance(error, aiohttp.ClientConnectorCertificateError):
                    raise
                if body is not None and not body.repeatable:
                    raise
                if time.monotonic() >= deadline:
                    self._lost(f"the gateway has not answered for {self._patience:.0f} s: {error}")
                    raise
            await asyncio.sleep(waits[min(attempt, len(waits) - 1)])
            attempt += 1


class _Replay:
    """A request's body that can be read again from its start, as long as it has not grown too large."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._kept: list[bytes] = []
        self._size = 0

    @property
    def repeatable(self) -> bool:
        return self._size <= REPLAY_BYTES

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in list(self._kept):
            yield chunk
        while chunk := await self._content.readany():
            self._size += len(chunk)
            if self.repeatable:
                # Kept before it is sent: a connection that breaks during the yield has lost nothing.
                self._kept.append(chunk)
            else:
                self._kept.clear()
            yield chunk


async def _relay(request: web.Request, upstream: aiohttp.ClientResponse) -> tuple[web.StreamResponse, bytes]:
    """Pass the answer on as it comes; returns it, and the beginning of an error's body."""
    kept = b""
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
    for name, value in upstream.headers.items():
        if name.lower() not in _HOP_BY_HOP:
            response.headers.add(name, value)
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            if upstream.status >= _FIRST_ERROR and len(kept) < _KEPT_BYTES:
                kept += chunk
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, TimeoutError, OSError):
        # An orderly end would make a broken answer look whole: break this connection too.
        if request.transport is not None:
            request.transport.abort()
    return response, kept


def _forwarded(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    named = {part.strip().lower() for part in headers.get("Connection", "").split(",")}
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in _HOP_BY_HOP | _CREDENTIALS | named:
            kept.add(name, value)
    return kept


def _unreachable(path: str, trouble: str) -> web.Response:
    message = f"the gateway cannot be reached: {trouble}"
    if path.startswith(GIT_PATH):
        return web.Response(status=502, text=f"{message}\n")
    # The Messages API's shape, so that the CLI shows the text.
    error = {"type": "error", "error": {"type": "api_error", "message": message}}
    return web.Response(status=502, text=json.dumps(error), content_type="application/json")
