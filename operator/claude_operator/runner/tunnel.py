"""A CONNECT proxy on loopback for the hosts that the project allows.

Tools take a proxy from HTTPS_PROXY but cannot speak TLS to one with a private CA, nor renew a token
in its URL. This one takes their CONNECT, opens a TLS connection to the gateway's CONNECT port, asks
the same with the token of the moment, and from the gateway's yes on copies bytes both ways. Which
hosts are allowed is the gateway's business alone: its answer is passed on as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING

from claude_operator.runner.errors import RunError
from claude_operator.runner.gateway import CONNECT_SECONDS, pauses

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from claude_operator.runner.access import Access

HEAD_BYTES = 16 << 10
HEAD_SECONDS = 10.0
OPEN_SECONDS = 30.0
"""How long a CONNECT waits for a gateway that restarts: clients give up soon after."""
_BLOCK_BYTES = 64 << 10
_CONNECT = re.compile(
    r"^CONNECT (?P<target>[A-Za-z0-9.-]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}) HTTP/1\.[01]$"
)
_END = b"\r\n\r\n"


def target_of(head: bytes) -> str | None:
    """`host:port` of a CONNECT request's head; None for any other request."""
    line = head.split(b"\r\n", 1)[0].decode("latin-1")
    found = _CONNECT.match(line)
    return found["target"] if found else None


class Tunnel:
    """The server."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.url = ""
        """`http://127.0.0.1:port` once started."""

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        # Not wait_closed(): from Python 3.12 on it also waits for the handlers, which end by the abort.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._tunnel(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            await _closed(writer)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(_END)
        target = target_of(head)
        if target is None:
            await _answer(writer, "405 Method Not Allowed", "this proxy takes CONNECT host:443 only")
            return
        try:
            far_reader, far_writer = await self._reach()
        except (RunError, OSError, TimeoutError) as error:
            await _answer(writer, "502 Bad Gateway", f"the gateway cannot be reached: {error}")
            return
        self._open.add(far_writer)
        try:
            far_writer.write(
                f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
                f"Proxy-Authorization: {self._access.bearer()}\r\n\r\n".encode("latin-1")
            )
            await far_writer.drain()
            await _both(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            self._open.discard(far_writer)
            await _closed(far_writer)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        deadline = time.monotonic() + OPEN_SECONDS
        for pause in pauses() + [pauses()[-1]] * 100:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(
                        self._access.proxy_host,
                        self._access.proxy_port,
                        ssl=self._access.tls,
                        limit=HEAD_BYTES,
                    )
            except (OSError, TimeoutError):
                # A certificate error is an OSError too, and no waiting mends it; the bound is short.
                if time.monotonic() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
        raise TimeoutError


async def _both(there: Coroutine[None, None, None], back: Coroutine[None, None, None]) -> None:
    """Until either direction has ended: TLS knows no half-closed connection to keep the other for."""
    directions = {asyncio.ensure_future(there), asyncio.ensure_future(back)}
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(_BLOCK_BYTES):
        writer.write(block)
        await writer.drain()


async def _answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    writer.write(head.encode("latin-1") + body)
    await writer.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()
