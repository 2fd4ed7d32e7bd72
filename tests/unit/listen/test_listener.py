"""A port that nobody can fill by doing nothing: on asyncio's loop and on uvloop's, plain and with TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest
import uvloop
from aiohttp import web

from claude_operator.listen.listener import Bounds, Listener
from claude_operator.telemetry.metrics import Metrics
from tests.integration.runner import certificate as certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.runner.certificate import Certificate

HEAD_SECONDS = 0.2
PEER = 3
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

Run = Callable[[Awaitable[None]], None]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a case on each loop: they differ in how they take connections."""

    async def awaited(case: Awaitable[None]) -> None:
        async with asyncio.timeout(20):
            await case

    def runs(case: Awaitable[None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(awaited(case))

    return runs


class Port:
    """A listener before aiohttp's server, and clients of it."""

    def __init__(self, listener: Listener, metrics: Metrics, tls: ssl.SSLContext | None) -> None:
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.port}"
        self.metrics = metrics
        self.tls = tls
        self._port = listener.port

    async def open(self, *, tls: bool = True) -> Streams:
        context = self.tls if tls else None
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=context)


@asynccontextmanager
async def port(certificate: Certificate | None = None, *, per_peer: int = 0) -> AsyncIterator[Port]:
    async def slow(request: web.Request) -> web.StreamResponse:
        """Take the body, wait for twice the time that a head has, answer in two parts."""
        body = await request.read()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body)
        await asyncio.sleep(2 * HEAD_SECONDS)
        await response.write(b" and more")
        return response

    app = web.Application()
    app.router.add_route("*", "/", slow)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    metrics = Metrics("")
    bounds = Bounds(head_seconds=HEAD_SECONDS, per_peer=per_peer)
    server = certificate.server if certificate else None
    client = ssl.create_default_context(cadata=certificate.ca) if certificate else None
    try:
        async with Listener(
            runner.server, host="127.0.0.1", port=0, tls=server, bounds=bounds, metrics=metrics
        ) as listener:
            yield Port(listener, metrics, client)
    finally:
        await runner.cleanup()


async def until_cut(reader: asyncio.StreamReader) -> float:
    """Seconds until the server has closed the connection, without a word."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with suppress(ConnectionError):  # with something still on its way to it, a close is a reset
        assert await reader.read() == b""
    return loop.time() - begun


@pytest.fixture(params=["plain", "tls"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Certificate | None:
    return certificates.make(tmp_path) if request.param == "tls" else None


def test_who_says_nothing_is_cut(run: Run, certificate: Certificate | None) -> None:
    async def case() -> None:
        async with port(certificate) as at:
            reader, writer = await at.open()
            assert await until_cut(reader) >= HEAD_SECONDS * 0.9
            writer.close()

    run(case())


def test_who_never_begins_its_handshake_is_cut(run: Run, tmp_path: Path) -> None:
    async def case() -> None:
        async with port(certificates.make(tmp_path)) as at:
            reader, writer = await at.open(tls=False)
            assert await until_cut(reader) >= HEAD_SECONDS * 0.9
            writer.close()

    run(case())


def test_who_sends_its_head_byte_by_byte_is_cut(run: Run, certificate: Certificate | None) -> None:
    async def case() -> None:
        async with port(certificate) as at:
            reader, writer = await at.open()

            async def trickle() -> None:
                writer.write(b"GET / HTTP/1.1\r\n")
                while True:
                    writer.write(b"X-Slow: 1\r\n")
                    await asyncio.sleep(HEAD_SECONDS / 10)

            trickling = asyncio.create_task(trickle())
            assert await until_cut(reader) < 10 * HEAD_SECONDS
            trickling.cancel()
            writer.close()

    run(case())


def test_a_head_in_two_parts_is_one_and_what_follows_has_time(
    run: Run, certificate: Certificate | None
) -> None:
    async def case() -> None:
        async with port(certificate) as at:
            reader, writer = await at.open()
            for _ in range(2):  # the second one after a pause that is longer than a head may take
                for part in (REQUEST[:-3], REQUEST[-3:]):
                    writer.write(part)
                    await writer.drain()
                assert (await reader.readuntil(b"\r\n0\r\n\r\n")).endswith(b" and more\r\n0\r\n\r\n")
            writer.close()

    run(case())


def test_bodies_pass_as_they_are(run: Run, certificate: Certificate | None) -> None:
    async def case() -> None:
        body = bytes(range(256)) * 4000
        async with (
            port(certificate) as at,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=at.tls or False)) as http,
            http.post(at.url, data=body) as answer,
        ):
            assert await answer.read() == body + b" and more"

    run(case())


def test_one_peer_has_so_many_connections_and_no_more(run: Run, certificate: Certificate | None) -> None:
    async def case() -> None:
        async with port(certificate, per_peer=PEER) as at:
            # Also those that have not begun TLS are counted: each costs the same.
            held = [await at.open(tls=False) for _ in range(PEER)]
            for _, writer in held:
                writer.write(b"" if certificate else REQUEST)
            reader, writer = await at.open(tls=False)
            assert await until_cut(reader) < HEAD_SECONDS
            writer.close()
            assert "connections_refused_total 1" in at.metrics.render()

            held[0][1].close()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=at.tls or False)) as http:
                while True:
                    try:
                        async with http.get(at.url) as answer:
                            assert answer.status == 200
                            break
                    except (aiohttp.ClientError, OSError):
                        await asyncio.sleep(0.01)  # its end has not been seen yet
            for _, each in held[1:]:
                each.close()

    run(case())


def test_closing_takes_no_new_ones_and_waits_for_nobody(run: Run) -> None:
    async def case() -> None:
        async with port() as at:
            reader, writer = await at.open()
        assert await until_cut(reader) < HEAD_SECONDS
        writer.close()
        with pytest.raises(OSError, match="Connect"):
            await at.open()

    run(case())
