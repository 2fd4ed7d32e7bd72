"""Many sessions and many agents: lists from the watch cache, polls that stay quick, memory that stays flat.

`SHIM_SESSIONS=10000` measures what the product promises; each run tries a share of it.
"""

import asyncio
import os
import time
from statistics import median, quantiles
from typing import Any

import aiohttp
import pytest

from claude_operator.kube.kinds import SESSIONS
from tests.integration.shim.process import Client
from tests.integration.shim.stage import Stage

pytestmark = pytest.mark.controlplane

COUNT = int(os.environ.get("SHIM_SESSIONS", "1500"))
AGENTS = 50
LOOKS = 10
SECONDS = float(os.environ.get("SHIM_SECONDS", "5"))
LIST_SECONDS = 0.2
GET_SECONDS = 0.05


async def fill(stage: Stage, count: int) -> None:
    """Sessions as an HTTP client makes them, with prompts of 4 KB."""
    slots = asyncio.Semaphore(32)

    async def one(number: int) -> None:
        name = f"{number:08x}-0000-4000-8000-000000000000"
        request = f'{{"batch": "batch-{number % 100}", "echo": {{}}}}'
        body: dict[str, Any] = {
            "metadata": {"name": name, "annotations": {"claude-operator.dev/request": request}},
            "spec": {"repository": "acme/webapp", "requirements": "x" * 4000, "suspend": True},
        }
        async with slots:
            await stage.kube.create(SESSIONS, body, namespace=stage.namespace)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


async def timed(client: Client, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    begun = time.perf_counter()
    answer = await client.post(body)
    return time.perf_counter() - begun, answer.data


@pytest.mark.timeout(900)
async def test_lists_come_from_the_cache(idle_stage: Stage) -> None:
    stage = idle_stage
    await fill(stage, COUNT)
    begun = time.perf_counter()
    await stage.shim.start()
    print(f"{COUNT} sessions listed in {time.perf_counter() - begun:.1f} s; {stage.shim.rss_mb:.0f} MB")
    page = {"type": "session.list", "limit": 100}
    batch = {"type": "session.list", "orchestrationId": "batch-7"}
    nothing = {"type": "session.list", "status": "running"}
    for what, body, expected in (("page", page, 100), ("batch", batch, COUNT // 100), ("none", nothing, 0)):
        tries = [await timed(stage.api, body) for _ in range(20)]
        assert all(len(data["sessions"]) == expected for _, data in tries)
        print(f"{what}: median {median(seconds for seconds, _ in tries) * 1000:.1f} ms")
        assert median(seconds for seconds, _ in tries) < LIST_SECONDS
    seen, after = 0, None
    while True:
        body = {"type": "session.list", "limit": 1000} | ({"continue": after} if after else {})
        data = (await stage.api.post(body)).data
        seen += len(data["sessions"])
        after = data["continue"]
        if after is None:
            break
    assert seen == COUNT
    print(f"after all pages: {stage.shim.rss_mb:.0f} MB")


async def agent(client: Client, waits: list[float], until: float) -> None:
    """Makes a session, looks at it a few times, takes it away, and so on."""
    while time.perf_counter() < until:
        session_id = (await client.create()).session["id"]
        for _ in range(LOOKS):
            seconds, data = await timed(client, {"type": "session.get", "sessionId": session_id})
            assert data["sessionId"] == session_id
            waits.append(seconds)
            await asyncio.sleep(0.2)
        assert (await client.on("delete", session_id)).status == 200


@pytest.mark.timeout(300)
async def test_fifty_agents_at_once(idle_stage: Stage) -> None:
    stage, waits = idle_stage, list[float]()
    # Ten times as often as agents poll, all with one key.
    await stage.shim.start(CLAUDE_SHIM_RATE_LIMIT="0")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AGENTS)) as http:
        clients = [Client(stage.shim.url, http) for _ in range(AGENTS)]
        await asyncio.gather(*(agent(one, [], time.perf_counter() + 1) for one in clients))
        before = stage.shim.rss_mb
        until = time.perf_counter() + SECONDS
        await asyncio.gather(*(agent(one, waits, until) for one in clients))
    p99 = quantiles(waits, n=100)[98]
    print(f"{len(waits)} gets, p50 {median(waits) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
    print(f"memory {before:.0f} -> {stage.shim.rss_mb:.0f} MB")
    assert median(waits) < GET_SECONDS
    assert stage.shim.rss_mb < before + 10
