"""The proxy itself: plain HTTP/1.1 (or TLS) in front, HTTP/1.1 (mostly TLS) behind."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, MultiMapping
from yarl import URL

from claude_operator.kube.config import from_kubeconfig
from tests.faults.call import Call, Reader, kubernetes
from tests.faults.fault import Answer, Deed, Delay, Drop, Fault, Kill
from tests.faults.views import Stream, Views

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

_OF_THE_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})
_MOST_BODY = 64 << 20


@dataclass(slots=True)
class Passed:
    """One call that came by."""

    number: int
    """Among the writes, from 1; 0: a read."""
    call: Call
    status: int = 0
    """The server's answer; 0: it was not asked, or did not answer."""
    deed: Deed | None = None
    answered_at: float = 0.0
    """On the loop's clock, which all proxies of a test share."""

    @property
    def done(self) -> bool:
        """The server carried it out."""
        return 200 <= self.status < 300


class FaultProxy:
    """Between one client and one server; an async context manager.

    Args:
        upstream: scheme, host and port of the server.
        tls: for the way to the server, with the client's certificate in it; None: plain HTTP.
        read: how requests to this server are read.
        front: TLS towards the client; None: plain HTTP.
    """

    def __init__(
        self,
        upstream: str,
        *,
        tls: ssl.SSLContext | None = None,
        read: Reader = kubernetes,
        front: ssl.SSLContext | None = None,
    ) -> None:
        self.passed: list[Passed] = []
        self.views = Views()
        self.kill: Callable[[], Awaitable[None]] | None = None
        """Kills the client and returns once it is dead."""
        self._upstream, self._tls, self._read, self._front = upstream.rstrip("/"), tls, read, front
        self._faults: list[Fault] = []
        self._port = 0
        self._writes = 0
        self._under_way = 0
        self._watching: set[asyncio.Task[web.StreamResponse]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None

    @classmethod
    def of_cluster(cls, kubeconfig: Path) -> Self:
        """In front of an API server, as the user of a kubeconfig: that is the client's identity."""
        config = from_kubeconfig(kubeconfig)
        return cls(config.server, tls=config.tls)

    @property
    def url(self) -> str:
        """Where the client finds it."""
        return f"{'https' if self._front else 'http'}://127.0.0.1:{self._port}"

    @property
    def idle(self) -> bool:
        """Nothing is under way but watches."""
        return self._under_way == 0

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here. The client needs no credentials: the proxy has its own."""
        context = {"name": "proxy", "context": {"cluster": "proxy"}}
        cluster = {"name": "proxy", "cluster": {"server": self.url}}
        document = {"current-context": "proxy", "contexts": [context], "clusters": [cluster]}
        path.write_text(json.dumps(document))
        return path

    def arm(self, *faults: Fault) -> None:
        """From now on; the first one that has something to do to a call does it."""
        self._faults.extend(faults)

    def disarm(self) -> None:
        """No faults from now on."""
        self._faults.clear()

    def writes(self, *, but: Iterable[str] = ()) -> list[Passed]:
        """Every write that came by, in order, without some resources."""
        left_out = set(but)
        return [each for each in self.passed if each.call.write and each.call.resource not in left_out]

    def carried_out(self, *, but: Iterable[str] = ()) -> Counter[str]:
        """How often the server carried out what."""
        return Counter(each.call.what for each in self.writes(but=but) if each.done)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        # The same port on a restart: the client keeps its kubeconfig.
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._front)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end_watches()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
            # Aborted connections are closed by the loop in its next rounds: TLS first, then the socket.
            for _round in range(3):
                await asyncio.sleep(0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        call = self._read(request.method, request.raw_path, body)
        passed = self._note(call)
        if call.watch:
            # A task of our own: the server forgets the handler of a client that has gone, and an idle watch
            # would never notice.
            watching = asyncio.create_task(self._watch(request, call))
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)
            return await watching
        self._under_way += 1
        try:
            return await self._pass(request, body, passed)
        finally:
            self._under_way -= 1

    def _note(self, call: Call) -> Passed:
        if call.write:
            self._writes += 1
        passed = Passed(self._writes if call.write else 0, call)
        # Every rule counts every call, whichever one strikes.
        deeds = [deed for fault in self._faults if (deed := fault.deed(call)) is not None]
        passed.deed = deeds[0] if deeds else None
        self.passed.append(passed)
        return passed

    async def _pass(self, request: web.BaseRequest, body: bytes, passed: Passed) -> web.StreamResponse:
        match passed.deed:
            case Kill.BEFORE:
                return await self._die(request)
            case Drop.BEFORE:
                return _cut(request)
            case Answer() as refusal:
                return _refusal(refusal)
            case Delay(until):
                await until()
            case _:
                pass
        try:
            async with self._ask(request, body) as answer:
                payload = await answer.read()
        except (aiohttp.ClientError, OSError):
            # The server is away or went away: so it looks to the client, too.
            return _cut(request)
        passed.status, passed.answered_at = answer.status, asyncio.get_running_loop().time()
        if passed.deed is Kill.AFTER:
            return await self._die(request)
        if passed.deed is Drop.AFTER:
            return _cut(request)
        return web.Response(status=answer.status, body=payload, headers=_headers(answer.headers))

    def _ask(self, request: web.BaseRequest, body: bytes) -> aiohttp.client._RequestContextManager:
        assert self._session is not None, "entered before"
        return self._session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            data=body or None,
            headers=_headers(request.headers),
            allow_redirects=False,
        )

    async def _watch(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        try:
            async with self._ask(request, b"") as answer:
                if answer.status != 200:
                    payload = await answer.read()
                    return web.Response(status=answer.status, body=payload, headers=_headers(answer.headers))
                response = web.StreamResponse(status=200, headers=_headers(answer.headers))
                await response.prepare(request)
                try:
                    with self.views.stream(call.resource) as stream:
                        await self._stream(answer, response, stream)
                finally:
                    # A polite TLS shutdown would wait for a server that goes on sending, longer than we live.
                    if answer.connection is not None and answer.connection.transport is not None:
                        answer.connection.transport.abort()
                return response
        except (aiohttp.ClientError, OSError):
            return _cut(request)

    async def _stream(
        self, answer: aiohttp.ClientResponse, response: web.StreamResponse, stream: Stream
    ) -> None:
        reading = asyncio.create_task(_read_lines(answer, stream))
        try:
            async for line in self.views.visible(stream):
                await response.write(line)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _end_watches(self) -> None:
        for watching in list(self._watching):
            watching.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _die(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self.kill is not None, "a fault kills the client, but nobody has said how"
        await self.kill()
        await self._end_watches()
        return _cut(request)


async def _read_lines(answer: aiohttp.ClientResponse, stream: Stream) -> None:
    rest = b""
    try:
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                stream.lines.put_nowait(line + b"\n")
    except (aiohttp.ClientError, OSError):
        pass  # the server died: to the client the stream ends
    finally:
        stream.lines.put_nowait(None)


def _headers(headers: MultiMapping[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OF_THE_HOP)


def _cut(request: web.BaseRequest) -> web.Response:
    """Reset the client's connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(answer: Answer) -> web.Response:
    """As the API server and the gateway word it."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"scripted: {answer.reason}",
        "reason": answer.reason,
        "code": answer.status,
    }
    headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after is not None else {}
    return web.json_response(status, status=answer.status, headers=headers)
