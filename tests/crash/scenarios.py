"""Lives of sessions, played by user, kubelet and runner: they wait for what is, not for how it came to be."""

from collections.abc import Awaitable, Callable

from claude_operator.kube.kinds import JOBS
from tests.integration.controller.kubelet import Pod
from tests.integration.controller.stage import Stage

Play = Callable[[Stage], Awaitable[None]]

SAVED = '{"reason": "Cancelled", "message": "saved"}'
CONFUSED = '{"reason": "AgentError", "message": "no idea"}'


async def running(stage: Stage, name: str, uid: str, *, attempt: int = 1) -> Pod:
    """Its pod, once the agent has started and the status says so."""
    pod = await stage.kubelet.pod(uid, attempt=attempt)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.find(
        lambda item: (
            item["metadata"]["name"] == name
            and item["status"]["phase"] == "Running"
            and item["status"]["attempts"][-1]["number"] == attempt
        ),
        what=f"{name} to run its attempt {attempt}",
    )
    return pod


async def works(stage: Stage, name: str, uid: str, *, attempt: int = 1) -> None:
    """It runs, pushes and ends well."""
    pod = await running(stage, name, uid, attempt=attempt)
    stage.gateway.saw(uid, namespace=stage.namespace, name=name, attempt=attempt, commit="c0ffee")
    await stage.kubelet.ends(pod)
    await stage.sessions.phase(name, "Succeeded")


async def succeeds(stage: Stage) -> None:
    await works(stage, "one", await stage.apply("one"))


async def with_a_dependency(stage: Stage) -> None:
    """The dependent comes first, and waits so long that its status says it."""
    second = await stage.apply("second", dependencies=[{"name": "first"}])
    await stage.sessions.phase("second", "Waiting", reason="WaitingForDependencies")
    await works(stage, "first", await stage.apply("first"))
    await works(stage, "second", second)


async def dependency_fails(stage: Stage) -> None:
    """The dependent never starts."""
    await stage.apply("second", dependencies=[{"name": "first"}])
    pod = await running(stage, "first", await stage.apply("first"))
    await stage.kubelet.ends(pod, exit_code=1, message=CONFUSED)
    await stage.sessions.phase("first", "Failed")
    await stage.sessions.phase("second", "Failed", reason="DependencyFailed")


async def cancelled_while_running(stage: Stage) -> None:
    """The runner is told, and has time to save its work."""
    uid = await stage.apply("one")
    pod = await running(stage, "one", uid)
    await stage.change("one", cancel=True)
    await stage.sessions.phase("one", "Running", reason="Cancelling")
    stage.gateway.saw(uid, namespace=stage.namespace, name="one", commit="c0ffee")
    await stage.kubelet.ends(pod, exit_code=1, message=SAVED)
    await stage.sessions.phase("one", "Cancelled")


async def cancelled_while_starting(stage: Stage) -> None:
    """Nothing runs that could save anything: its Job is deleted, after its end is on record."""
    uid = await stage.apply("one")
    await stage.kubelet.pod(uid)
    await stage.change("one", cancel=True)
    done = await stage.sessions.phase("one", "Cancelled")
    await stage.jobs.gone(done["status"]["attempts"][0]["job"])


async def does_not_start_in_time(stage: Stage) -> None:
    """The Job is deleted only after its end is on record: else it would look lost, and be tried again."""
    uid = await stage.apply("one", startDeadlineSeconds=10)
    await stage.kubelet.pod(uid)
    done = await stage.sessions.phase("one", "Failed", reason="StartDeadlineExceeded", seconds=40)
    await stage.jobs.gone(done["status"]["attempts"][0]["job"])


async def fails(stage: Stage) -> None:
    pod = await running(stage, "one", await stage.apply("one"))
    await stage.kubelet.ends(pod, exit_code=1, message=CONFUSED)
    await stage.sessions.phase("one", "Failed", reason="AgentError")


async def retried_after_its_node_was_lost(stage: Stage) -> None:
    uid = await stage.apply("one")
    pod = await running(stage, "one", uid)
    await stage.kubelet.node_is_lost(pod)
    await works(stage, "one", uid, attempt=2)


async def retried_after_its_job_was_deleted(stage: Stage) -> None:
    uid = await stage.apply("one")
    await running(stage, "one", uid)
    await stage.client.delete(JOBS, stage.job_names()[0], namespace=stage.namespace)
    await works(stage, "one", uid, attempt=2)


async def deleted_while_running(stage: Stage) -> None:
    uid = await stage.apply("one")
    pod = await running(stage, "one", uid)
    stage.gateway.saw(uid, namespace=stage.namespace, name="one")
    await stage.delete("one")
    await stage.pods.gone(pod["metadata"]["name"])
    await stage.until_outcome(uid, "Deleted")


RACES: dict[Play, tuple[str, ...]] = {
    # Whether the Job's deletion is seen before the session's is a race of two watches: if it is, the attempt
    # is closed as lost before the session is found to be gone.
    deleted_while_running: ("closed",),
    # Whether the last look before the deadline saw it starting for 10 s.
    does_not_start_in_time: ("ways",),
}
"""Parts of an ending that may differ from run to run, faults or not."""

ALL: tuple[Play, ...] = (
    succeeds,
    with_a_dependency,
    dependency_fails,
    cancelled_while_running,
    cancelled_while_starting,
    does_not_start_in_time,
    fails,
    retried_after_its_node_was_lost,
    retried_after_its_job_was_deleted,
    deleted_while_running,
)
