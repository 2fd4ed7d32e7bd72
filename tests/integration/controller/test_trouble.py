"""What goes wrong around a session: each with its own reason, and none of it for ever."""

import pytest

from claude_operator.engine.job import job_name
from claude_operator.kube.kinds import JOBS, Kind
from tests.integration.controller.history import ready
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_an_image_that_cannot_be_pulled(stage: Stage) -> None:
    uid = await stage.apply("image")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.waiting(pod, "ImagePullBackOff", "no such image: session:test")
    item = await stage.sessions.phase("image", "Starting", reason="ImagePullBackOff")
    assert "no such image" in ready(item)["message"]
    # It mends by itself.
    await stage.run_to_success(uid, name="image")
    await stage.sessions.phase("image", "Succeeded")


async def test_a_pod_that_fits_nowhere(stage: Stage) -> None:
    uid = await stage.apply("huge")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.unschedulable(pod, "0/3 nodes are available: 3 Insufficient memory.")
    item = await stage.sessions.phase("huge", "Starting", reason="Unschedulable")
    assert "Insufficient memory" in ready(item)["message"]


async def test_out_of_memory(stage: Stage) -> None:
    uid = await stage.apply("hungry")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("hungry", "Running")
    await stage.kubelet.ends(pod, exit_code=137, reason="OOMKilled")
    failed = await stage.sessions.phase("hungry", "Failed", reason="OOMKilled")
    assert failed["status"]["attempts"][0]["exitCode"] == 137
    event = await stage.events.find(
        lambda each: each["involvedObject"]["uid"] == uid, what="an Event on the session"
    )
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "OOMKilled", 1)


async def test_a_job_that_is_deleted_makes_the_next_attempt(stage: Stage) -> None:
    uid = await stage.apply("robbed")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    running = await stage.sessions.phase("robbed", "Running")
    await stage.client.delete(JOBS, running["status"]["attempts"][0]["job"], namespace=stage.namespace)
    await stage.run_to_success(uid, name="robbed", attempt=2)
    done = await stage.sessions.phase("robbed", "Succeeded")
    assert [each["number"] for each in done["status"]["attempts"]] == [1, 2]
    assert len(stage.job_names()) == 2


async def test_a_foreign_job_is_neither_adopted_nor_deleted(idle_stage: Stage) -> None:
    stage = idle_stage
    uid = await stage.apply("taken")
    name = job_name("taken", uid, 1)
    container = {"name": "other", "image": "other"}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    foreign = {"metadata": {"name": name}, "spec": {"template": template, "suspend": True}}
    created = await stage.client.create(JOBS, foreign, namespace=stage.namespace)
    await stage.add_project()
    await stage.controller.start()
    failed = await stage.sessions.phase("taken", "Failed", reason="JobConflict")
    assert name in ready(failed)["message"]
    left = await stage.client.get(JOBS, name, namespace=stage.namespace)
    assert left["metadata"]["uid"] == created["metadata"]["uid"]
    assert "ownerReferences" not in left["metadata"]


async def test_a_job_that_the_api_server_refuses_is_tried_until_it_does_not(idle_stage: Stage) -> None:
    stage = idle_stage
    quota = Kind("", "v1", "resourcequotas", "ResourceQuota")
    body = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    await stage.client.create(quota, body, namespace=stage.namespace)
    await stage.until(quota, "none", lambda item: "hard" in item.get("status", {}))
    await stage.add_project()
    await stage.controller.start()
    uid = await stage.apply("refused")
    item = await stage.sessions.phase("refused", "Pending", reason="PodRefused")
    assert "exceeded quota" in ready(item)["message"]
    await stage.client.delete(quota, "none", namespace=stage.namespace)
    await stage.run_to_success(uid, name="refused")
    await stage.sessions.phase("refused", "Succeeded")


async def test_a_project_that_is_missing_then_not_ready_then_ready(idle_stage: Stage) -> None:
    stage = idle_stage
    await stage.controller.start()
    uid = await stage.apply("early")
    missing = await stage.sessions.phase("early", "Waiting", reason="ProjectNotReady")
    assert "does not exist" in ready(missing)["message"]
    await stage.add_project(ready=False)
    await stage.set_ready("default", 1, status="False", message="Secret 'anthropic' does not exist")
    await stage.sessions.find(
        lambda item: "Secret 'anthropic' does not exist" in ready(item)["message"],
        what="the project's own words in the session's status",
    )
    await stage.set_ready("default", 1)
    await stage.run_to_success(uid, name="early")
    await stage.sessions.phase("early", "Succeeded")


async def test_a_gateway_that_is_away_for_a_while(stage: Stage) -> None:
    uid = await stage.apply("patient")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("patient", "Running")
    stage.gateway.saw(uid, namespace=stage.namespace, name="patient", commit="abc")
    async with stage.gateway.outage():
        await stage.kubelet.ends(pod)
        waiting = await stage.sessions.phase("patient", "Running", reason="GatewayUnavailable")
        assert "waiting for the gateway" in ready(waiting)["message"]
    done = await stage.sessions.phase("patient", "Succeeded", seconds=40)
    assert done["status"]["result"]["commit"] == "abc"
    assert stage.gateway.refused == []
