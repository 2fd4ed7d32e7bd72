"""A controller process behind two fault proxies, started again whenever it dies, as the kubelet does."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.nursery import Nursery
from tests.faults.call import gateway as gateway_call
from tests.faults.proxy import FaultProxy
from tests.integration.controller.process import ControllerProcess

BOOKKEEPING = ("leases", "events")
"""Resources whose writes are no step of a session, and depend on time."""


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Of its internal port."""

    url: str
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Replica:
    """One of one or two."""

    process: ControllerProcess
    api: FaultProxy
    gateway: FaultProxy
    deaths: int = 0
    _restarting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.process.start(ready=False)

    async def die(self) -> None:
        """Kill it, and have it started again: the container's restart policy."""
        self.deaths += 1
        await self.process.kill()
        self._restarting = asyncio.create_task(self.start())

    async def end(self) -> None:
        if self._restarting is not None:
            await self._restarting
        if self.process._process is not None:
            await self.process.kill()

    async def at_rest(self) -> bool:
        """It has listed everything, and has nothing to do, now or later."""
        metrics = await self.process.metrics()
        return (
            metrics.get("claude_controller_synced") == 1
            and metrics["claude_controller_queue_depth"] == 0
            and metrics["claude_controller_queue_delayed"] == 0
            and self.api.idle
            and self.gateway.idle
        )

    def steps(self) -> Counter[str]:
        """What it had carried out at the API server."""
        return self.api.carried_out(but=BOOKKEEPING)


@asynccontextmanager
async def replica(
    process: ControllerProcess,
    folder: Path,
    *,
    launch: Nursery,
    gateway: GatewayAddress,
    **environment: str,
) -> AsyncIterator[Replica]:
    """Put proxies before a controller that is not started yet."""
    kubeconfig = Path(process.environment["KUBECONFIG"])
    async with (
        FaultProxy.of_cluster(kubeconfig) as api,
        FaultProxy(gateway.url, tls=gateway.tls, read=gateway_call) as internal,
    ):
        process.launch = launch
        process.environment = {
            **process.environment,
            "KUBECONFIG": str(api.kubeconfig(folder / f"{process.name}.kubeconfig")),
            "CLAUDE_GATEWAY_INTERNAL_URL": internal.url,
            **environment,
        }
        one = Replica(process, api, internal)
        api.kill = internal.kill = one.die
        try:
            yield one
        finally:
            await one.end()


async def all_at_rest(replicas: Iterable[Replica], *, seconds: float = 30) -> None:
    """Until none of them has anything left to do, twice in a row: a worker may be between two calls."""
    deadline = asyncio.get_running_loop().time() + seconds
    calm = 0
    while calm < 2:
        rests = [await one.at_rest() for one in replicas]
        calm = calm + 1 if all(rests) else 0
        if asyncio.get_running_loop().time() > deadline:
            tails = "\n".join(one.process.tail() for one in replicas)
            states = [(await one.process.metrics(), one.api.idle, one.gateway.idle) for one in replicas]
            raise AssertionError(f"not at rest after {seconds:g} s: {states}\n{tails}")
        await asyncio.sleep(0.05)
