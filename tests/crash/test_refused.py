"""Every write is refused, or its connection dropped, at its first try: 409, 429, 500, before and after."""

from pathlib import Path

import pytest

from tests.crash import scenarios
from tests.crash.cases import Case, Place, Theatre, disturbed, scene
from tests.crash.ending import Ending
from tests.crash.replica import BOOKKEEPING
from tests.crash.scenarios import Play
from tests.faults.call import Call
from tests.faults.fault import Answer, Deeds, Drop, Fault, every_other, nth

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]


def conflict(call: Call) -> Answer:
    return Answer(409, "AlreadyExists" if call.method == "POST" else "Conflict")


FAULTS: dict[str, Deeds] = {
    "409": conflict,
    "429": Answer(429, "TooManyRequests", retry_after=1),
    "500": Answer(500, "InternalError"),
    "dropped before": Drop.BEFORE,
    "dropped after": Drop.AFTER,
}


def refused(theatre: Theatre, play: Play, what: str, deed: Deeds, expected: Ending) -> Case:
    async def case(folder: Path) -> list[str]:
        async with scene(theatre, folder) as one:
            (replica,) = one.replicas
            fault = Fault(deed, but=BOOKKEEPING, times=every_other, by_object=True)
            # The Lease is renewed for ever: the second try of one write is the first one of the next.
            lease = [Fault(deed, what=f"{method} leases", times=nth(1)) for method in ("POST", "PATCH")]
            event = Fault(deed, what="POST events", times=nth(1))
            replica.api.arm(fault, *lease, event)
            if what != "409":  # which the gateway never says to the controller
                replica.gateway.arm(Fault(deed, times=every_other, by_object=True))
            found = await one.play(play)
            wrong = expected.differences(found, but=scenarios.RACES.get(play, ()))
            missed = expected.steps.keys() - {call.what for call in fault.struck}
            if missed:
                wrong.append(f"never struck: {missed}")
            if replica.process.running.returncode is not None:
                wrong.append(f"the controller died:\n{replica.process.tail()}")
            return wrong

    return what, case


async def test_every_write_at_its_first_try(theatre: Theatre, tmp_path: Path) -> None:
    def vary(play: Play, expected: Ending, _: list[Place]) -> list[Case]:
        return [refused(theatre, play, what, deed, expected) for what, deed in FAULTS.items()]

    wrong = await disturbed(theatre, tmp_path, scenarios.ALL, vary)
    assert not wrong, "\n".join(wrong)
