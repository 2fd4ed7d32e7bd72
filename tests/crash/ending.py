"""What is left when a scenario is over, without what differs from run to run: times, uids, versions, pods."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from claude_operator.engine.job import job_name
from tests.crash.replica import Replica
from tests.integration.controller.history import Object, ready
from tests.integration.controller.stage import Stage

_PASSING = frozenset(
    {
        *("lastTransitionTime", "startTime", "completionTime", "finished_at"),
        *("pod", "uid", "namespace", "claudeSessionId"),
    }
)
_MOST_ATTEMPTS = 5
_WAITS = ("Waiting WaitingForDependencies", "Starting Starting")
"""Written when they last: over 2 s and 10 s. On a slow machine that may be so, or be so once more."""
STATUS = "PATCH claudesessions/status"


@dataclass(frozen=True, slots=True)
class Ending:
    """Equal for two runs of which nobody can tell that one of them had faults."""

    statuses: dict[str, Any]
    """By session: the last one that was seen of it."""
    ways: dict[str, list[str]]
    """By session: phases, reasons and attempts, each time that one of them changed."""
    jobs: dict[str, int]
    """How many have ever been made under each name."""
    outcomes: dict[str, Any]
    """At the gateway, by session."""
    closed: set[tuple[str, int]]
    cancelled: set[str]
    steps: Counter[str]
    """What was carried out at the API server; Leases and Events apart, and waits that lasted."""

    def differences(self, other: "Ending", *, but: Iterable[str] = ()) -> list[str]:
        """What `other` has otherwise; empty when nothing."""
        return [
            difference
            for field in fields(self)
            if field.name not in but
            for difference in _differ(field.name, getattr(self, field.name), getattr(other, field.name))
        ]


def contradictions(found: Ending) -> list[str]:
    """Where status, Jobs and the gateway's record don't tell the same story; empty when they do."""
    wrong = [f"{count} Jobs were made as {name}" for name, count in found.jobs.items() if count != 1]
    for name, status in found.statuses.items():
        told = found.outcomes.get(name, {}).get("phase")
        if told != status["phase"] and told != "Deleted":
            wrong.append(f"{name} is {status['phase']}, the gateway was told {told}")
        attempts = {each["number"] for each in status.get("attempts", ())}
        made = {int(job.rpartition("/")[2]) for job in found.jobs if job.startswith(f"{name}/")}
        if attempts != made:
            wrong.append(f"{name} had attempts {attempts}, but Jobs {made}")
        unclosed = {number for number in attempts if (name, number) not in found.closed}
        if unclosed and told != "Deleted":
            wrong.append(f"{name}: its attempts {unclosed} were never closed")
    return wrong


def _differ(where: str, expected: Any, found: Any) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected.keys() | found.keys():
            yield from _differ(f"{where}.{key}", expected.get(key), found.get(key))
    elif expected != found:
        yield f"{where}: expected {expected}, found {found}"


async def ending(stage: Stage, replicas: Iterable[Replica]) -> Ending:
    """Of a stage whose controllers are at rest."""
    names = {
        version["metadata"]["uid"]: name for name, all_ in stage.sessions.versions.items() for version in all_
    }
    jobs = {
        job_name(name, uid, n): f"{name}/{n}" for uid, name in names.items() for n in range(1, _MOST_ATTEMPTS)
    }

    def plain(value: Any) -> Any:
        match value:
            case dict():
                return {key: plain(each) for key, each in value.items() if key not in _PASSING and each != []}
            case list():
                return [plain(each) for each in value]
            case str():
                for job, told in jobs.items():
                    value = value.replace(job, told)
                return value
            case _:
                return value

    steps = sum((one.steps() for one in replicas), Counter())
    steps[STATUS] -= _waits(stage)
    return Ending(
        statuses={name: plain(versions[-1]["status"]) for name, versions in stage.sessions.versions.items()},
        ways={name: _way(versions) for name, versions in stage.sessions.versions.items()},
        jobs={
            jobs.get(name, name): len({each["metadata"]["uid"] for each in versions})
            for name, versions in stage.jobs.versions.items()
        },
        outcomes={
            names[uid]: plain(each.model_dump(mode="json")) for uid, each in stage.gateway.outcomes.items()
        },
        closed={(names[uid], number) for uid, number in stage.gateway.closed},
        cancelled={names[uid] for uid in stage.gateway.cancelled},
        steps=steps,
    )


async def nothing_runs(stage: Stage, *, seconds: float = 20) -> None:
    """Until every Job has ended or is gone: one that goes on is a failure."""
    deadline = asyncio.get_running_loop().time() + seconds
    while live := [name for name, job in stage.jobs.objects.items() if not _ended(job)]:
        assert asyncio.get_running_loop().time() < deadline, f"Jobs were left running: {live}"
        await asyncio.sleep(0.02)


def _ended(job: Object) -> bool:
    conditions = job["status"].get("conditions") or ()
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def _way(versions: Iterable[Object]) -> list[str]:
    way: list[str] = []
    for version in versions:
        step = _step(version)
        if step not in way[-1:] and not step.startswith(_WAITS):
            way.append(step)
    return way


def _step(version: Object) -> str:
    status = version["status"]
    attempts = (f" {each['number']}:{each.get('reason', 'open')}" for each in status.get("attempts", ()))
    return f"{status['phase']} {ready(version)['reason']}{''.join(attempts)}"


def _waits(stage: Stage) -> int:
    return sum(
        _step(version).startswith(_WAITS) for all_ in stage.sessions.versions.values() for version in all_
    )
