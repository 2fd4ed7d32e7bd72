"""Two controllers lead at once: one of them is blind to something, the other one dies at every write."""

from pathlib import Path

import pytest

from tests.crash import scenarios
from tests.crash.cases import Case, Place, Theatre, places, run_all, scene
from tests.crash.ending import Ending
from tests.crash.scenarios import Play
from tests.faults.fault import Kill

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
            return expected.differences(found, but=("closed", "ways", "steps")) + duplicates(found, expected)

    where = f", killed {killed[1].value} {killed[0]}" if killed else ""
    return f"blind to {' '.join(blind_to) or 'nothing'}{where}", case


def duplicates(found: Ending, expected: Ending) -> list[str]:
    """Steps that were carried out more often than without faults, or not at all."""
    wrong = []
    if found.steps["POST jobs"] != expected.steps["POST jobs"]:
        wrong.append(f"{found.steps['POST jobs']} Jobs were made, not {expected.steps['POST jobs']}")
    for name, way in found.ways.items():
        finals = [step for step in way if step.split()[0] in ("Succeeded", "Failed", "Cancelled", "Skipped")]
        if len(finals) > 1:
            wrong.append(f"{name} ended more than once: {way}")
    return wrong


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
