"""A listening port that nobody can fill by doing nothing.

aiohttp and asyncio take connections until file descriptors or memory end: a TLS connection costs memory
before its first byte, asyncio waits a minute for its handshake, and aiohttp for as long as its keep-alive for
a head that comes byte by byte. So a few thousand idle connections of one pod would be everybody's gateway.

Here connections are counted by address when they are accepted, before TLS is begun with them, and one that
has not sent the whole head of a request in time is cut. Counting in the protocol was rejected: it first hears
of a connection when its handshake is done. What comes after the first head (idle keep-alive, bodies) has its
deadlines where it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, cast

from typing_extensions import override

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from claude_operator.telemetry.metrics import Metrics

_BACKLOG: Final = 128
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_TAIL: Final = 3
"""Bytes of an earlier piece that the end of a head can begin in."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one port."""

    head_seconds: float
    """For the TLS handshake, and then for the first request's head."""
    per_peer: int
    """Connections of one address at once; 0: any number. Where pods hide behind one address, that of all."""


class Listener:
    """One port; an async context manager.

    Args:
        connected: makes the protocol of one connection: an aiohttp `web.Server`, or a function.
        host: to listen on; None: all addresses.
        port: 0: any free one.
        tls: None: plain.
        bounds: see there.
        metrics: counts what is turned away.
    """

    def __init__(
        self,
        connected: Callable[[], asyncio.Protocol],
        *,
        host: str | None,
        port: int,
        tls: ssl.SSLContext | None = None,
        bounds: Bounds,
        metrics: Metrics,
    ) -> None:
        self.port = port
        self._connected = connected
        self._host = host
        self._tls = tls
        self._bounds = bounds
        self._metrics = metrics
        self._open: Counter[str] = Counter()
        self._socket: socket.socket | None = None
        self._greeting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._socket = _bound(self._host, self.port)
        self.port = self._socket.getsockname()[1]
        self._resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no new connections; those that are served go on."""
        listening, self._socket = self._socket, None
        if listening is not None:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        for task in self._greeting:
            task.cancel()
        await asyncio.gather(*self._greeting, return_exceptions=True)

    def _resume(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._accept, self._socket)

    def _accept(self, listening: socket.socket) -> None:
        """Take what waits. Not `loop.sock_accept`: cancelled in the wrong moment, it loses a connection."""
        for _ in range(_BACKLOG):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                # It stays in the queue and would call us at once again.
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_EXHAUSTED_SECONDS, self._resume)
                return
            peer = str(address[0])
            if self._bounds.per_peer and self._open[peer] >= self._bounds.per_peer:
                accepted.close()
                self._metrics.count("connections_refused_total")
            else:
                self._open[peer] += 1
                self._greet(accepted, peer)

    def _greet(self, accepted: socket.socket, peer: str) -> None:
        connection = _Connection(self._connected(), self._bounds.head_seconds, lambda: self._leave(peer))

        def over(task: asyncio.Task[None]) -> None:
            # Not in the task itself: one that is cancelled before its first step runs none of its lines.
            self._greeting.discard(task)
            if not connection.made:
                accepted.close()
                self._leave(peer)

        greeting = asyncio.create_task(self._connect(connection, accepted))
        self._greeting.add(greeting)
        greeting.add_done_callback(over)

    async def _connect(self, connection: _Connection, accepted: socket.socket) -> None:
        timeout = self._bounds.head_seconds if self._tls is not None else None
        # No handshake in time, or none at all; ssl.SSLError and TimeoutError are kinds of it.
        with contextlib.suppress(OSError):
            accepted.setblocking(False)  # noqa: FBT003 - the socket's own method
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=self._tls, ssl_handshake_timeout=timeout
            )

    def _leave(self, peer: str) -> None:
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]


class _Connection(asyncio.Protocol):
    """Before a server's protocol: tells when the connection is over, and cuts one that does not begin."""

    def __init__(self, server: asyncio.Protocol, head_seconds: float, over: Callable[[], None]) -> None:
        self.made = False
        self._server = server
        self._head_seconds = head_seconds
        self._over = over
        self._tail = b""
        self._deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True
        transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._deadline = asyncio.get_running_loop().call_later(self._head_seconds, transport.abort)
        self._server.connection_made(transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self._deadline is not None:
            self._look_for_head(data)
        self._server.data_received(data)

    def _look_for_head(self, data: bytes) -> None:
        seen = self._tail + data
        if _HEAD_END.search(seen):
            self._begun()
        else:
            self._tail = bytes(seen[-_TAIL:])

    def _begun(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    @override
    def eof_received(self) -> bool | None:
        return self._server.eof_received()

    @override
    def pause_writing(self) -> None:
        self._server.pause_writing()

    @override
    def resume_writing(self) -> None:
        self._server.resume_writing()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._begun()
        self._over()
        self._server.connection_lost(exc)


def _bound(host: str | None, port: int) -> socket.socket:
    """A listening socket; without a host on every address of both families, where there are two."""
    if host is None and socket.has_dualstack_ipv6():
        made = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    else:
        family = socket.AF_INET6 if ":" in (host or "") else socket.AF_INET
        made = socket.create_server((host or "", port), family=family, backlog=_BACKLOG)
    made.setblocking(False)  # noqa: FBT003 - the socket's own method
    return made
