"""CONNECT through the gateway: to listed hosts, by their checked address, and nowhere else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.integration.gateway.conftest import World, client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.gateway.cluster import Pod


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """A host that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def connect(
    world: World, pod: Pod | None, target: str, *, method: str = "CONNECT"
) -> tuple[int, str, asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a tunnel; status and body of the answer, and the connection."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        world.gateway.ports.connect,
        ssl=client_context(world.gateway),
        server_hostname="localhost",
    )
    login = f"Proxy-Authorization: Bearer {pod.token()}\r\n" if pod else ""
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
    status = int(head.split(" ", 2)[1])
    body = (await reader.read()).decode() if status != 200 else ""
    return status, body, reader, writer


async def test_bytes_go_both_ways_and_the_journal_counts_them(world: World) -> None:
    session, pod, _ = await world.claimed()
    async with echo_server() as port:
        world.change_project(egress={"hosts": [f"localhost:{port}"]})
        status, _, reader, writer = await connect(world, pod, f"localhost:{port}")
        assert status == 200
        noise = bytes(range(256)) * 4096
        writer.write(noise)
        assert await asyncio.wait_for(reader.readexactly(len(noise)), 20) == noise
        writer.close()
        closed = await world.event(session, "egress_closed")

    assert (closed["sent"], closed["received"]) == (len(noise), len(noise))
    assert (await world.event(session, "egress"))["host"] == f"localhost:{port}"


@pytest.mark.parametrize(
    ("target", "hosts", "status", "says"),
    [
        ("evil.example:443", [], 403, "egress.hosts"),
        ("listed.example:80", ["listed.example"], 403, "egress.hosts"),
        ("169.254.169.254:443", ["169.254.169.254"], 403, "not a public address"),
        ("10.0.0.1:443", ["10.0.0.1"], 403, "not a public address"),
        ("[::ffff:169.254.169.254]:443", ["::ffff:169.254.169.254"], 403, "egress.hosts"),
        ("nonsense", [], 400, "host:port"),
        ("a:99999", [], 400, "host:port"),
    ],
)
async def test_other_destinations_are_refused_and_in_the_journal(
    world: World, target: str, hosts: list[str], status: int, says: str
) -> None:
    session, pod, _ = await world.claimed()
    if hosts and "::" not in hosts[0]:
        world.change_project(egress={"hosts": hosts})

    answered, body, _, writer = await connect(world, pod, target)
    writer.close()

    assert answered == status
    assert says in body
    assert says in (await world.event(session, "egress_refused"))["message"]


async def test_without_a_token_or_with_another_method_nothing_is_connected(world: World) -> None:
    _, pod, _ = await world.claimed()

    status, _, _, writer = await connect(world, None, "localhost:443")
    writer.close()
    assert status == 407
    status, body, _, writer = await connect(world, pod, "http://localhost/", method="GET")
    writer.close()
    assert status == 405
    assert "HTTPS_PROXY" in body


async def test_a_fenced_pod_loses_its_tunnels(world: World) -> None:
    session, pod, _ = await world.claimed()
    async with echo_server() as port:
        world.change_project(egress={"hosts": [f"localhost:{port}"]})
        _, _, reader, writer = await connect(world, pod, f"localhost:{port}")
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"

        await world.close_attempt(session)

        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 20)
        writer.close()


async def test_bytes_that_are_no_http_end_the_connection(world: World) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        world.gateway.ports.connect,
        ssl=client_context(world.gateway),
        server_hostname="localhost",
    )
    writer.write(b"\x16\x03\x01" + b"garbage" * 100 + b"\r\n\r\n")

    answer = await asyncio.wait_for(reader.read(), 20)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    writer.close()
