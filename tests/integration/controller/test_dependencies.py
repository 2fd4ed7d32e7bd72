"""Sessions that need other sessions: any order, any end, no reading in between."""

import pytest

from claude_operator.kube.kinds import SESSIONS
from claude_operator.wire.internal import Outcome
from tests.integration.controller.history import ready
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_applied_in_the_wrong_order(stage: Stage) -> None:
    second = await stage.apply("second", dependencies=[{"name": "first"}])
    waiting = await stage.sessions.phase("second", "Waiting", reason="WaitingForDependencies")
    assert waiting["status"]["waitingFor"] == [{"name": "first", "phase": "Absent"}]
    assert stage.job_names() == []

    first = await stage.apply("first")
    await stage.run_to_success(first, name="first")
    await stage.sessions.phase("first", "Succeeded")
    stage.audit.restart()
    await stage.run_to_success(second, name="second")
    await stage.sessions.phase("second", "Succeeded")
    assert stage.audit.gets() == {}, "the end of the first is known without asking"


async def test_a_chain_fails_by_name(stage: Stage) -> None:
    await stage.apply("c", dependencies=[{"name": "b"}])
    await stage.apply("b", dependencies=[{"name": "a"}])
    await stage.apply("watcher", dependencies=[{"name": "a", "when": "Succeeded"}, {"name": "zz"}])
    on_failure = await stage.apply("on-failure", dependencies=[{"name": "a", "when": "Failed"}])
    uid = await stage.apply("a")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("a", "Running")
    await stage.kubelet.ends(pod, exit_code=1, message='{"reason": "AgentError", "message": "no idea"}')

    failed = await stage.sessions.phase("a", "Failed", reason="AgentError")
    assert "no idea" in ready(failed)["message"]
    b = await stage.sessions.phase("b", "Failed", reason="DependencyFailed")
    assert "'a'" in ready(b)["message"]
    c = await stage.sessions.phase("c", "Failed", reason="DependencyFailed")
    assert "'b'" in ready(c)["message"]
    await stage.sessions.phase("watcher", "Failed", reason="DependencyFailed")
    await stage.run_to_success(on_failure, name="on-failure")
    await stage.sessions.phase("on-failure", "Succeeded")


async def test_a_dependency_that_can_never_hold_is_skipped(stage: Stage) -> None:
    await stage.apply("on-failure", dependencies=[{"name": "good", "when": "Failed"}])
    uid = await stage.apply("good")
    await stage.run_to_success(uid, name="good")
    await stage.sessions.phase("on-failure", "Skipped", reason="DependencyNotMet")


async def test_a_cycle_is_spelled_out_by_each_member(stage: Stage) -> None:
    await stage.apply("x", dependencies=[{"name": "y"}])
    await stage.apply("y", dependencies=[{"name": "z"}])
    await stage.apply("outside", dependencies=[{"name": "x"}])
    await stage.apply("z", dependencies=[{"name": "x"}])
    for name, way in (("x", "x → y → z → x"), ("y", "y → z → x → y"), ("z", "z → x → y → z")):
        failed = await stage.sessions.phase(name, "Failed", reason="DependencyCycle")
        assert way in ready(failed)["message"]
    outside = await stage.sessions.phase("outside", "Failed", reason="DependencyFailed")
    assert "'x'" in ready(outside)["message"]
    assert stage.job_names() == []


async def test_one_that_ended_before_this_process_began(idle_stage: Stage) -> None:
    stage = idle_stage
    await stage.add_project()
    await stage.apply("old")
    done = {"phase": "Succeeded", "completionTime": "2026-01-01T00:00:00Z"}
    await stage.client.patch(
        SESSIONS, "old", {"status": done}, namespace=stage.namespace, subresource="status"
    )
    await stage.apply("one", dependencies=[{"name": "old"}])
    uid = await stage.apply("two", dependencies=[{"name": "old"}])
    await stage.controller.start()
    await stage.run_to_success(uid, name="two")
    await stage.sessions.phase("two", "Succeeded")
    assert stage.audit.gets()["get claudesessions"] <= 2, "looked up once by each that asked at the same time"


async def test_one_that_was_deleted_after_its_end_is_in_the_archive(stage: Stage) -> None:
    stage.gateway.outcomes["some-uid"] = Outcome(
        namespace=stage.namespace, name="gone", uid="some-uid", type="implementation", phase="Succeeded"
    )
    uid = await stage.apply("heir", dependencies=[{"name": "gone"}])
    await stage.run_to_success(uid, name="heir")
    await stage.sessions.phase("heir", "Succeeded")


async def test_one_that_was_deleted_unfinished_is_absent(stage: Stage) -> None:
    await stage.apply("doomed", suspend=True)
    await stage.sessions.phase("doomed", "Pending", reason="Suspended")
    await stage.apply("heir", dependencies=[{"name": "doomed"}])
    await stage.sessions.phase("heir", "Waiting")
    await stage.delete("doomed")
    await stage.sessions.find(
        lambda item: item["status"].get("waitingFor") == [{"name": "doomed", "phase": "Absent"}],
        what="heir to see that doomed is absent",
    )
    uid = await stage.apply("doomed")
    await stage.run_to_success(uid, name="doomed")
    await stage.jobs.find(
        lambda job: job["metadata"]["name"].startswith("heir-"), what="heir's Job, once doomed has succeeded"
    )
