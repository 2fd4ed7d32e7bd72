"""The controller dies, in any phase of a session, or is replaced: nothing is lost or done twice."""

import pytest

from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_unchanged_sessions_cost_no_write(stage: Stage) -> None:
    running = await stage.apply("running")
    pod = await stage.kubelet.pod(running)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("running", "Running")
    await stage.apply("waiting", dependencies=[{"name": "running"}, {"name": "absent"}])
    await stage.sessions.phase("waiting", "Waiting")
    await stage.apply("suspended", suspend=True)
    await stage.sessions.phase("suspended", "Pending", reason="Suspended")

    await stage.controller.kill()
    stage.audit.restart()
    await stage.controller.start()
    # The new process has decided on all of them before it starts this one.
    other = await stage.apply("other")
    await stage.run_to_success(other, name="other")
    await stage.sessions.phase("other", "Succeeded")
    assert await stage.audit.logged(3) == {"create jobs": 1, "patch claudesessions/status": 2}

    stage.gateway.saw(running, namespace=stage.namespace, name="running", commit="abc")
    await stage.kubelet.ends(pod)
    await stage.sessions.phase("running", "Succeeded")


async def test_a_pod_that_ends_while_it_is_away(stage: Stage) -> None:
    uid = await stage.apply("ends")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("ends", "Running")
    await stage.controller.kill()
    stage.gateway.saw(uid, namespace=stage.namespace, name="ends", commit="abc")
    await stage.kubelet.ends(pod)
    await stage.controller.start()
    done = await stage.sessions.phase("ends", "Succeeded")
    assert done["status"]["usage"]["turns"] == 3
    assert len(stage.job_names()) == 1


async def test_a_session_that_comes_while_it_is_away(stage: Stage) -> None:
    await stage.controller.kill()
    uid = await stage.apply("comes")
    await stage.controller.start()
    await stage.run_to_success(uid, name="comes")
    await stage.sessions.phase("comes", "Succeeded")


async def test_sigterm_hands_over_to_the_waiting_replica(stage: Stage) -> None:
    other = stage.replica("second")
    await other.start(ready=False)
    try:
        await other.until_metric("claude_controller_leading", 0)
        uid = await stage.apply("handed-over")
        pod = await stage.kubelet.pod(uid)
        assert await stage.controller.stop() == 0
        await other.until_metric("claude_controller_synced", 1, seconds=10)
        await stage.kubelet.agent_starts(pod)
        await stage.sessions.phase("handed-over", "Running")
        stage.gateway.saw(uid, namespace=stage.namespace, name="handed-over", commit="abc")
        await stage.kubelet.ends(pod)
        await stage.sessions.phase("handed-over", "Succeeded")
        assert len(stage.job_names()) == 1
    finally:
        await other.kill()


async def test_losing_the_lease_ends_the_process(stage: Stage) -> None:
    await stage.take_lease("somebody-else")
    assert await stage.controller.ended() == 1
    assert "was lost to somebody-else" in stage.controller.tail()


async def test_the_api_server_restarts_and_objects_vanish_meanwhile(stage: Stage) -> None:
    kept = await stage.apply("kept")
    lost = await stage.apply("lost")
    kept_pod, lost_pod = await stage.kubelet.pod(kept), await stage.kubelet.pod(lost)
    await stage.kubelet.agent_starts(kept_pod)
    await stage.kubelet.agent_starts(lost_pod)
    await stage.sessions.phase("kept", "Running")
    await stage.sessions.phase("lost", "Running")
    stage.controller.freeze()
    try:
        await stage.delete("lost")
        await stage.pods.gone(lost_pod["metadata"]["name"])
        stage.plane.process("kube-apiserver").kill()
        stage.plane.up()
        stage.plane.process("kube-scheduler").stop()
    finally:
        stage.controller.thaw()
    await stage.until_outcome(lost, "Deleted", seconds=40)
    stage.gateway.saw(kept, namespace=stage.namespace, name="kept", commit="abc")
    await stage.kubelet.ends(kept_pod)
    await stage.sessions.phase("kept", "Succeeded", seconds=40)
    assert len(stage.job_names()) == 2
