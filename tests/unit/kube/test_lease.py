"""Leader election against a store that keeps resourceVersions as the real one does."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import ClusterConfig
from claude_operator.kube.lease import Lease
from claude_operator.kube.retry import ONCE
from tests.unit.kube.test_mergepatch import merge

PATH = "/apis/coordination.k8s.io/v1/namespaces/ops/leases"


class LeaseStore:
    """One Lease."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.broken = False

    @property
    def holder(self) -> str:
        assert self.lease is not None
        holder: str = self.lease["spec"]["holderIdentity"]
        return holder

    async def handle(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.json_response({"reason": "InternalError", "message": "down"}, status=500)
        body = json.loads(await request.read()) if request.method != "GET" else {}
        if request.method == "POST":
            if self.lease is not None:
                return web.json_response({"reason": "AlreadyExists", "message": "is"}, status=409)
            self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
        if self.lease is None:
            return web.json_response({"reason": "NotFound", "message": "none"}, status=404)
        if request.method == "PATCH":
            version = int(self.lease["metadata"]["resourceVersion"])
            if body["metadata"]["resourceVersion"] != str(version):
                return web.json_response({"reason": "Conflict", "message": "changed"}, status=409)
            self.lease = merge(self.lease, body)
            self.lease["metadata"]["resourceVersion"] = str(version + 1)
        return web.json_response(self.lease)


@pytest.fixture
def store() -> LeaseStore:
    return LeaseStore()


@pytest.fixture
async def client(store: LeaseStore) -> AsyncIterator[KubeClient]:
    application = web.Application()
    for path in (PATH, PATH + "/{name}"):
        application.router.add_route("*", path, store.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = ClusterConfig(f"http://127.0.0.1:{runner.addresses[0][1]}", None)
    async with KubeClient(config, retry=ONCE) as client:
        yield client
    await runner.cleanup()


def lease(client: KubeClient, identity: str) -> Lease:
    return Lease(
        client,
        namespace="ops",
        name="leader",
        identity=identity,
        lease_seconds=1.0,
        renew_deadline_seconds=0.6,
        retry_seconds=0.05,
    )


async def test_one_of_many_acquires_and_the_next_takes_over_at_once_when_it_is_released(
    client: KubeClient, store: LeaseStore
) -> None:
    candidates = [lease(client, f"pod-{number}") for number in range(4)]
    tasks = [asyncio.create_task(each.acquire()) for each in candidates]
    async with asyncio.timeout(5):
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert sum(each.held for each in candidates) == 1
    first = next(each for each in candidates if each.held)
    holding = asyncio.create_task(first.hold())
    await asyncio.sleep(1.3)  # longer than the lease: it is being renewed
    assert sum(each.held for each in candidates) == 1
    assert store.lease is not None
    assert store.lease["spec"]["leaseTransitions"] == 0
    holding.cancel()
    await first.release()
    async with asyncio.timeout(5):
        # Of the others; the first one's task has ended.
        await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
    assert sum(each.held for each in candidates) == 1
    assert not first.held
    assert store.lease["spec"]["leaseTransitions"] == 1
    for task in [*tasks, holding]:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_dead_holder_is_waited_out(client: KubeClient, store: LeaseStore) -> None:
    dead, heir = lease(client, "dead"), lease(client, "heir")
    await dead.acquire()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(5):
        await heir.acquire()
    assert loop.time() - begun >= 1.0
    assert store.holder == "heir"


async def test_a_holder_that_was_paused_does_not_trust_its_own_memory(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = lease(client, "holder")
    await holder.acquire()
    assert holder.current
    # SIGSTOP, or a frozen VM: nothing ran, but the clock.
    later = time.monotonic() + 0.7
    with monkeypatch.context() as paused:
        paused.setattr(time, "monotonic", lambda: later)
        assert holder.held
        assert not holder.current


async def test_the_holder_stops_before_others_may_start_when_it_cannot_renew(
    client: KubeClient, store: LeaseStore
) -> None:
    holder = lease(client, "holder")
    await holder.acquire()
    loop = asyncio.get_running_loop()
    store.broken = True
    begun = loop.time()
    async with asyncio.timeout(5):
        await holder.hold()
    assert not holder.held
    assert 0.5 <= loop.time() - begun < 1.0


async def test_a_holder_that_was_replaced_stops(client: KubeClient, store: LeaseStore) -> None:
    holder = lease(client, "holder")
    await holder.acquire()
    assert store.lease is not None
    store.lease["spec"].update(holderIdentity="other", leaseDurationSeconds=60)
    store.lease["metadata"]["resourceVersion"] = "99"
    async with asyncio.timeout(5):
        await holder.hold()
    assert (holder.held, holder.holder) == (False, "other")
    await holder.release()
    assert store.holder == "other", "what is not ours is not released"
