"""What a person holds back, lets go and stops; and what the clock stops."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.scripts import COMMIT, bash, pause, step, write

if TYPE_CHECKING:
    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session

SECONDS = 20.0
"""A person's patience, on a machine that runs several sessions at once."""
TIMEOUT = 20
"""Enough to get to the pause on a machine that is busy."""
NOWHERE = "e2e.example/nowhere"
UNPULLABLE = "localhost/claude-operator-e2e:none"
WORK = (
    step(write("kept.txt", "committed\n")),
    step(bash(f"{COMMIT} 'Half of it'")),
    step(write("loose.txt", "not committed\n")),
    step(pause()),
    step(text="Never said."),
)


@pytest.fixture(scope="module")
def sessions(namespace: Namespace) -> dict[str, Session]:
    namespace.project("open", pod={"images": ["*"], "nodeSelectorKeys": [NOWHERE]})
    return {
        "running": namespace.apply("running", *WORK),
        "late": namespace.apply("late", *WORK, timeoutSeconds=TIMEOUT),
        "suspended": namespace.apply("suspended", step(text="Done."), suspend=True),
        "waiting": namespace.apply("waiting", dependencies=[{"name": "never"}]),
        "starting": namespace.apply("starting", project="open", pod={"image": UNPULLABLE}),
        "stuck": namespace.apply(
            "stuck", project="open", pod={"nodeSelector": {NOWHERE: "x"}}, startDeadlineSeconds=10
        ),
    }


def cancelled(session: Session) -> float:
    """Cancel it; how many seconds it took."""
    begun = time.monotonic()
    session.change(cancel=True)
    session.until("Cancelled", "Cancelled", seconds=SECONDS)
    return time.monotonic() - begun


def pods_gone(session: Session) -> None:
    wait_until(
        lambda: session.pods() == [], what=f"the pods of {session.name} to go", seconds=SECONDS, interval=0.3
    )


def half_done(session: Session, outside: OutsideView) -> None:
    """The branch has what was committed, and what was not."""
    commit = outside.branches()[session.branch]
    assert session.status["result"]["branch"] == session.branch
    assert session.status["result"]["commit"] == commit
    assert "pullRequest" not in session.status["result"]
    assert outside.git("show", f"{commit}:kept.txt") == "committed"
    assert outside.git("show", f"{commit}:loose.txt") == "not committed"


def test_a_suspended_session_starts_when_it_is_released(sessions: dict[str, Session]) -> None:
    session = sessions["suspended"]
    session.until("Pending", "Suspended", seconds=SECONDS)
    assert "spec.suspend" in session.message
    assert session.jobs() == []

    session.change(suspend=False)
    session.until("Succeeded")


def test_one_that_waits_is_cancelled_without_ever_having_a_pod(sessions: dict[str, Session]) -> None:
    session = sessions["waiting"]
    session.until("Waiting", "WaitingForDependencies", seconds=SECONDS)

    assert cancelled(session) < 5
    assert session.jobs() == []


def test_one_that_starts_is_cancelled_and_its_pod_goes(sessions: dict[str, Session]) -> None:
    session = sessions["starting"]
    session.until("Starting", "ImagePullBackOff", seconds=SECONDS)
    assert UNPULLABLE in session.message

    assert cancelled(session) < 5
    pods_gone(session)
    assert "branch" not in session.status.get("result", {})


def test_one_that_runs_is_cancelled_and_its_work_is_kept(
    sessions: dict[str, Session], outside: OutsideView
) -> None:
    session = sessions["running"]
    session.paused()

    assert cancelled(session) < SECONDS
    half_done(session, outside)
    (attempt,) = session.status["attempts"]
    assert attempt["reason"] == "Cancelled"
    assert session.status["usage"]["turns"] == 4


def test_one_that_takes_too_long_is_stopped_and_its_work_is_kept(
    sessions: dict[str, Session], outside: OutsideView
) -> None:
    session = sessions["late"]
    session.until("Failed", "Timeout")

    (pod,) = session.pods()
    ran = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    begun, ended = (datetime.fromisoformat(ran[moment]) for moment in ("startedAt", "finishedAt"))
    assert TIMEOUT <= (ended - begun).total_seconds() < TIMEOUT + SECONDS
    assert f"{TIMEOUT} s" in session.message
    half_done(session, outside)


def test_one_that_does_not_start_in_time_fails_with_what_kept_it(sessions: dict[str, Session]) -> None:
    session = sessions["stuck"]
    session.until("Failed", "Unschedulable")

    assert "Starting" in session.phases
    assert 9 <= session.seconds_to("Failed") < 10 + SECONDS
    assert "startDeadlineSeconds (10)" in session.message
    assert "affinity/selector" in session.message
    pods_gone(session)
