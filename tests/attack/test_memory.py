"""Sessions that fill the gateway's memory together: there is room for so much, and some for everybody.

The gateway is a process of its own; what is measured is its resident memory.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from claude_operator.wire import session as wire
from tests.attack.apart import MIB, Apart, apart
from tests.attack.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

HOSTILE_SESSIONS, AT_ONCE = 3, 8
HONEST = HOSTILE_SESSIONS
"""The number of the session that only wants to work."""
UNBOUND = 1 << 40
REQUEST = 16 * MIB
ROOM = 128 * MIB
TRANSIENT = 96 * MIB
"""One large request's objects, three bodies half read, and what the process needs to stream."""
MARK = b"HOSTILE"
ANSWER = json.dumps(
    {"type": "message", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}
).encode()


@asynccontextmanager
async def model() -> AsyncIterator[str]:
    """A model's host that stops reading a marked request, as a busy one may: so it stays in the gateway."""
    stop = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            begun = await reader.read(64 * 1024)
            if MARK in begun:
                await stop.wait()
                return
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            missing = int(lengths[0].partition(b":")[2]) - len(begun)
            await reader.readexactly(max(0, missing))
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the gateway has gone
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        stop.set()
        server.close()
        await server.wait_closed()


def request(text: bytes) -> bytes:
    return (
        b'{"model":"claude-sonnet-5-5","max_tokens":1,"messages":[{"role":"user","content":"' + text + b'"}]}'
    )


@asynccontextmanager
async def flood(gateway: Apart, path: str, body: bytes) -> AsyncIterator[list[asyncio.Task[int]]]:
    """Every hostile session sends it, as often as it may at once."""
    tasks = [
        asyncio.create_task(gateway.ask(session, path, body))
        for session in range(HOSTILE_SESSIONS)
        for _ in range(AT_ONCE)
    ]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_large_requests_of_several_sessions_do_not_fill_it(tmp_path: Path) -> None:
    large = request(MARK + b"x" * REQUEST)
    async with model() as url:
        unbound = apart(tmp_path / "a", model_url=url, sessions=HONEST + 1, body_bytes=UNBOUND)
        async with unbound as gateway:
            before = gateway.resident
            async with flood(gateway, wire.MESSAGES_PATH, large):
                # Undefended: each of them is there as a whole.
                await until(lambda: gateway.resident - before > 20 * REQUEST, seconds=60)

        bound = apart(
            tmp_path / "b", model_url=url, sessions=HONEST + 1, body_bytes=ROOM, body_wait_seconds=3.0
        )
        async with bound as gateway:
            before = gateway.resident
            async with flood(gateway, wire.MESSAGES_PATH, large) as tasks:
                await until(lambda: gateway.resident - before > HOSTILE_SESSIONS * REQUEST, seconds=60)
                assert await gateway.ask(HONEST, wire.MESSAGES_PATH, request(b"Hello.")) == 200
                refused = HOSTILE_SESSIONS * (AT_ONCE - 1)
                await until(lambda: sum(task.done() for task in tasks) >= refused, seconds=60)
                statuses = [task.result() for task in tasks if task.done()]
                assert statuses == [503] * refused, "each session has one through, the rest comes again"
                assert await gateway.ask(HONEST, wire.MESSAGES_PATH, request(b"x" * MIB)) == 200
            assert gateway.peak - before < ROOM + TRANSIENT


async def test_messages_that_grow_when_they_are_parsed_do_not_fill_it(tmp_path: Path) -> None:
    objects = b'{"a":1},' * (MIB // 64)
    event = b'{"seq":%d,"time":"2026-11-01T00:00:00Z","type":"cli.user","data":{"x":[%s1]}}'
    batch = b'{"events":[' + b",".join(event % (seq, objects) for seq in range(1, 5)) + b"]}"
    grown = 38 * len(batch)
    count = HOSTILE_SESSIONS * AT_ONCE
    async with model() as url:
        for folder, room, defended in (("a", UNBOUND, False), ("b", ROOM // 2, True)):
            async with apart(
                tmp_path / folder, model_url=url, sessions=HONEST + 1, body_bytes=room
            ) as gateway:
                before = gateway.resident
                async with flood(gateway, wire.EVENTS_PATH, batch) as tasks:
                    assert await asyncio.gather(*tasks) == [200] * count, "each is taken, in its turn"
                rise = gateway.peak - before
                if defended:
                    assert rise < ROOM // 2 + TRANSIENT
                else:
                    assert rise > count * grown // 2, "undefended: all of their objects at once"
