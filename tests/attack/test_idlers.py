"""Connections that do nothing, or as little as they can, by the hundred: at every port of the gateway.

The undefended one is the same gateway with its bounds taken away, so that what aiohttp and asyncio do by
themselves is seen: they take every connection, and wait for its first request.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claude_operator.gateway.serve import Gateway
from claude_operator.wire import session as wire
from tests.attack.until import until
from tests.integration.gateway.conftest import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.gateway.cluster import Pod
    from tests.integration.gateway.conftest import World

SECONDS = 0.5
PER_PEER = 20
MANY = 200
ELSEWHERE = ("127.0.0.2", 0)
"""Another peer's address."""
PORTS = ("session", "internal", "connect")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def gateway(
    world: World, folder: Path, *, head_seconds: float = 600, per_peer: int = 0, body_seconds: float = 600
) -> AsyncIterator[Gateway]:
    """Another one beside the world's, with bounds of its own."""
    settings = replace(
        world.settings,
        data=folder,
        head_seconds=head_seconds,
        connections_per_peer=per_peer,
        body_seconds=body_seconds,
        drain_seconds=0.1,
    )
    async with Gateway(settings, world.cluster) as made:
        yield made


async def connected(
    at: Gateway, port: str, *, tls: bool = True, peer: tuple[str, int] | None = None
) -> Streams:
    context = client_context(at) if tls else None
    number = getattr(at.ports, port)
    return await asyncio.open_connection("127.0.0.1", number, ssl=context, local_addr=peer)


def open_still(connections: list[Streams]) -> int:
    """How many the gateway has not closed."""
    return sum(not reader.at_eof() and reader.exception() is None for reader, _ in connections)


async def cut(reader: asyncio.StreamReader) -> bool:
    """Whether the gateway closes it, within time enough."""
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            return await reader.read() == b""
    return True


def hang_up(connections: list[Streams]) -> None:
    for _, writer in connections:
        writer.transport.abort()


@pytest.mark.parametrize("port", PORTS)
async def test_one_peer_cannot_take_all_connections(world: World, tmp_path: Path, port: str) -> None:
    async with gateway(world, tmp_path / "a") as undefended:
        idle = [await connected(undefended, port, tls=False) for _ in range(MANY)]
        last, _ = await connected(undefended, port)
        assert open_still(idle) == MANY, "undefended: as many as it likes, before any handshake"
        assert not last.at_eof()
        hang_up(idle)

    async with gateway(world, tmp_path / "b", per_peer=PER_PEER) as defended:
        idle = [await connected(defended, port, tls=False) for _ in range(MANY)]

        await until(lambda: open_still(idle) == PER_PEER)
        reader, writer = await connected(defended, port, peer=ELSEWHERE)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 "), "others are served"
        writer.transport.abort()
        hang_up(idle)


@pytest.mark.parametrize("port", PORTS)
async def test_who_does_not_begin_a_request_is_cut(world: World, tmp_path: Path, port: str) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"CONNECT host:443 HTTP/1.1\r\nHost: x\r\n" if port == "connect" else b"GET / HTTP/1.1\r\n"
        )
        while True:
            writer.write(b"X-Slow: 1\r\n")
            await asyncio.sleep(SECONDS / 10)

    async with (
        gateway(world, tmp_path / "a") as undefended,
        gateway(world, tmp_path / "b", head_seconds=SECONDS) as defended,
    ):
        # Those of the undefended one are older, and there still when the others are cut.
        old = [await connected(undefended, port, tls=tls) for tls in (False, True, True)]
        new = [await connected(defended, port, tls=tls) for tls in (False, True, True)]
        trickling = [asyncio.create_task(trickle(pair[-1][1])) for pair in (old, new)]
        assert await asyncio.gather(*(cut(reader) for reader, _ in new)) == [True] * 3
        assert open_still(old) == 3, "undefended: silent, idle after the handshake, byte by byte"
        for task in trickling:
            task.cancel()
        hang_up([*old, *new])


BODIES = {
    "a message": ("POST", wire.EVENTS_PATH, "application/json"),
    "a chunk": ("PUT", f"{wire.BLOBS_PATH}/{'a' * 64}/0", "application/octet-stream"),
    "a model request": ("POST", wire.MESSAGES_PATH, "application/json"),
    "a push": ("POST", "receive-pack", "application/x-git-receive-pack-request"),
    "a fetch": ("POST", "upload-pack", "application/x-git-upload-pack-request"),
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_body_that_does_not_come_holds_nothing_for_long(
    world: World, tmp_path: Path, what: str
) -> None:
    method, path, kind = BODIES[what]
    if path.endswith("-pack"):
        path = f"/git/{world.host}/acme/greetings.git/git-{path}"

    async def begin(at: Gateway, pod: Pod) -> Streams:
        reader, writer = await connected(at, "session")
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {pod.token()}\r\n"
        begun = {"a push": "0000", "a fetch": "0032want "}.get(what, "{")
        writer.write(f"{head}Content-Type: {kind}\r\nContent-Length: 1000000\r\n\r\n{begun}".encode())
        return reader, writer

    async with (
        gateway(world, tmp_path / "a") as undefended,
        gateway(world, tmp_path / "b", body_seconds=SECONDS) as defended,
    ):
        old, new = await _claimed(world, undefended, "old"), await _claimed(world, defended, "new")
        both = [await begin(undefended, old), await begin(defended, new)]
        async with asyncio.timeout(10):
            status = await both[1][0].readline()
            if what == "a fetch":
                with suppress(ConnectionError):
                    await both[1][0].read()  # git's host answers before it has the whole: the end is cut off
            else:
                assert status.startswith(b"HTTP/1.1 408 "), status
        assert open_still(both[:1]) == 1, "undefended: it waits for as long as the pod likes"
        hang_up(both)


async def _claimed(world: World, at: Gateway, name: str) -> Pod:
    pod = world.cluster.add_pod(world.cluster.add_session(name))
    reader, writer = await connected(at, "session")
    writer.write(
        f"POST {wire.CLAIM_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {pod.token()}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["name"] == name
    writer.transport.abort()
    return pod
