"""Two controllers lead at once: one of them is blind to something, the other one dies at every write."""

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from claude_operator.engine.job import job_name
from claude_operator.kube.lease import RENEW_DEADLINE_SECONDS
from tests.crash import scenarios
from tests.crash.cases import Case, Place, Scene, Theatre, disturbed, scene
from tests.crash.ending import Ending, contradictions
from tests.crash.replica import all_at_rest
from tests.crash.scenarios import Play
from tests.faults.fault import Delay, Fault, Kill
from tests.faults.proxy import Passed

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

BLIND_TO: tuple[tuple[str, ...], ...] = (
    (),
    ("jobs",),
    ("pods",),
    ("jobs", "pods"),
    ("claudesessions",),
    ("claudesessions", "jobs", "pods"),
)


def doubled(
    theatre: Theatre,
    play: Play,
    blind_to: tuple[str, ...],
    expected: Ending,
    *,
    killed: tuple[Place, Kill] | None = None,
) -> Case:
    async def case(folder: Path) -> list[str]:
        async with scene(theatre, folder, leaders=2) as both:
            seeing, blind = both.replicas
            await blind.api.views.hold(*blind_to)
            if killed is not None:
                killed[0].arm(seeing, killed[1])
            found = await both.play(play)
            # Who asks the gateway first is a race, and to ask twice does no harm.
            wrong = expected.differences(found, but=("closed", "ways", "steps", "jobs"))
            return wrong + ended_twice(found) + unfenced(both)

    where = f", killed {killed[1].value} {killed[0]}" if killed else ""
    return f"blind to {' '.join(blind_to) or 'nothing'}{where}", case


def ended_twice(found: Ending) -> list[str]:
    finals = ("Succeeded", "Failed", "Cancelled", "Skipped")
    ends = {name: [step for step in way if step.startswith(finals)] for name, way in found.ways.items()}
    return [f"{name} ended more than once: {each}" for name, each in ends.items() if len(each) > 1]


def unfenced(both: Scene) -> list[str]:
    """Jobs that were made a second time while a pod of theirs could still have claimed.

    A leader that has seen nothing for a while can make the Job of an attempt that was ended and deleted long
    ago: no write to a Job can be made to depend on a session. The gateway's word is the last one, so it must
    have been spoken before: the attempt closed, or the session's end on record. (A session that is deleted
    needs no word: the gateway looks it up when a pod claims.)
    """
    asked = in_order(each for one in both.replicas for each in one.gateway.writes(but=["cancel"]))
    spoken = {each.call.name: each.answered_at for each in reversed(asked)}
    uids = {
        job_name(name, version["metadata"]["uid"], number): (version["metadata"]["uid"], number)
        for name, versions in both.stage.sessions.versions.items()
        for version in versions
        for number in (1, 2, 3)
        if name not in both.stage.sessions.deleted
    }
    made = in_order(
        each for one in both.replicas for each in one.api.writes() if each.call.what == "POST jobs"
    )
    seen: set[str] = set()
    wrong = []
    for each in made:
        if each.call.name not in uids:
            continue
        uid, number = uids[each.call.name]
        fenced = min(spoken.get(uid, math.inf), spoken.get(f"{uid}/{number}", math.inf))
        if each.call.name in seen and each.answered_at < fenced:
            wrong.append(f"{each.call.name} was made again before its attempt was fenced")
        seen.add(each.call.name)
    return wrong


def in_order(calls: Iterable[Passed]) -> list[Passed]:
    """Those that were carried out, by whomever."""
    return sorted((each for each in calls if each.done), key=lambda each: each.answered_at)


async def test_one_of_them_is_blind(theatre: Theatre, tmp_path: Path) -> None:
    def vary(play: Play, expected: Ending, _: list[Place]) -> list[Case]:
        return [doubled(theatre, play, blind_to, expected) for blind_to in BLIND_TO]

    wrong = await disturbed(theatre, tmp_path, scenarios.ALL, vary)
    assert not wrong, "\n".join(wrong)


async def test_the_other_dies_at_every_write(theatre: Theatre, tmp_path: Path) -> None:
    def vary(play: Play, expected: Ending, everywhere: list[Place]) -> list[Case]:
        return [
            doubled(theatre, play, ("claudesessions", "jobs", "pods"), expected, killed=(place, when))
            for place in everywhere
            for when in Kill
        ]

    plays = (scenarios.succeeds, scenarios.cancelled_while_starting)
    wrong = await disturbed(theatre, tmp_path, plays, vary)
    assert not wrong, "\n".join(wrong)


async def test_an_heir_that_has_not_seen_the_job_looks_for_it(theatre: Theatre, tmp_path: Path) -> None:
    """Else a session whose pod ran would be "cancelled before it started", and what it spent be lost."""
    async with scene(theatre, tmp_path / "scene", leaders=2) as both:
        stage, (first, heir) = both.stage, both.replicas
        await asyncio.gather(first.start(), heir.start())
        await all_at_rest(both.replicas)
        await heir.api.views.hold("claudesessions", "jobs", "pods")
        uid = await stage.apply("one")
        await stage.kubelet.pod(uid)
        await first.process.kill()
        await stage.change("one", cancel=True)
        # By a new list: what it sees first of the session is its cancellation.
        await heir.api.views.expire("claudesessions")
        await stage.sessions.phase("one", "Cancelled")
        await first.start()
        ending = await both.close()
        assert contradictions(ending) == []
        assert [each["reason"] for each in ending.statuses["one"]["attempts"]] == ["Cancelled"]


async def test_a_leader_that_was_paused_writes_nothing_when_it_wakes(
    theatre: Theatre, tmp_path: Path
) -> None:
    """What it has seen may be long overtaken, and its first look at the Lease takes a while."""
    async with scene(theatre, tmp_path / "scene") as one:
        stage, (paused,) = one.stage, one.replicas
        await paused.start()
        await stage.apply("one", suspend=True)
        await stage.sessions.phase("one", "Pending", reason="Suspended")
        paused.process.freeze()
        try:
            await stage.take_lease("somebody-else")
            before = len(paused.api.writes())
            await stage.change("one", suspend=False)
            # Longer than a leader may go on without a renewal. Its own clock is what the test is about.
            await asyncio.sleep(RENEW_DEADLINE_SECONDS + 0.5)
            never = asyncio.Event()
            paused.api.arm(Fault(Delay(never.wait), what="GET leases"))
        finally:
            paused.process.thaw()
        await paused.process.ended()
        never.set()
        assert [each.call.what for each in paused.api.writes()[before:]] == []
        assert stage.job_names() == []
