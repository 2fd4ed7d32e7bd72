"""The loopback server between CLI, git and gateway: what it adds, what it waits for, what it never hides."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import pytest

from claude_operator.runner.access import Access, access
from claude_operator.runner.forwarder import Forwarder
from claude_operator.runner.settings import from_environment
from claude_operator.runner.tunnel import Tunnel

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.integration.runner.certificate import Certificate

    Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Far:
    """A raw TLS server: each connection is played by the next of `plays`."""

    tls: ssl.SSLContext
    plays: list[Play] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    server: asyncio.Server | None = None
    port: int = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await self.plays.pop(0)(reader, writer)
        writer.close()


@dataclass
class Setup:
    far: Far
    way: Access
    forwarder: Forwarder
    client: aiohttp.ClientSession
    token: Path
    lost: list[str]


@pytest.fixture
async def setup(loopback: Certificate, tmp_path: Path) -> AsyncIterator[Setup]:
    far = Far(loopback.server)
    await far.start()
    token = tmp_path / "token"
    token.write_text("one\n")
    way = access(
        from_environment(
            {
                "CLAUDE_GATEWAY_URL": f"https://127.0.0.1:{far.port}",
                "CLAUDE_GATEWAY_PROXY": f"127.0.0.1:{far.port}",
                "CLAUDE_GATEWAY_CA": loopback.ca,
                "CLAUDE_RUNNER_TOKEN": str(token),
            }
        )
    )
    lost: list[str] = []
    forwarder = Forwarder(way, patience_seconds=1.5, lost=lost.append)
    await forwarder.start()
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        yield Setup(far, way, forwarder, client, token, lost)
    await forwarder.close()
    assert far.server is not None
    far.server.close()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> Play:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join(
            [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
        )
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return play


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def test_the_token_of_the_moment_replaces_the_dummy_key(setup: Setup) -> None:
    setup.far.plays = [answer(b"a"), answer(b"b")]
    for token in ("one", "two"):
        setup.token.write_text(token)
        headers = {
            "x-api-key": "dummy",
            "Authorization": "Bearer dummy",
            "Connection": "x-gone",
            "x-gone": "1",
        }
        async with setup.client.post(
            f"{setup.forwarder.url}/v1/messages", data=b"{}", headers=headers
        ) as response:
            assert response.status == 200
    assert "Authorization: Bearer one\r\n" in setup.far.heads[0]
    assert "Authorization: Bearer two\r\n" in setup.far.heads[1]
    assert all("dummy" not in head and "x-gone" not in head.lower() for head in setup.far.heads)


async def test_an_answer_flows_as_it_comes(setup: Setup) -> None:
    release = asyncio.Event()

    async def slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
        )
        writer.write(b"5\r\nfirst\r\n")
        await writer.drain()
        await release.wait()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")
        await writer.drain()

    setup.far.plays = [slowly]
    async with setup.client.post(f"{setup.forwarder.url}/v1/messages", data=b"{}") as response:
        assert await asyncio.wait_for(response.content.readany(), 5) == b"first"
        release.set()
        assert await response.content.read() == b"last"


async def test_a_request_flows_as_it_comes_and_stays_gzipped(setup: Setup) -> None:
    body = gzip.compress(b"0032want something\n" * 5)
    arrived = asyncio.Event()
    received = b""

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += await reader.readuntil(body[:10])
        arrived.set()
        received += await reader.readuntil(b"0\r\n\r\n")
        await answer(b"ok")(reader, writer)

    async def send() -> AsyncIterator[bytes]:
        yield body[:10]
        await asyncio.wait_for(arrived.wait(), 5)
        yield body[10:]

    setup.far.plays = [receive]
    async with setup.client.post(
        f"{setup.forwarder.url}/git/h/o/r/git-upload-pack", data=send(), headers={"Content-Encoding": "gzip"}
    ) as response:
        assert await response.read() == b"ok"
    assert setup.far.heads[0].startswith("POST /git/h/o/r.git/git-upload-pack HTTP/1.1\r\n")
    assert "Content-Encoding: gzip\r\n" in setup.far.heads[0]
    assert body[10:] in received


async def test_a_broken_connection_before_the_answer_is_tried_again_with_the_whole_body(setup: Setup) -> None:
    bodies = []

    async def read_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(100_000))
        writer.transport.abort()

    async def read_and_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(100_000))
        await answer(b"ok")(reader, writer)

    setup.far.plays = [hang_up, read_and_hang_up, read_and_answer]
    async with setup.client.post(f"{setup.forwarder.url}/v1/messages", data=b"x" * 100_000) as response:
        assert await response.read() == b"ok"
    assert bodies == [b"x" * 100_000] * 2
    assert setup.lost == []


async def test_an_answer_that_has_begun_is_never_asked_for_again_and_its_break_is_seen(setup: Setup) -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    setup.far.plays = [half, answer(b"a second, billed answer")]
    async with setup.client.post(f"{setup.forwarder.url}/v1/messages", data=b"{}") as response:
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert len(setup.far.heads) == 1


async def test_a_client_that_hangs_up_ends_the_gateways_request(setup: Setup) -> None:
    gone = asyncio.Event()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()
        await reader.read()
        gone.set()

    setup.far.plays = [wait_for_end]
    async with setup.client.get(f"{setup.forwarder.url}/git/h/o/r.git/info/refs") as response:
        await response.content.readany()
        response.close()
    await asyncio.wait_for(gone.wait(), 5)


async def test_a_gateway_that_stays_away_is_reported_and_told_to_the_client(setup: Setup) -> None:
    assert setup.far.server is not None
    setup.far.server.close()
    async with setup.client.post(f"{setup.forwarder.url}/v1/messages", data=b"{}") as response:
        assert response.status == 502
        assert (await response.json())["error"]["message"].startswith("the gateway cannot be reached")
    assert len(setup.lost) == 1


async def test_a_certificate_for_another_name_is_refused_at_once(setup: Setup) -> None:
    # The certificate is for 127.0.0.1 only.
    setup.far.plays = [answer(b"never")]
    way = Access(
        url=f"https://localhost:{setup.far.port}",
        proxy_host="localhost",
        proxy_port=setup.far.port,
        tls=setup.way.tls,
        token_path=setup.token,
    )
    forwarder = Forwarder(way, patience_seconds=30, lost=setup.lost.append)
    await forwarder.start()
    async with asyncio.timeout(5), setup.client.post(f"{forwarder.url}/v1/messages", data=b"{}") as response:
        assert response.status == 502
    await forwarder.close()
    assert setup.far.heads == []


async def test_the_gateways_refusal_of_a_host_reaches_the_tool(setup: Setup) -> None:
    setup.far.plays = [answer(b"not listed\n", "403 Forbidden")]
    tunnel = Tunnel(setup.way)
    await tunnel.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(tunnel.url.rpartition(":")[2]))
    writer.write(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    said = await asyncio.wait_for(reader.read(), 5)
    assert said.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert said.endswith(b"not listed\n")
    assert "Proxy-Authorization: Bearer one\r\n" in setup.far.heads[0]
    writer.close()
    await tunnel.close()


async def test_the_tunnel_takes_nothing_but_connect(setup: Setup) -> None:
    tunnel = Tunnel(setup.way)
    await tunnel.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(tunnel.url.rpartition(":")[2]))
    writer.write(b"GET http://evil.example/ HTTP/1.1\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 405 ")
    assert setup.far.heads == []
    writer.close()
    await tunnel.close()
