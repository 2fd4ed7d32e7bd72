"""Two replicas behind one address, killed at any moment: nothing that was promised is lost or done twice."""

import asyncio
import random
from collections import Counter
from uuid import uuid4

import aiohttp
import pytest

from claude_operator.record.gateway import Gateway
from claude_operator.shim.core.directory import Directory
from claude_operator.shim.core.errors import RefusedError
from claude_operator.shim.core.scope import Scope
from claude_operator.shim.core.sessions import Sessions
from tests.integration.shim.process import Client, ShimProcess
from tests.integration.shim.stage import Stage

pytestmark = pytest.mark.controlplane

AGENTS = 6
SESSIONS = 8
SECONDS = 60.0


async def test_two_replicas_answer_alike(stage: Stage) -> None:
    replica = stage.replica()
    await replica.start()
    try:
        other = stage.client(replica)
        session_id = str(uuid4())
        # Both at once: one creates, the other finds.
        first, second = await asyncio.gather(stage.api.create(id=session_id), other.create(id=session_id))
        assert (first.status, second.status) == (200, 200)
        assert len(await stage.objects()) == 1
        # Read, started and depended on at once, though the other's watch may not have brought it yet.
        for _ in range(10):
            made = (await stage.api.create()).session["id"]
            assert (await other.on("get", made)).status == 200
            assert (await other.create(dependencies=[made])).status == 200
            assert (await other.on("start", made)).status == 200
            # One of two simultaneous deletions finds it, or both do; none fails.
            answers = await asyncio.gather(stage.api.on("delete", made), other.on("delete", made))
            assert {answer.status for answer in answers} <= {200, 404}
            assert 200 in {answer.status for answer in answers}
    finally:
        await replica.clean_up()


async def test_a_session_is_found_before_the_watch_has_brought_it(stage: Stage) -> None:
    """As a replica sees one that another has made within the last milliseconds: its directory is empty."""
    async with Gateway(stage.record.url, tls=None, token_file=None, on_unreachable=lambda: None) as gateway:
        behind = Sessions(Directory(), stage.kube, gateway)
        scope = Scope("a-client", (stage.namespace,))
        made = (await stage.api.create()).session["id"]
        assert (await behind.find(scope, made)).latest.name == made
        started, _ = await Sessions(Directory(), stage.kube, gateway).start(scope, made)
        assert not started.latest.suspend
        with pytest.raises(RefusedError, match="Session not found"):
            await behind.find(scope, str(uuid4()))


async def test_a_start_is_done_once(stage: Stage) -> None:
    replica = stage.replica()
    await replica.start()
    try:
        other = stage.client(replica)
        for _ in range(10):
            made = (await stage.api.create()).session["id"]
            answers = await asyncio.gather(stage.api.on("start", made), other.on("start", made))
            assert sorted(answer.status for answer in answers) == [200, 409]
    finally:
        await replica.clean_up()


async def agent(clients: list[Client], number: int, promised: dict[str, str]) -> None:
    """Creates sessions, repeating each request, at whichever replica answers, until it is told success."""
    chance = random.Random(number)
    deadline = asyncio.get_running_loop().time() + SECONDS
    for index in range(SESSIONS):
        session_id = str(uuid4())
        requirements = f"Task {index} of agent {number}."
        while True:
            assert asyncio.get_running_loop().time() < deadline, "no replica has answered for a minute"
            try:
                answer = await chance.choice(clients).create(
                    id=session_id, project={"requirements": requirements}, options={"autoStart": True}
                )
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
                continue
            assert answer.status in {200, 503}, answer.body
            if answer.status == 200:
                promised[session_id] = requirements
                # As long as a restart takes altogether: so that many of them meet one.
                await asyncio.sleep(chance.uniform(0, 0.5))
                break


async def keep_killing(replicas: list[ShimProcess], done: asyncio.Event) -> int:
    """One after the other, at a random moment, always one of them up."""
    chance, kills = random.Random(7), 0
    while not done.is_set():
        victim = replicas[kills % len(replicas)]
        await asyncio.sleep(chance.uniform(0, 0.15))
        await victim.kill()
        kills += 1
        await victim.start()
    return kills


async def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_done_twice(stage: Stage) -> None:
    replicas = [stage.shim, stage.replica()]
    await replicas[1].start()
    clients = [stage.client(replica) for replica in replicas]
    promised: dict[str, str] = {}
    done = asyncio.Event()
    killer = asyncio.create_task(keep_killing(replicas, done))
    try:
        await asyncio.gather(*(agent(clients, number, promised) for number in range(AGENTS)))
    finally:
        done.set()
        kills = await killer
        await replicas[1].clean_up()
    assert kills >= 1
    made = await stage.objects()
    tasks = Counter(one["spec"]["requirements"] for one in made)
    assert {one["metadata"]["name"]: one["spec"]["requirements"] for one in made} == promised
    assert set(tasks.values()) == {1}
    for session_id in promised:
        assert (await stage.api.on("get", session_id)).status == 200
