"""Suspend, cancel and deadlines, in each phase."""

import pytest

from tests.integration.controller.history import ready
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_suspended_does_not_start_until_told(stage: Stage) -> None:
    uid = await stage.apply("later", suspend=True)
    await stage.sessions.phase("later", "Pending", reason="Suspended")
    assert stage.job_names() == []
    await stage.change("later", suspend=False)
    await stage.run_to_success(uid, name="later")
    await stage.sessions.phase("later", "Succeeded")


async def test_cancel_while_it_waits(stage: Stage) -> None:
    await stage.apply("waits", dependencies=[{"name": "nobody"}])
    await stage.sessions.phase("waits", "Waiting")
    await stage.change("waits", cancel=True)
    await stage.sessions.phase("waits", "Cancelled", reason="Cancelled")
    assert stage.job_names() == []


async def test_cancel_while_it_starts(stage: Stage) -> None:
    uid = await stage.apply("starts")
    pod = await stage.kubelet.pod(uid)
    await stage.change("starts", cancel=True)
    done = await stage.sessions.phase("starts", "Cancelled", reason="Cancelled")
    assert done["status"]["attempts"][0]["reason"] == "Cancelled"
    assert stage.gateway.closed == [(uid, 1)], "fenced before it is called cancelled"
    await stage.jobs.gone(done["status"]["attempts"][0]["job"])
    await stage.pods.gone(pod["metadata"]["name"])


async def test_cancel_while_it_runs_lets_the_runner_save_its_work(stage: Stage) -> None:
    uid = await stage.apply("runs")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("runs", "Running")
    await stage.change("runs", cancel=True)
    cancelling = await stage.sessions.phase("runs", "Running", reason="Cancelling")
    assert stage.gateway.cancelled[uid].grace_seconds == 60
    assert ready(cancelling)["message"]
    assert "runs" not in stage.jobs.deleted
    stage.gateway.saw(uid, namespace=stage.namespace, name="runs", commit="abc")
    await stage.kubelet.ends(pod, exit_code=1, message='{"reason": "Cancelled", "message": "saved"}')
    done = await stage.sessions.phase("runs", "Cancelled")
    assert done["status"]["result"]["commit"] == "abc"
    assert stage.gateway.outcomes[uid].phase == "Cancelled"


async def test_start_deadline(stage: Stage) -> None:
    uid = await stage.apply("slow", startDeadlineSeconds=10)
    await stage.kubelet.pod(uid)
    failed = await stage.sessions.phase("slow", "Failed", reason="StartDeadlineExceeded", seconds=30)
    assert "startDeadlineSeconds (10)" in ready(failed)["message"]
    assert len(stage.job_names()) == 1
    await stage.jobs.gone(failed["status"]["attempts"][0]["job"])


async def test_time_to_live(stage: Stage) -> None:
    uid = await stage.apply("short-lived", ttlSecondsAfterFinished=1)
    await stage.run_to_success(uid, name="short-lived")
    await stage.sessions.gone("short-lived")
    assert stage.sessions.phases("short-lived")[-1] == "Succeeded"
    assert stage.gateway.outcomes[uid].phase == "Succeeded", "its outcome stays"
