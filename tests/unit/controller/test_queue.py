"""The key queue, in virtual time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.controller.queue import FIRST_BACKOFF, LONGEST_BACKOFF, Again, WorkQueue
from tests.unit.controller import virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


async def work_for(
    queue: WorkQueue, seconds: float, reconcile: Callable[[str], Awaitable[None]], *, workers: int = 2
) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await queue.run(reconcile, workers=workers)


def test_a_key_added_often_runs_once() -> None:
    async def main() -> None:
        queue, runs = WorkQueue(), Counter[str]()

        async def reconcile(key: str) -> None:
            runs[key] += 1

        for _ in range(5):
            queue.add("a")
        queue.add("b")
        assert queue.depth == 2
        await work_for(queue, 10, reconcile)
        assert runs == {"a": 1, "b": 1}

    virtual_time.run(main())


def test_a_key_added_while_it_runs_runs_once_more_and_never_twice_at_once() -> None:
    async def main() -> None:
        queue, runs = WorkQueue(), list[tuple[float, float]]()

        async def reconcile(key: str) -> None:
            begun = now()
            if not runs:
                for _ in range(3):
                    queue.add(key)
            await asyncio.sleep(1)
            runs.append((begun, now()))

        queue.add("a")
        await work_for(queue, 10, reconcile, workers=4)
        assert runs == [(0.0, 1.0), (1.0, 2.0)]

    virtual_time.run(main())


def test_the_earliest_due_time_counts() -> None:
    async def main() -> None:
        queue, runs = WorkQueue(), list[float]()

        async def reconcile(_: str) -> None:
            runs.append(now())

        queue.add_after("a", 5)
        queue.add_after("a", 2)
        queue.add_after("a", 9)
        await work_for(queue, 20, reconcile)
        assert runs == [2.0]

    virtual_time.run(main())


def test_a_run_makes_older_due_times_void() -> None:
    async def main() -> None:
        queue, runs = WorkQueue(), list[float]()

        async def reconcile(key: str) -> None:
            runs.append(now())
            if len(runs) == 1:
                queue.add_after(key, 7)

        queue.add_after("a", 5)
        queue.add("a")
        await work_for(queue, 20, reconcile)
        assert runs == [0.0, 7.0]

    virtual_time.run(main())


@pytest.mark.parametrize("failure", [Again("later"), ValueError("a bug")])
def test_failures_come_back_ever_later_with_jitter_until_one_succeeds(failure: Exception) -> None:
    async def main() -> None:
        queue, runs = WorkQueue(), list[float]()

        async def reconcile(_: str) -> None:
            runs.append(now())
            if len(runs) < 12:
                raise failure

        queue.add("a")
        await work_for(queue, 1000, reconcile)
        pauses = [after - before for before, after in pairwise(runs)]
        assert len(runs) == 12
        for number, pause in enumerate(pauses):
            ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**number)
            assert ceiling / 2 <= pause <= ceiling
        # It has been forgotten: the next failure begins anew.
        runs.clear()
        queue.add("a")
        await work_for(queue, FIRST_BACKOFF, reconcile)
        assert len(runs) == 2

    virtual_time.run(main())


def test_a_failing_key_does_not_hold_up_others() -> None:
    async def main() -> None:
        queue, done = WorkQueue(), list[tuple[str, float]]()

        async def reconcile(key: str) -> None:
            if key == "bad":
                raise Again("never works")
            done.append((key, now()))

        for key in ("bad", "good", "better"):
            queue.add(key)
        await work_for(queue, 60, reconcile, workers=1)
        assert done == [("good", 0.0), ("better", 0.0)]

    virtual_time.run(main())


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(0, 100)), min_size=1, max_size=30
    )
)
def test_no_addition_is_lost_and_no_key_runs_twice_at_once(plan: list[tuple[str, int, int]]) -> None:
    """Whatever is added, whenever: after each addition a run of that key begins."""

    async def main() -> None:
        queue, active, begun = WorkQueue(), Counter[str](), list[tuple[str, float]]()
        added = list[tuple[str, float]]()

        async def reconcile(key: str) -> None:
            assert active[key] == 0
            active[key] += 1
            begun.append((key, now()))
            await asyncio.sleep(0.5)
            active[key] -= 1

        async def add() -> None:
            for key, pause, delay in plan:
                await asyncio.sleep(pause / 10)
                added.append((key, now()))
                queue.add_after(key, delay / 10)

        adder = asyncio.create_task(add())
        await work_for(queue, 200, reconcile, workers=2)
        await adder
        for key, moment in added:
            assert any(other == key and at >= moment for other, at in begun), (key, moment)
        assert queue.depth == queue.delayed == 0

    virtual_time.run(main())
