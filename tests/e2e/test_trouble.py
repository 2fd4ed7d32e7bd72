"""What can be wrong around a session: each has its own reason, in seconds, and says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.scripts import step
from tests.stack import tenant

if TYPE_CHECKING:
    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session

SECONDS = 20.0
NOWHERE = "e2e.example/nowhere"
UNPULLABLE = "localhost/claude-operator-e2e:none"


@pytest.fixture(scope="module")
def sessions(namespace: Namespace, outside: OutsideView) -> dict[str, Session]:
    state = outside.state
    model = {"upstreamURL": state.model.url}
    wrong = tenant.credential("wrong", hosts=state.model.url, apiKey="sk-ant-api03-not-the-key")
    namespace.apply_objects(wrong)
    namespace.project("mistyped", model={**model, "credentialsSecret": "wrong"})
    namespace.project("keyless", ready=False, model={**model, "credentialsSecret": "absent"})
    namespace.project("open", pod={"images": ["*"], "nodeSelectorKeys": [NOWHERE], "maxMemory": "1Gi"})
    done = step(text="Done.")
    small = {"resources": {"requests": {"memory": "90Mi"}, "limits": {"memory": "90Mi"}}}
    return {
        # Runner and CLI do not fit: whether the kernel kills the container or only the CLI, it is the end.
        "hungry": namespace.apply("hungry", done, project="open", pod=small),
        "mistyped": namespace.apply("mistyped", done, project="mistyped"),
        "keyless": namespace.apply("keyless", done, project="keyless"),
        "projectless": namespace.apply("projectless", done, project="missing"),
        "nowhere": namespace.apply("nowhere", done, repository="acme/nowhere"),
        "branchless": namespace.apply("branchless", done, branch="no-such-branch"),
        "unpullable": namespace.apply("unpullable", done, project="open", pod={"image": UNPULLABLE}),
        "unschedulable": namespace.apply(
            "unschedulable", done, project="open", pod={"nodeSelector": {NOWHERE: "x"}}
        ),
        "greedy": namespace.apply(
            "greedy", done, project="open", pod={"resources": {"limits": {"memory": "2Gi"}}}
        ),
        "stranger": namespace.apply("stranger", done, model="claude-opus-4-5"),
    }


def test_an_image_that_cannot_be_pulled(sessions: dict[str, Session]) -> None:
    session = sessions["unpullable"]
    session.until("Starting", "ImagePullBackOff", seconds=SECONDS)

    assert session.seconds_to("Starting", "ImagePullBackOff") < SECONDS
    assert UNPULLABLE in session.message
    assert "Running" not in session.phases


def test_a_pod_that_fits_on_no_node(sessions: dict[str, Session]) -> None:
    session = sessions["unschedulable"]
    session.until("Starting", "Unschedulable", seconds=SECONDS)

    assert "affinity/selector" in session.message


def test_a_missing_secret_is_named_and_the_session_runs_once_it_is_there(
    sessions: dict[str, Session], namespace: Namespace, outside: OutsideView
) -> None:
    session = sessions["keyless"]
    session.until("Waiting", "ProjectNotReady", seconds=SECONDS)
    assert "'keyless'" in session.message
    assert "absent" in session.message
    assert session.jobs() == []

    namespace.apply_objects(
        tenant.credential("absent", hosts=outside.state.model.url, apiKey=outside.model_key)
    )
    session.until("Succeeded")


def test_a_project_that_does_not_exist(sessions: dict[str, Session]) -> None:
    session = sessions["projectless"]
    session.until("Waiting", "ProjectNotReady", seconds=SECONDS)

    assert "'missing' does not exist" in session.message


def test_an_unknown_repository(sessions: dict[str, Session]) -> None:
    session = sessions["nowhere"]
    session.until("Failed", "CloneFailed")

    assert "acme/nowhere" in session.message
    assert "Running" not in session.phases


def test_an_unknown_base_branch(sessions: dict[str, Session]) -> None:
    session = sessions["branchless"]
    session.until("Failed", "CloneFailed")

    assert "no-such-branch" in session.message


def test_a_wrong_model_key(sessions: dict[str, Session], outside: OutsideView) -> None:
    session = sessions["mistyped"]
    session.until("Failed", "ModelAuthFailed")

    # The CLI by itself would try for minutes. It may be over before kubelet has looked whether it started.
    seen = session.seconds_to("Running") if "Running" in session.phases else 0
    assert session.seconds_to("Failed") - seen < SECONDS
    assert "wrong" in session.message
    assert "not-the-key" not in session.told()
    assert session.status["usage"]["costUSD"] == 0
    assert outside.model_requests(session.script) == []


def test_a_container_that_uses_too_much_memory(sessions: dict[str, Session]) -> None:
    session = sessions["hungry"]
    session.until("Failed", "OOMKilled")

    assert "pod.resources" in session.message
    (attempt,) = session.status["attempts"]
    assert attempt["reason"] == "OOMKilled"
    assert attempt["exitCode"] != 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("greedy", ["spec.pod.resources.limits.memory", "2Gi", "1Gi"]),
        ("stranger", ["spec.model", "claude-opus-4-5", "claude-sonnet-5-5"]),
    ],
)
def test_a_choice_that_the_project_does_not_allow(
    sessions: dict[str, Session], name: str, words: list[str]
) -> None:
    session = sessions[name]
    session.until("Failed", "InvalidSpec", seconds=SECONDS)

    assert all(word in session.message for word in words), session.message
    assert session.jobs() == []
