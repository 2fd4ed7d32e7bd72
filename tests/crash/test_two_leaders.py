"""Two controllers lead at once: one of them is blind to something, the other one dies at every write."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from claude_operator.engine.job import job_name
from tests.crash import scenarios
from tests.crash.cases import Case, Place, Scene, Theatre, places, run_all, scene
from tests.crash.ending import Ending
from tests.crash.scenarios import Play
from tests.faults.fault import Kill
from tests.faults.proxy import Passed

pytestmark = [pytest.mark.crash]

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
    have been spoken before: the attempt closed, or the session's end on record.
    """
    asked = in_order(each for one in both.replicas for each in one.gateway.writes(but=["cancel"]))
    spoken = {each.call.name: each.answered_at for each in reversed(asked)}
    uids = {
        job_name(name, version["metadata"]["uid"], number): (version["metadata"]["uid"], number)
        for name, versions in both.stage.sessions.versions.items()
        for version in versions
        for number in (1, 2, 3)
    }
    made = in_order(
        each for one in both.replicas for each in one.api.writes() if each.call.what == "POST jobs"
    )
    seen: set[str] = set()
    wrong = []
    for each in made:
        uid, number = uids[each.call.name]
        fenced = min(spoken.get(uid, math.inf), spoken.get(f"{uid}/{number}", math.inf))
        if each.call.name in seen and each.answered_at < fenced:
            wrong.append(f"{each.call.name} was made again before its attempt was fenced")
        seen.add(each.call.name)
    return wrong


def in_order(calls: Iterable[Passed]) -> list[Passed]:
    """Those that were carried out, by whomever."""
    return sorted((each for each in calls if each.done), key=lambda each: each.answered_at)


@pytest.mark.parametrize("play", scenarios.ALL, ids=lambda play: play.__name__)
async def test_one_of_them_is_blind(theatre: Theatre, tmp_path: Path, play: Play) -> None:
    async with scene(theatre, tmp_path / "undisturbed") as calm:
        expected = await calm.play(play)
    cases = [doubled(theatre, play, blind_to, expected) for blind_to in BLIND_TO]
    wrong = await run_all(cases, tmp_path)
    assert not wrong, f"{len(wrong)} of {len(cases)} cases:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "play", [scenarios.succeeds, scenarios.cancelled_while_starting], ids=lambda play: play.__name__
)
async def test_the_other_dies_at_every_write(theatre: Theatre, tmp_path: Path, play: Play) -> None:
    async with scene(theatre, tmp_path / "undisturbed") as calm:
        expected = await calm.play(play)
        everywhere = places(calm.replicas[0])
    cases = [
        doubled(theatre, play, ("claudesessions", "jobs", "pods"), expected, killed=(place, when))
        for place in everywhere
        for when in Kill
    ]
    wrong = await run_all(cases, tmp_path)
    assert not wrong, f"{len(wrong)} of {len(cases)} cases:\n" + "\n".join(wrong)
