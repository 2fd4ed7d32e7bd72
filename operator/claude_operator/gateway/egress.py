"""CONNECT: a tunnel to a host that the project lists, and to nothing else.

The proxy sees names and bytes, not contents; what it enforces is where. The name is resolved once and the
connection goes to that address, private ranges are closed, every tunnel is in the journal. It is written on
asyncio's streams: aiohttp's server does not do CONNECT. The listener has a deadline for the request's head.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import h11

from claude_operator.gateway.addresses import AddressRefusedError, lookup, require_public
from claude_operator.gateway.errors import Refusal, StoreUnavailableError, unavailable

if TYPE_CHECKING:
    from claude_operator.gateway.identity import TokenVerifier
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Live, LiveAttempts
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.settings import Settings
    from claude_operator.resources.addresses import Address
    from claude_operator.telemetry.metrics import Metrics

_MOST_HEAD: Final = 32 * 1024
_CONNECT_SECONDS: Final = 10
_IDLE_SECONDS: Final = 900
_PIECE: Final = 64 * 1024
_MOST_TUNNELS: Final = 64
"""Open at once per pod."""
_HTTPS: Final = 443

_log = logging.getLogger(__name__)


class ConnectProxy:
    """The CONNECT port."""

    def __init__(
        self,
        *,
        settings: Settings,
        verifier: TokenVerifier,
        live: LiveAttempts,
        projects: Projects,
        journal: Journal,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._verifier = verifier
        self._live = live
        self._projects = projects
        self._journal = journal
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[str, int] = {}

    def connected(self) -> asyncio.Protocol:
        """Serve one connection, for a listener."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_PIECE), self._accept)

    async def stop(self) -> None:
        """Cut the tunnels."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # one side has gone
        except asyncio.CancelledError:
            pass  # the process stops; asyncio would log it otherwise
        finally:
            self._tasks.discard(task)
            with suppress(OSError):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD)
        try:
            request = await _head(connection, reader)
            if request is None:
                return
            live = await self._pod(request)
            host, port, upstream = await self._connect(live, request)
        except Refusal as refused:
            await _answer(connection, writer, refused)
            return
        except StoreUnavailableError as error:
            await _answer(connection, writer, unavailable(str(error)))
            return
        except h11.RemoteProtocolError as error:
            await _answer(connection, writer, Refusal(400, "BadRequest", f"not a CONNECT request: {error}"))
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._tunnel(live, f"{host}:{port}", (reader, writer), upstream, connection.trailing_data[0])

    async def _pod(self, request: h11.Request) -> Live:
        headers = dict(request.headers)
        scheme, _, token = headers.get(b"proxy-authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise Refusal(
                407,
                "Unauthorized",
                "send the pod's token as `Proxy-Authorization: Bearer`",
                headers={"Proxy-Authenticate": "Bearer"},
            )
        return await self._live.of(await self._verifier.pod(token.strip()))

    async def _connect(
        self, live: Live, request: h11.Request
    ) -> tuple[str, int, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            host, port = _destination(request)
            addresses = await self._allowed(live, host, port)
        except Refusal as refused:
            self._journal.note_of(live, "egress_refused", {"message": refused.message})
            self._metrics.count("egress_refused_total")
            raise
        last: Exception | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return host, port, await asyncio.open_connection(str(address), port, limit=_PIECE)
            except (OSError, TimeoutError) as error:
                last = error
        raise Refusal(502, "EgressFailed", f"{host}:{port} can't be reached: {last or 'no address'}")

    async def _allowed(self, live: Live, host: str, port: int) -> list[Address]:
        rules = await self._projects.rules(live.grant.namespace, live.grant.project)
        listed = rules.egress.hosts if rules.egress else []
        if (host if port == _HTTPS else f"{host}:{port}") not in listed:
            raise Refusal(
                403,
                "EgressRefused",
                f"{host}:{port} is not an egress host of the project (ClaudeProject, egress.hosts)",
            )
        if self._open.get(live.grant.pod_uid, 0) >= _MOST_TUNNELS:
            raise Refusal(429, "EgressRefused", f"{_MOST_TUNNELS} tunnels are open already")
        try:
            addresses = await lookup(host, port)
            return require_public(host, addresses, self._settings.private_networks)
        except AddressRefusedError as error:
            raise Refusal(403, "EgressRefused", str(error)) from error
        except OSError as error:
            raise Refusal(502, "EgressFailed", str(error)) from error

    async def _tunnel(
        self,
        live: Live,
        where: str,
        pod: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        early: bytes,
    ) -> None:
        uid, begun = live.grant.pod_uid, time.monotonic()
        self._open[uid] = self._open.get(uid, 0) + 1
        self._journal.note_of(live, "egress", {"host": where})
        self._metrics.add("egress_tunnels", 1)
        activity = _Activity()
        sent = received = 0
        try:
            upstream[1].write(early)
            async with asyncio.TaskGroup() as group:
                up = group.create_task(_copy(pod[0], upstream[1], activity))
                down = group.create_task(_copy(upstream[0], pod[1], activity))
                watch = group.create_task(_watch(live, activity, pod[1], upstream[1]))
                await asyncio.wait({up, down})
                watch.cancel()
            sent, received = up.result() + len(early), down.result()
        finally:
            with suppress(OSError):
                upstream[1].close()
            self._metrics.add("egress_tunnels", -1)
            self._open[uid] -= 1
            if not self._open[uid]:
                del self._open[uid]
            self._journal.note_of(
                live,
                "egress_closed",
                {
                    "host": where,
                    "sent": sent,
                    "received": received,
                    "seconds": round(time.monotonic() - begun, 3),
                },
            )


class _Activity:
    """When bytes last moved."""

    def __init__(self) -> None:
        self.at = time.monotonic()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, activity: _Activity) -> int:
    count = 0
    with suppress(OSError):
        while data := await reader.read(_PIECE):
            count += len(data)
            activity.at = time.monotonic()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()  # TLS has no half-closed connections
    return count


async def _watch(live: Live, activity: _Activity, *writers: asyncio.StreamWriter) -> None:
    """Cut a tunnel that is idle, or whose pod was fenced."""
    # What is waited for is that nothing happens: there is no event for it.
    while not live.fenced and time.monotonic() - activity.at < _IDLE_SECONDS:  # noqa: ASYNC110 - see above
        await asyncio.sleep(1.0)
    for writer in writers:
        writer.transport.abort()


async def _head(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await reader.read(_PIECE))


def _destination(request: h11.Request) -> tuple[str, int]:
    if request.method != b"CONNECT":
        raise Refusal(405, "EgressRefused", "this port takes CONNECT only: set it as HTTPS_PROXY")
    host, _, port = request.target.decode("ascii", "replace").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:  # noqa: PLR2004 - TCP
        raise Refusal(400, "BadRequest", "CONNECT needs host:port")
    return host.strip("[]").lower().rstrip("."), int(port)


async def _answer(connection: h11.Connection, writer: asyncio.StreamWriter, refused: Refusal) -> None:
    body = refused.body().model_dump_json(by_alias=True).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **refused.headers,
    }
    with suppress(h11.LocalProtocolError, OSError):
        for event in (
            h11.Response(status_code=refused.status, headers=list(headers.items()), reason=b"Refused"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(connection.send(event) or b"")
        await writer.drain()
