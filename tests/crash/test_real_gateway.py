"""The same with the real gateway and its database; and the gateway itself is killed at each of its calls."""

import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import from_kubeconfig
from claude_operator.kube.kinds import NAMESPACES, PROJECTS, SECRETS, SERVICE_ACCOUNTS
from claude_operator.wire.session import CLAIM_PATH, MESSAGES_PATH, RESULT_PATH
from tests.crash.cases import Place, Theatre, places
from tests.crash.ending import Ending, ending, nothing_runs
from tests.crash.replica import GatewayAddress, Replica, all_at_rest, replica
from tests.faults.fault import Kill
from tests.integration.controller.history import ready
from tests.integration.controller.stage import Stage, staged
from tests.integration.gateway.receiver import Receiver, receiving
from tests.integration.gateway.test_control_plane import KEY, Process, process, token, until
from tests.world.model_server import ModelServer

pytestmark = [pytest.mark.crash]

SPACE = "claude-operator"
MESSAGE = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
DONE = {"reason": "Completed", "message": "", "exitCode": 0, "summary": "Said hello."}


@dataclass(frozen=True, slots=True)
class World:
    """What all cases share: one gateway and one model."""

    theatre: Theatre
    gateway: Process
    http: aiohttp.ClientSession
    tls: ssl.SSLContext
    model_url: str
    token: str
    receiver: Receiver
    """Is called back at the end of each session."""


@pytest.fixture
async def world(theatre: Theatre, tmp_path: Path) -> AsyncIterator[World]:
    plane = theatre.plane
    async with KubeClient(from_kubeconfig(plane.kubeconfig)) as client:
        await client.create(NAMESPACES, {"metadata": {"name": SPACE}})
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "claude-controller"}}, namespace=SPACE)
    (tmp_path / "gateway").mkdir()
    async with (
        receiving() as receiver,
        ModelServer(keys=[KEY]) as model,
        process(plane, tmp_path / "gateway") as (gateway, http),
    ):
        connector = http.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        tls = connector._ssl
        assert isinstance(tls, ssl.SSLContext)
        bearer = await token(plane, "claude-controller", SPACE, "claude-gateway-internal")
        yield World(theatre, gateway, http, tls, model.url, bearer, receiver)


@asynccontextmanager
async def scene(world: World, folder: Path) -> AsyncIterator[tuple[Stage, Replica]]:
    folder.mkdir()  # noqa: ASYNC240 - instantaneous
    async with staged(world.theatre.plane, folder) as stage:
        (folder / "token").write_text(world.token)
        secret = {
            "type": "claude-operator.dev/credential",
            "metadata": {"name": "anthropic"},
            "stringData": {"hosts": world.model_url, "apiKey": KEY},
        }
        await stage.client.create(SECRETS, secret, namespace=stage.namespace)
        hook = {
            "type": "claude-operator.dev/credential",
            "metadata": {"name": "hook"},
            "stringData": {"hosts": world.receiver.origin, "signingKey": KEY},
        }
        await stage.client.create(SECRETS, hook, namespace=stage.namespace)
        await stage.add_project(ready=False, model={"upstreamURL": world.model_url})
        await stage.until(PROJECTS, "default", is_ready)
        address = GatewayAddress(f"https://localhost:{world.gateway.ports['internal']}", world.tls)
        async with replica(stage.controller, folder, launch=world.theatre.launch, gateway=address) as one:
            yield stage, one


def is_ready(project: dict[str, Any]) -> bool:
    return bool(project.get("status", {}).get("conditions")) and ready(project)["status"] == "True"


