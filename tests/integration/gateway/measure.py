"""What the gateway adds: `python -m tests.integration.gateway.measure`.

The first byte of a streamed answer, with and without the gateway in between, one request at a time and
interleaved; then many streams at once, with the CPU and memory that they cost. Model, gateway and client
share one process and one core here, so the figures are an upper bound: the model's and the client's own
work for a second connection is in them.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from tests.integration.gateway.conftest import MODEL_KEY, World, open_world
from tests.world.markers import inline
from tests.world.script import Delay, Script, Step

if TYPE_CHECKING:
    from tests.integration.gateway.cluster import Pod

_ROUNDS = 200
_STREAMS = 200
_FILLER = "x" * 20_000
"""The CLI's first request has about 20 kB."""


def request(step: Step) -> dict[str, Any]:
    prompt = inline(Script(steps=(step,), plays_without_tools=True))
    return {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1000,
        "system": _FILLER,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
    }


async def first_byte(world: World, url: str, headers: dict[str, str], body: dict[str, Any]) -> float:
    begun = time.perf_counter()
    async with world.http.post(url, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        await answer.content.readany()
        seconds = time.perf_counter() - begun
        await answer.read()
    return seconds


async def latency(world: World, pod: Pod, thinks: float) -> None:
    """With a model that thinks for so many seconds before its first byte."""
    body = request(Step(text=("Hello.",), delay=Delay(before=thinks)))
    ways = {
        "direct": (
            f"{world.model.url}/v1/messages",
            {"x-api-key": MODEL_KEY, "anthropic-version": "2023-06-01"},
        ),
        "gateway": (f"{world.url}/v1/messages", {"Authorization": f"Bearer {pod.token()}"}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, (url, headers) in ways.items():
            seconds[name].append(await first_byte(world, url, headers, body))
    for name, values in seconds.items():
        tail = statistics.quantiles(values, n=100)[98]
        print(
            f"{name:8} first byte: median {statistics.median(values) * 1e3:.2f} ms, p99 {tail * 1e3:.2f} ms"
        )
    added = statistics.median(seconds["gateway"]) - statistics.median(seconds["direct"])
    print(f"added to a model that thinks {thinks * 1e3:.0f} ms: {added * 1e3:.2f} ms at the median")


async def many(world: World) -> None:
    claims = [await world.claimed(f"s{number}") for number in range(_STREAMS // 8)]
    body = request(Step(text=("word " * 1000,), delay=Delay(between=0.05)))
    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    begun = time.perf_counter()
    seconds = await asyncio.gather(
        *(
            first_byte(world, f"{world.url}/v1/messages", {"Authorization": f"Bearer {pod.token()}"}, body)
            for _, pod, _ in claims
            for _ in range(8)
        )
    )
    elapsed, used = time.perf_counter() - begun, time.process_time() - cpu
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{_STREAMS} streams at once: {elapsed:.1f} s, {used / elapsed:.0%} of one core for model, gateway "
        f"and client together, first byte median {statistics.median(seconds) * 1e3:.0f} ms, "
        f"memory +{grown:.0f} MiB"
    )
    turns = [(await world.record(session))["usage"]["turns"] for session, _, _ in claims]
    assert turns == [8] * len(claims), turns


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_world(Path(folder)) as world:
            _, pod, _ = await world.claimed()
            for thinks in (0, 0.05):
                await latency(world, pod, thinks)
            await many(world)


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
