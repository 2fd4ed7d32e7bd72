"""kill -9 before and after every single write of a session's life, at the API server and at the gateway."""

from pathlib import Path

import pytest

from tests.crash import scenarios
from tests.crash.cases import Case, Place, Theatre, disturbed, scene
from tests.crash.ending import STATUS, Ending
from tests.crash.scenarios import Play
from tests.faults.fault import Kill

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]


def killed(theatre: Theatre, play: Play, place: Place, when: Kill, expected: Ending) -> Case:
    async def case(folder: Path) -> list[str]:
        async with scene(theatre, folder) as one:
            (replica,) = one.replicas
            fault = place.arm(replica, when)
            found = await one.play(play)
            races = scenarios.RACES.get(play, ())
            wrong = expected.differences(found, but=races)
            # Waits are written when they last, and that differs from run to run.
            certain = place.what != STATUS or place.number <= expected.steps[STATUS]
            certain = certain and not (place.closes and "closed" in races)
            if certain and (len(fault.struck) != 1 or replica.deaths != 1):
                wrong.append(f"struck {fault.struck}, {replica.deaths} deaths: this place was never reached")
            return wrong

    return f"killed {when.value} {place}", case


async def test_at_every_write(theatre: Theatre, tmp_path: Path) -> None:
    def vary(play: Play, expected: Ending, everywhere: list[Place]) -> list[Case]:
        return [killed(theatre, play, place, when, expected) for place in everywhere for when in Kill]

    wrong = await disturbed(theatre, tmp_path, scenarios.ALL, vary)
    assert not wrong, "\n".join(wrong)
