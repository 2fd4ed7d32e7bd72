"""A token whose attempt is over is worth nothing, also for a pod that asks without pause while it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.gateway.test_model import request
from tests.world.script import Delay, Step

if TYPE_CHECKING:
    from claude_operator.gateway.cluster import Session
    from tests.integration.gateway.cluster import Pod
    from tests.integration.gateway.conftest import World

INBOX = "/v1/session/inbox?after=0&wait=0"
SLOW = request(Step(text=("word " * 60,), delay=Delay(between=0.01)))


async def close(world: World, session: Session) -> None:
    await world.close_attempt(session)


async def conclude(world: World, session: Session) -> None:
    await world.conclude(session)


async def hammer(world: World, pod: Pod, stop: asyncio.Event) -> list[int]:
    """Ask again and again, until told to stop; the statuses."""
    statuses = []
    while not stop.is_set():
        statuses.append((await world.ask(pod, "GET", INBOX))[0])
    return statuses


@pytest.mark.parametrize("end", [close, conclude])
async def test_a_pod_that_keeps_asking_while_its_attempt_ends_is_out_afterwards(
    world: World, end: Any
) -> None:
    session, pod, _ = await world.claimed()
    # The end waits for this answer; the pod has all that time to get back in.
    headers = {"Authorization": f"Bearer {pod.token()}"}
    answer = await world.http.post(f"{world.url}/v1/messages", json=SLOW, headers=headers)
    await answer.content.readany()
    answer.close()
    stop = asyncio.Event()
    asking = [asyncio.create_task(hammer(world, pod, stop)) for _ in range(4)]

    await end(world, session)
    stop.set()
    statuses = [status for one in await asyncio.gather(*asking) for status in one]

    assert 200 in statuses, "undefended: before the end the same request is answered"
    for method, path in (("GET", INBOX), ("POST", "/v1/messages"), ("POST", "/v1/session/result")):
        status, body = await world.ask(pod, method, path, json=request() if method == "POST" else None)
        assert status == 403, (path, body)
        assert "closed" in str(body) or "finished" in str(body), body