async def play(world: World, stage: Stage, one: Replica) -> tuple[Ending, Any]:
    """A session whose pod claims, asks the model, reports and ends; its ending, and the gateway's record."""
    await one.process.start(ready=False)
    notify = {"url": f"{world.receiver.origin}/{stage.namespace}", "secretRef": {"name": "hook"}}
    uid = await stage.apply("one", notify=notify)
    pod = await stage.kubelet.pod(uid)
    bound = await token(
        world.theatre.plane, "claude-session", stage.namespace, "claude-gateway", pod["metadata"]["name"]
    )
    await ask(world, "session", "POST", CLAIM_PATH, bound)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("one", "Running")
    await ask(world, "session", "POST", MESSAGES_PATH, bound, body=MESSAGE)
    await ask(world, "session", "POST", RESULT_PATH, bound, body=DONE)
    await stage.kubelet.ends(pod)
    await stage.sessions.phase("one", "Succeeded", seconds=40)
    await nothing_runs(stage)
    await all_at_rest([one])
    record = await ask(world, "internal", "GET", f"/internal/v1/sessions/{uid}", world.token)
    outcome = await ask(world, "internal", "GET", f"/internal/v1/outcomes/{stage.namespace}/one", world.token)
    assert outcome["uid"] == uid
    facts = {"usage": record["usage"], "phase": outcome["phase"], "summary": outcome["summary"]}
    facts["closed"] = ["closedAt" in each for each in record["attempts"]]
    facts["callbacks"] = await callbacks(world, stage.namespace, uid)
    facts["events"] = await journal(world, uid)
    return await ending(stage, [one]), facts


async def ask(world: World, port: str, method: str, path: str, bearer: str, *, body: Any = None) -> Any:
    url = f"https://localhost:{world.gateway.ports[port]}{path}"
    async with world.http.request(
        method, url, headers={"Authorization": f"Bearer {bearer}"}, json=body
    ) as answer:
        assert answer.status < 300, (path, answer.status, await answer.text())
        return await answer.json() if answer.content_type == "application/json" else await answer.text()


async def callbacks(world: World, namespace: str, uid: str) -> list[tuple[str, str]]:
    """What the receiver was told of the session, repetitions of one delivery taken together."""

    async def delivered() -> bool:
        path = f"/internal/v1/sessions/{uid}/deliveries"
        (found,) = await ask(world, "internal", "GET", path, world.token)
        return bool(found["state"] == "delivered")

    await until(delivered)
    told = {one.delivery: one for one in world.receiver.calls if one.path == f"/{namespace}"}
    return [(one.json["session"]["phase"], one.json["session"]["summary"]) for one in told.values()]


async def journal(world: World, uid: str) -> list[str]:
    """The types of the gateway's own events: nothing missing, nothing doubled."""
    lines = await ask(
        world, "internal", "GET", f"/internal/v1/sessions/{uid}/events?after=0&follow=0", world.token
    )
    return [json.loads(line)["type"] for line in str(lines).splitlines() if line.strip()]


async def gateway_dies(world: World) -> None:
    """Kill -9, and it starts again on its file."""
    await world.gateway.stop(signal.SIGKILL)
    await world.gateway.start()
    async with await world.gateway.client():
        pass


async def test_controller_and_gateway_are_killed_at_every_write(world: World, tmp_path: Path) -> None:
    async with scene(world, tmp_path / "undisturbed") as (stage, calm):
        expected, facts = await play(world, stage, calm)
        everywhere = places(calm)
    assert expected.statuses["one"]["usage"]["turns"] == 1
    assert facts["closed"] == [True]
    assert facts["events"].count("gateway.outcome") == 1
    assert facts["callbacks"] == [("Succeeded", "Said hello.")]
    wrong = []
    cases: list[tuple[Place, Kill, bool]] = [
        (place, when, victim)
        for place in everywhere
        for when in Kill
        for victim in ((False, True) if place.gateway else (False,))
        if place.what != "POST leases"
    ]
    for number, (place, when, gateway) in enumerate(cases):
        async with scene(world, tmp_path / str(number)) as (stage, one):
            if gateway:
                one.gateway.kill = partial(gateway_dies, world)
            fault = place.arm(one, when)
            found, told = await play(world, stage, one)
            problems = expected.differences(found)
            if told != facts:
                problems.append(f"at the gateway: expected {facts}, found {told}")
            if len(fault.struck) != 1:
                problems.append("this place was never reached")
        victim = "gateway" if gateway else "controller"
        wrong += [f"{victim} killed {when.value} {place}: {each}" for each in problems]
    assert len(cases) == 14
    assert not wrong, "\n".join(wrong)
