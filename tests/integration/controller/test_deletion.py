"""kubectl delete of a session that is not finished: nothing runs on, and its tokens are void."""

import pytest

from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_while_it_runs(stage: Stage) -> None:
    uid = await stage.apply("regretted")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("regretted", "Running")
    await stage.delete("regretted")
    await stage.pods.gone(pod["metadata"]["name"])
    # One more session, whose end comes after all that the deletion has caused.
    other = await stage.apply("next")
    await stage.run_to_success(other, name="next")
    await stage.sessions.phase("next", "Succeeded")
    assert stage.gateway.outcomes[uid].phase == "Deleted"
    assert [name for name in stage.job_names() if name.startswith("regretted")] == stage.jobs.deleted
    assert len(stage.jobs.deleted) == 1, "never run again"


async def test_while_the_controller_is_away(stage: Stage) -> None:
    uid = await stage.apply("regretted")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("regretted", "Running")
    await stage.controller.kill()
    # As with a finalizer of somebody else's on the Job: it is still there when the controller comes back.
    job = stage.job_names()[0]
    await stage.hold(job)
    await stage.delete("regretted")
    await stage.controller.start()
    await stage.until_outcome(uid, "Deleted")
    await stage.release(job)
    await stage.jobs.gone(job)
    assert stage.job_names() == [job]


async def test_and_made_anew_under_the_same_name(stage: Stage) -> None:
    first = await stage.apply("phoenix")
    pod = await stage.kubelet.pod(first)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase("phoenix", "Running")
    await stage.delete("phoenix")
    second = await stage.apply("phoenix")
    await stage.run_to_success(second, name="phoenix")
    await stage.sessions.phase("phoenix", "Succeeded")
    await stage.until_outcome(first, "Deleted")
    assert stage.gateway.outcomes[second].phase == "Succeeded"
    assert len(stage.job_names()) == 2
