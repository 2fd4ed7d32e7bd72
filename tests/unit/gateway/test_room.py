"""Room for the bodies of requests: never more than there is, and nobody kept out by one session."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.room import Held, Room
from claude_operator.telemetry.metrics import Metrics

SIZE = 1000


def room(*, wait_seconds: float = 5) -> Room:
    return Room(SIZE, metrics=Metrics(""), wait_seconds=wait_seconds)


class Asking:
    """A request that holds its room until it is told to go."""

    def __init__(self, of: Room, session: str, size: int) -> None:
        self.held: Held | None = None
        self._go = asyncio.Event()
        self._task = asyncio.create_task(self._run(of, session, size))

    async def _run(self, of: Room, session: str, size: int) -> None:
        async with of.hold(session, size) as self.held:
            await self._go.wait()

    async def go(self) -> None:
        self._go.set()
        await self._task

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def ask(of: Room, session: str, size: int) -> Asking:
    asking = Asking(of, session, size)
    for _ in range(3):
        await asyncio.sleep(0)
    return asking


async def test_one_session_does_not_keep_another_from_its_first_request() -> None:
    at = room()
    hostile = [await ask(at, "hostile", 250) for _ in range(20)]
    assert sum(one.held is not None for one in hostile) == 1, "a quarter for one session beyond its first"
    small = [await ask(at, "small", 60) for _ in range(5)]
    assert sum(one.held is not None for one in small) == 4, "its first, and more up to a quarter"
    others = [await ask(at, f"other-{number}", 200) for number in range(2)]
    assert all(one.held for one in others)
    for one in [*hostile, *small, *others]:
        await one.leave()


async def test_more_is_one_half_and_whoever_has_nothing_comes_first() -> None:
    at = room()
    asked = [await ask(at, f"session-{number // 4}", 60) for number in range(40)]

    def given() -> tuple[int, int]:
        """First requests, and more."""
        held = [number % 4 == 0 for number, one in enumerate(asked) if one.held]
        return held.count(True), held.count(False)

    assert given() == (8, 8)
    assert SIZE // 2 // 60 == 8
    await asked[1].go()  # one of those that are more
    await asyncio.sleep(0)
    assert asked[32].held, "though many asked for more before it"
    for one in asked:
        await one.leave()


async def test_a_large_request_is_not_passed_by_and_a_small_one_waits_for_it() -> None:
    at = room()
    first = await ask(at, "a", 600)
    large, small = await ask(at, "b", 700), await ask(at, "c", 10)
    assert (large.held, small.held) == (None, None)
    await first.go()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert large.held
    assert small.held
    await large.go()
    await small.go()


async def test_what_is_given_up_while_it_waits_lets_the_next_through() -> None:
    at = room()
    first = await ask(at, "a", 600)
    large, small = await ask(at, "b", 700), await ask(at, "c", 10)
    await large.leave()
    await asyncio.sleep(0)
    assert small.held
    await first.go()
    await small.go()


async def test_what_is_kept_counts_and_what_is_sent_does_not() -> None:
    at = room()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(at.hold("a", 900))
        one.keep(b"x" * 300)
        two = await stack.enter_async_context(at.hold("b", 700))
        two.release()
        two.release()
        three = await stack.enter_async_context(at.hold("c", 700))
        assert (one.size, two.size, three.size) == (300, 0, 700)
    async with at.hold("d", SIZE):
        pass  # all of it came back


async def test_a_large_body_gives_its_room_back_once_it_is_sent() -> None:
    at = Room(2_000_000, wait_seconds=5, metrics=Metrics(""))
    body = bytes(range(256)) * 4096
    async with at.hold("a", 2 * len(body)) as held:
        held.keep(body)
        outgoing = held.outgoing()
        assert not isinstance(outgoing, bytes)
        assert b"".join([piece async for piece in outgoing]) == body
        assert (held.size, held.body) == (0, b"")


async def test_whoever_waits_too_long_is_sent_away_to_come_again() -> None:
    at = room(wait_seconds=0.05)
    async with at.hold("a", SIZE):
        with pytest.raises(Refusal, match="room for requests was full") as refused:
            async with at.hold("b", 1):
                pass
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
    async with at.hold("b", SIZE):
        pass


async def test_there_is_never_more_than_there_is_and_all_comes_back() -> None:
    at, held, most = room(), 0, 0
    choose = random.Random(7)

    async def request(session: str) -> None:
        nonlocal held, most
        size = choose.choice([1, 10, 100, 400, 900])
        try:
            async with asyncio.timeout(choose.choice([0.001, 0.01, 5])), at.hold(session, size) as one:
                held += size
                most = max(most, held)
                try:
                    await asyncio.sleep(choose.choice([0, 0, 0.001]))
                    if choose.random() < 0.3:
                        one.release()
                        held -= size
                        size = 0
                        await asyncio.sleep(0.001)
                finally:
                    held -= size
        except TimeoutError:
            pass

    async with asyncio.TaskGroup() as group:
        for number in range(400):
            group.create_task(request(f"session-{number % 7}"))
            if number % 20 == 0:
                await asyncio.sleep(0)
    assert SIZE // 2 < most <= SIZE
    async with at.hold("last", SIZE):
        pass
