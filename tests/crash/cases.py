"""Playing a scenario, once or many times with a fault in another place each time."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from claude_operator.kube.kinds import NAMESPACES
from tests.cluster.controlplane import ControlPlane
from tests.crash.ending import Ending, contradictions, ending, nothing_runs
from tests.crash.nursery import Nursery
from tests.crash.replica import GatewayAddress, Replica, all_at_rest, replica
from tests.crash.scenarios import Play
from tests.faults.fault import Fault, Kill, nth
from tests.integration.controller.stage import Stage, staged

LANES = 12
"""Cases at once. They wait for the control plane and for starting processes; more would only wait longer."""


@dataclass(frozen=True, slots=True)
class Theatre:
    """What all cases share."""

    plane: ControlPlane
    launch: Nursery


@dataclass(frozen=True, slots=True)
class Scene:
    """A stage, and one or two controllers that both lead."""

    stage: Stage
    replicas: tuple[Replica, ...]

    async def play(self, play: Play) -> Ending:
        """Start the controllers, play, and wait until nothing moves any more."""
        await asyncio.gather(*(one.start() for one in self.replicas))
        if len(self.replicas) > 1:
            # Of two, the one that starts later would have seen more than the other by its first list.
            await all_at_rest(self.replicas)
        await play(self.stage)
        return await self.close()

    async def close(self) -> Ending:
        """What is left."""
        for one in self.replicas:
            await one.api.views.release()
        await nothing_runs(self.stage)
        await all_at_rest(self.replicas)
        return await ending(self.stage, self.replicas)


@asynccontextmanager
async def scene(theatre: Theatre, folder: Path, *, leaders: int = 1) -> AsyncIterator[Scene]:
    """A namespace with a project; controllers not started yet."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 - instantaneous
    async with staged(theatre.plane, folder) as stage, AsyncExitStack() as stack:
        await stage.add_project()
        replicas = []
        # All of them before the first one's way leads through its proxies.
        processes = [stage.controller, *(stage.replica(f"{stage.namespace}-{n}") for n in range(1, leaders))]
        for number, process in enumerate(processes):
            home = stage.namespace
            if number > 0:
                # A Lease of its own, in a namespace of its own: both lead.
                home = f"{stage.namespace}-{number}"
                await stage.client.create(NAMESPACES, {"metadata": {"name": home}})
            one = replica(
                process,
                folder,
                launch=theatre.launch,
                gateway=GatewayAddress(stage.gateway.url),
                POD_NAMESPACE=home,
            )
            replicas.append(await stack.enter_async_context(one))
        yield Scene(stage, tuple(replicas))


@dataclass(frozen=True, slots=True)
class Place:
    """One write in the life of a session."""

    gateway: bool
    what: str
    number: int
    """Among its like, from 1."""

    @property
    def closes(self) -> bool:
        """Whether it is the gateway that is told of an attempt's end."""
        return self.gateway and self.what == "POST close"

    def arm(self, one: Replica, when: Kill) -> Fault:
        fault = Fault(when, what=self.what, times=nth(self.number))
        (one.gateway if self.gateway else one.api).arm(fault)
        return fault

    @override
    def __str__(self) -> str:
        return f"{'gateway ' if self.gateway else ''}{self.what} {self.number}"


def places(one: Replica) -> list[Place]:
    """Every write of a run, in no particular order; of the Lease the first alone, renewals are its like."""
    found: list[Place] = []
    for gateway, proxy in ((False, one.api), (True, one.gateway)):
        seen: dict[str, int] = {}
        for passed in proxy.writes():
            what = passed.call.what
            seen[what] = seen.get(what, 0) + 1
            if passed.call.resource != "leases" or not any(p.what.endswith("leases") for p in found):
                found.append(Place(gateway, what, seen[what]))
    return found


Case = tuple[str, Callable[[Path], Awaitable[list[str]]]]
"""Its name, and a function that runs it in a folder and returns what was wrong."""


Variations = Callable[[Play, Ending, list[Place]], Iterable[Case]]
"""The cases of a scenario, from its ending without faults and from the writes that it took."""


async def undisturbed(theatre: Theatre, folder: Path, play: Play) -> tuple[Ending, list[Place]]:
    """A run without faults, whose story must hold together."""
    async with scene(theatre, folder) as calm:
        expected = await calm.play(play)
        wrong = contradictions(expected)
        assert not wrong, f"{play.__name__} without faults: {wrong}"
        return expected, places(calm.replicas[0])


async def disturbed(theatre: Theatre, folder: Path, plays: Sequence[Play], vary: Variations) -> list[str]:
    """Every variation of every scenario, in one pool: most of it is waiting. What was wrong, by case."""
    calm = await asyncio.gather(*(undisturbed(theatre, folder / play.__name__, play) for play in plays))
    cases = [
        (f"{play.__name__}, {name}", case)
        for play, (expected, everywhere) in zip(plays, calm, strict=True)
        for name, case in vary(play, expected, everywhere)
    ]
    wrong = await run_all(cases, folder)
    return [f"{len(cases)} cases, {len(wrong)} complaints", *wrong] if wrong else []


async def run_all(cases: Iterable[Case], folder: Path) -> list[str]:
    """A few at a time; what was wrong, by case."""
    lanes = asyncio.Semaphore(LANES)

    async def run(name: str, case: Callable[[Path], Awaitable[list[str]]]) -> list[str]:
        async with lanes:
            try:
                wrong = await case(folder / re.sub(r"\W+", "-", name))
            except (AssertionError, TimeoutError) as error:
                wrong = [str(error)]
        return [f"{name}: {each}" for each in wrong]

    return [each for wrong in await asyncio.gather(*(run(*case) for case in cases)) for each in wrong]
