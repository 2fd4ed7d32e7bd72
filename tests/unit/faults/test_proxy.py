"""The proxy against a server that remembers what reached it; its client is the operator's own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import ClusterConfig, from_kubeconfig
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import JOBS, PODS
from claude_operator.kube.listwatch import ListWatch, WatchEvent
from claude_operator.kube.request import Selection
from claude_operator.kube.retry import ONCE
from tests.cluster.certs import Authority
from tests.faults.fault import Answer, Delay, Drop, Fault, Kill, nth
from tests.faults.proxy import FaultProxy
from tests.unit.kube.apiserver import FakeApiServer, serving

JOB = {"metadata": {"name": "one"}}


@dataclass
class Server:
    """Answers every write with what it got."""

    got: list[str] = field(default_factory=list)
    port: int = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.got.append(f"{request.method} {request.path}")
        return web.json_response({"metadata": {"name": "one", "resourceVersion": "7"}}, status=201)


@asynccontextmanager
async def behind_a_proxy(*, retry: bool = False) -> AsyncIterator[tuple[Server, FaultProxy, KubeClient]]:
    server = Server()
    async with AsyncExitStack() as stack:
        runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy = await stack.enter_async_context(FaultProxy(f"http://127.0.0.1:{runner.addresses[0][1]}"))
        config = ClusterConfig(proxy.url, None)
        client = await stack.enter_async_context(KubeClient(config, retry=None if retry else ONCE))
        yield server, proxy, client


async def test_what_passes_is_numbered_and_recorded() -> None:
    async with behind_a_proxy() as (server, proxy, client):
        await client.create(JOBS, JOB, namespace="a")
        await client.get(JOBS, "one", namespace="a")
        await client.patch(JOBS, "one", {}, namespace="a", subresource="status")
        assert server.got == [
            "POST /apis/batch/v1/namespaces/a/jobs",
            "GET /apis/batch/v1/namespaces/a/jobs/one",
            "PATCH /apis/batch/v1/namespaces/a/jobs/one/status",
        ]
        assert [(each.number, each.call.what, each.status) for each in proxy.passed] == [
            (1, "POST jobs", 201),
            (0, "GET jobs", 201),
            (2, "PATCH jobs/status", 201),
        ]
        assert proxy.carried_out(but=["jobs"]) == {"PATCH jobs/status": 1}
        assert proxy.idle


@pytest.mark.parametrize(("when", "reached"), [(Kill.BEFORE, 0), (Kill.AFTER, 1)])
async def test_the_client_is_killed_before_or_after_the_server_acts(when: Kill, reached: int) -> None:
    killed: list[int] = []
    async with behind_a_proxy() as (server, proxy, client):

        async def kill() -> None:
            killed.append(len(server.got))

        proxy.kill = kill
        proxy.arm(Fault(when, what="POST jobs", times=nth(1)))
        with pytest.raises(ApiError) as lost:
            await client.create(JOBS, JOB, namespace="a")
        assert lost.value.unreachable, "the answer was never delivered"
        assert killed == [reached] == [len(server.got)]
        await client.create(JOBS, JOB, namespace="a")
        assert len(server.got) == reached + 1


@pytest.mark.parametrize(("when", "reached"), [(Drop.BEFORE, 1), (Drop.AFTER, 2)])
async def test_a_dropped_connection_is_tried_again(when: Drop, reached: int) -> None:
    async with behind_a_proxy(retry=True) as (server, proxy, client):
        proxy.arm(Fault(when, times=nth(1)))
        await client.create(JOBS, JOB, namespace="a")
        assert len(server.got) == reached


async def test_an_answer_in_the_servers_place() -> None:
    async with behind_a_proxy() as (server, proxy, client):
        proxy.arm(Fault(Answer(429, "TooManyRequests", retry_after=3), what="POST jobs"))
        with pytest.raises(ApiError) as refused:
            await client.create(JOBS, JOB, namespace="a")
        assert (refused.value.status, refused.value.reason) == (429, "TooManyRequests")
        assert refused.value.retry_after == 3
        assert server.got == []
        proxy.disarm()
        await client.create(JOBS, JOB, namespace="a")


async def test_a_delayed_call_waits_for_its_event() -> None:
    async with behind_a_proxy() as (server, proxy, client):
        event = asyncio.Event()
        proxy.arm(Fault(Delay(event.wait), what="POST jobs"))
        creating = asyncio.create_task(client.create(JOBS, JOB, namespace="a"))
        await client.patch(JOBS, "one", {}, namespace="a")
        assert len(server.got) == 1
        assert not proxy.idle
        event.set()
        await creating
        assert len(server.got) == 2


async def test_a_server_that_is_away_looks_so_through_the_proxy() -> None:
    async with (
        FaultProxy("http://127.0.0.1:1") as proxy,
        KubeClient(ClusterConfig(proxy.url, None), retry=ONCE) as client,
    ):
        with pytest.raises(ApiError) as away:
            await client.get(JOBS, "one", namespace="a")
        assert away.value.unreachable


async def test_tls_in_front(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    pair = authority.server("proxy", hosts=["127.0.0.1"])
    front = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    front.load_cert_chain(pair.cert, pair.key)
    trusting = ssl.create_default_context(cafile=str(authority.cert))
    async with behind_a_proxy() as (server, plain, _), FaultProxy(plain.url, front=front) as proxy:
        async with KubeClient(ClusterConfig(proxy.url, trusting), retry=ONCE) as client:
            await client.create(JOBS, JOB, namespace="a")
        assert len(server.got) == 1


async def test_the_kubeconfig_leads_to_the_proxy(tmp_path: Path) -> None:
    async with behind_a_proxy() as (server, proxy, _):
        config = from_kubeconfig(proxy.kubeconfig(tmp_path / "kubeconfig"))
        async with KubeClient(config, retry=ONCE) as client:
            await client.create(JOBS, JOB, namespace="a")
        assert len(server.got) == 1


class Seen:
    """What a watching client has seen, and a way to wait for more."""

    def __init__(self, client: KubeClient) -> None:
        self.events: list[str] = []
        self._more = asyncio.Condition()
        self._watch = ListWatch(client, Selection(PODS), longest_pause=0.01)

    async def run(self) -> None:
        async with aclosing(self._watch.events()) as events:
            async for event in events:
                async with self._more:
                    self.events.append(_told(event))
                    self._more.notify_all()

    async def until(self, *events: str) -> None:
        async with asyncio.timeout(5), self._more:
            await self._more.wait_for(lambda: self.events == list(events))


def _told(event: WatchEvent) -> str:
    return f"{event.change} {event.object['metadata']['name']}"


@asynccontextmanager
async def watching(server: FakeApiServer) -> AsyncIterator[tuple[FaultProxy, Seen]]:
    async with (
        serving(server) as direct,
        FaultProxy(direct.transport.config.server) as proxy,
        KubeClient(ClusterConfig(proxy.url, None), retry=ONCE) as client,
    ):
        seen = Seen(client)
        running = asyncio.create_task(seen.run())
        try:
            yield proxy, seen
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_held_view_grows_stale_and_catches_up_in_order() -> None:
    server = FakeApiServer()
    server.put("a")
    async with watching(server) as (proxy, seen):
        await seen.until("ADDED a")
        server.put("b")
        await seen.until("ADDED a", "ADDED b")
        assert proxy.views.watched == {"pods"}
        await proxy.views.hold("pods")
        server.put("c")
        server.delete("a")
        async with KubeClient(ClusterConfig(proxy.url, None), retry=ONCE) as other:
            assert len(await other.list(Selection(PODS))) == 2, "reads pass, and say how it is"
        assert seen.events == ["ADDED a", "ADDED b"]
        await proxy.views.release()
        await seen.until("ADDED a", "ADDED b", "ADDED c", "DELETED a")


async def test_410_hides_what_was_deleted_in_the_gap() -> None:
    server = FakeApiServer()
    server.put("a")
    async with watching(server) as (proxy, seen):
        await seen.until("ADDED a")
        server.put("b")
        await seen.until("ADDED a", "ADDED b")
        await proxy.views.hold("pods")
        server.delete("a")
        lists = server.lists
        await proxy.views.expire("pods")
        # Not from the watch, which never said so: from a new list.
        await seen.until("ADDED a", "ADDED b", "DELETED a")
        assert server.lists == lists + 1
