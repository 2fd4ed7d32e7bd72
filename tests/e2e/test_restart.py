"""Controller and gateway die while sessions run: nothing is lost, nothing is done twice.

Each test has a session of its own, and all of them are in the middle of their work when anything dies: so
each one sees several deaths.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.scripts import COMMIT, bash, pause, step, tokens, write
from tests.stack.installation import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session
    from tests.stack.stack import Stack

WORKLOADS = {"controller": "deployment/claude-controller", "gateway": "statefulset/claude-gateway"}
STEPS = (
    step(write("before.txt", "before\n"), usage=tokens(11, 101)),
    step(pause(), usage=tokens(13, 103)),
    step(bash(f"{COMMIT} 'Before and after'"), usage=tokens(17, 107)),
    step(text="Done, whoever died.", usage=tokens(19, 109)),
)


def pods(stack: Stack, workload: str) -> list[dict[str, str]]:
    """Name, uid and restart count of a workload's pods."""
    listed = json.loads(
        stack.cluster.kubectl.run(
            *("-n", SYSTEM_NAMESPACE, "get", "pods", "-o", "json"),
            *("-l", f"app.kubernetes.io/name=claude-{workload}"),
        )
    )
    return [
        {
            "name": item["metadata"]["name"],
            "uid": item["metadata"]["uid"],
            "restarts": str(
                sum(each["restartCount"] for each in item["status"].get("containerStatuses", []))
            ),
        }
        for item in listed["items"]
    ]


def processes(uid: str) -> list[int]:
    """The pids of a pod's processes, by their control group."""
    named = (uid, uid.replace("-", "_"))
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            group = (folder / "cgroup").read_text()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if any(name in group for name in named) and b"claude-operator" in command:
            found.append(int(folder.name))
    return found


def kill_process(stack: Stack, workload: str) -> None:
    """SIGKILL, as the kernel does it when memory runs out; the kubelet starts the container again."""
    if stack.cluster.kind != "native":
        pytest.skip("the processes of this cluster are out of reach")
    (pod,) = pods(stack, workload)
    (pid,) = processes(pod["uid"])
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: [each["restarts"] for each in pods(stack, workload)] != [pod["restarts"]],
        what=f"the kubelet to notice the death of the {workload}",
        seconds=30,
        interval=0.2,
    )


def delete_pod(stack: Stack, workload: str) -> None:
    """As a drain in a hurry does it; another pod takes its place."""
    (pod,) = pods(stack, workload)
    stack.cluster.kubectl.run(
        *("-n", SYSTEM_NAMESPACE, "delete", "pod", pod["name"], "--grace-period=0", "--force")
    )


def recovered(stack: Stack, workload: str) -> None:
    """Wait until it serves again, and can be reached from here."""
    stack.cluster.kubectl.run(
        *("-n", SYSTEM_NAMESPACE, "rollout", "status", WORKLOADS[workload], "--timeout=60s"), seconds=70
    )
    stack.gateway.up(stack.cluster.kubectl)


DEATHS: dict[str, tuple[str, Callable[[Stack, str], None]]] = {
    "controller-killed": ("controller", kill_process),
    "gateway-killed": ("gateway", kill_process),
    "controller-deleted": ("controller", delete_pod),
    "gateway-deleted": ("gateway", delete_pod),
}


@pytest.fixture(scope="module")
def sessions(namespace: Namespace) -> dict[str, Session]:
    """All of them in the middle of their work."""
    found = {name: namespace.apply(name, *STEPS) for name in DEATHS}
    for session in found.values():
        session.paused()
    return found


@pytest.mark.parametrize("name", DEATHS)
def test_a_session_survives(
    sessions: dict[str, Session], stack: Stack, outside: OutsideView, name: str
) -> None:
    session = sessions[name]
    workload, die = DEATHS[name]

    die(stack, workload)
    # While it is down the agent wants the model again, and ends.
    session.go_on()
    recovered(stack, workload)
    session.until("Succeeded", "Completed")

    (attempt,) = session.status["attempts"]
    assert attempt["number"] == 1
    assert len(session.jobs()) == 1
    assert len(session.pods()) == 1
    assert session.phases[-2:] == ["Running", "Succeeded"]
    assert session.status["result"]["commit"] == outside.branches()[session.branch]
    assert_usage_is_exact(session, outside)
    assert_journal_is_whole(session)


def assert_usage_is_exact(session: Session, outside: OutsideView) -> None:
    usage, sent = session.status["usage"], outside.sent(session.status["claudeSessionId"])
    assert usage["inputTokens"] == sent["input_tokens"] == 11 + 13 + 17 + 19
    assert usage["outputTokens"] == sent["output_tokens"] == 101 + 103 + 107 + 109
    assert usage["turns"] == sent["requests"] == 4
    assert not usage.get("estimated", False)


def assert_journal_is_whole(session: Session) -> None:
    events = session.journal()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    # Each event of the CLI has an id of its own.
    ids = [event.data["uuid"] for event in events if event.type.startswith("cli.") and "uuid" in event.data]
    assert ids
    assert len(ids) == len(set(ids))
    called = [
        block["input"].get("command") or block["input"]["file_path"]
        for event in events
        if event.type == "cli.assistant"
        for block in event.data["message"]["content"]
        if block["type"] == "tool_use"
    ]
    assert len(called) == 3, called
    kinds = [event.type for event in events]
    assert kinds.count("gateway.model_response") == 4
    assert kinds.count("gateway.claimed") == 1
    assert kinds.count("gateway.outcome") == 1
    assert kinds[-1] == "gateway.outcome"


def test_a_gateway_that_dies_in_the_middle_of_an_answer_books_what_it_had_reserved(
    namespace: Namespace, stack: Stack, outside: OutsideView
) -> None:
    slow = step(text="Slowly.", usage=tokens(23, 113), delay={"stall": 8, "stall_after_events": 3})
    session = namespace.apply("answering", slow)
    wait_until(
        lambda: [each["status"] for each in outside.model_requests(session.script)] == [200],
        what="the model's answer to begin",
        seconds=60,
        interval=0.1,
    )

    kill_process(stack, "gateway")
    recovered(stack, "gateway")
    session.until("Succeeded", "Completed")

    usage, sent = session.status["usage"], outside.sent(session.status["claudeSessionId"])
    assert session.status["result"]["summary"] == "Slowly."
    assert usage["estimated"] is True
    assert usage["inputTokens"] >= sent["input_tokens"]
    assert usage["outputTokens"] >= sent["output_tokens"] > 113
    assert len(session.notes("model_interrupted")) == 1
