"""Sessions that build on others: applied in the wrong order, after a failure, in a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.scripts import COMMIT, bash, step, write

if TYPE_CHECKING:
    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session

SUMMARY = "The module polyglot.py is there; it needs a French table."


def on(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


@pytest.fixture(scope="module")
def sessions(namespace: Namespace) -> dict[str, Session]:
    """All of them, each before what it depends on."""
    names = [("second", ["first"]), ("third", ["broken"]), ("fourth", ["third"])]
    names += [("left", ["right"]), ("right", ["left"])]
    found = {name: namespace.apply(name, step(text="Done."), dependencies=on(*of)) for name, of in names}
    found["broken"] = namespace.apply("broken", step(text="Never said."), repository="acme/nowhere")
    return found


@pytest.fixture(scope="module")
def chain(namespace: Namespace, sessions: dict[str, Session]) -> tuple[Session, Session]:
    """Two that have succeeded; the first was applied when the second was seen to wait for it."""
    second = sessions["second"]
    second.until("Waiting", "WaitingForDependencies")
    first = namespace.apply(
        "first",
        step(write("polyglot.py", "# languages\n")),
        step(bash(f"{COMMIT} 'Add polyglot'")),
        step(text=SUMMARY),
    )
    first.until("Succeeded")
    second.until("Succeeded")
    return first, second


def test_a_session_waits_for_one_that_does_not_exist_yet(chain: tuple[Session, Session]) -> None:
    _, second = chain
    waiting = next(
        each.object["status"] for each in second.versions if each.object["status"]["phase"] == "Waiting"
    )

    assert waiting["waitingFor"] == [{"name": "first", "phase": "Absent"}]
    assert "first (Absent)" in waiting["conditions"][0]["message"]
    assert second.status.get("waitingFor", []) == []


def test_the_second_starts_when_the_first_has_succeeded(chain: tuple[Session, Session]) -> None:
    first, second = chain
    (job,) = second.jobs()

    assert second.phases[:2] == ["Pending", "Waiting"]
    assert second.phases[-1] == "Succeeded"
    assert first.status["completionTime"][:19] <= job["metadata"]["creationTimestamp"][:19]


def test_the_second_is_told_what_the_first_has_left(
    chain: tuple[Session, Session], outside: OutsideView
) -> None:
    first, second = chain
    prompt = outside.prompt(second.script)

    assert SUMMARY in prompt
    assert f"Branch: {first.branch} at {first.status['result']['commit']}" in prompt
    assert '<session name="first" type="implementation" phase="Succeeded">' in prompt


def test_a_failed_session_fails_its_dependents_by_name(sessions: dict[str, Session]) -> None:
    sessions["broken"].until("Failed", "CloneFailed")
    third = sessions["third"]
    third.until("Failed", "DependencyFailed")

    assert "'broken'" in third.message
    assert "CloneFailed" in third.message
    assert third.jobs() == []


def test_the_failure_goes_on_down_the_line(sessions: dict[str, Session]) -> None:
    fourth = sessions["fourth"]
    fourth.until("Failed", "DependencyFailed")

    assert "'third'" in fourth.message
    assert fourth.jobs() == []


@pytest.mark.parametrize(
    ("name", "way"), [("left", "left → right → left"), ("right", "right → left → right")]
)
def test_a_circle_is_spelled_out(sessions: dict[str, Session], name: str, way: str) -> None:
    sessions[name].until("Failed", "DependencyCycle")

    assert way in sessions[name].message
    assert sessions[name].jobs() == []
