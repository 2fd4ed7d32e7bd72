"""kill -9 before and after every single write of a session's life, at the API server and at the gateway."""

from pathlib import Path

import pytest

from tests.crash import scenarios
from tests.crash.cases import Case, Place, Theatre, places, run_all, scene
from tests.crash.ending import STATUS, Ending, contradictions
from tests.crash.scenarios import Play
from tests.faults.fault import Kill

pytestmark = [pytest.mark.crash]


def killed(theatre: Theatre, play: Play, place: Place, when: Kill, expected: Ending) -> Case:
    async def case(folder: Path) -> list[str]:
        async with scene(theatre, folder) as one:
            (replica,) = one.replicas
            fault = place.arm(replica, when)
            found = await one.play(play)
            wrong = expected.differences(found, but=scenarios.RACES.get(play, ()))
            # Waits are written when they last, and that differs from run to run.
            certain = place.what != STATUS or place.number <= expected.steps[STATUS]
            if certain and (len(fault.struck) != 1 or replica.deaths != 1):
                wrong.append(f"struck {fault.struck}, {replica.deaths} deaths: this place was never reached")
            return wrong

    return f"killed {when.value} {place}", case


@pytest.mark.parametrize("play", scenarios.ALL, ids=lambda play: play.__name__)
async def test_at_every_write(theatre: Theatre, tmp_path: Path, play: Play) -> None:
    async with scene(theatre, tmp_path / "undisturbed") as calm:
        expected = await calm.play(play)
        everywhere = places(calm.replicas[0])
    assert contradictions(expected) == []
    cases = [killed(theatre, play, place, when, expected) for place in everywhere for when in Kill]
    wrong = await run_all(cases, tmp_path)
    assert not wrong, f"{len(wrong)} of {len(cases)} cases:\n" + "\n".join(wrong)
