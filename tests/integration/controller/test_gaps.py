"""Watches with a gap: 410 Gone, and what was deleted meanwhile is told by nobody; connections half open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.proxy import FaultProxy
from tests.integration.controller.process import ControllerProcess
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane

WATCHED = ("claudesessions", "claudeprojects", "jobs", "pods")


@asynccontextmanager
async def proxied(stage: Stage, folder: Path, **environment: str) -> AsyncIterator[FaultProxy]:
    """A project, and a controller that sees the cluster through a fault proxy."""
    await stage.add_project()
    async with FaultProxy.of_cluster(Path(stage.controller.environment["KUBECONFIG"])) as proxy:
        kubeconfig = str(proxy.kubeconfig(folder / "proxied"))
        told = {**stage.controller.environment, "KUBECONFIG": kubeconfig, **environment}
        stage.controller = ControllerProcess("proxied", folder / "proxied.log", told)
        await stage.controller.start()
        try:
            yield proxy
        finally:
            await stage.controller.kill()


async def test_what_was_deleted_in_the_gap_is_found_by_comparison(idle_stage: Stage, tmp_path: Path) -> None:
    async with proxied(idle_stage, tmp_path) as proxy:
        await gap(idle_stage, proxy)


async def test_watches_that_fall_silent_are_opened_again(idle_stage: Stage, tmp_path: Path) -> None:
    stage = idle_stage
    async with proxied(stage, tmp_path, CLAUDE_WATCH_SILENCE_SECONDS="2") as proxy:
        before = await stage.apply("before")
        first = await stage.kubelet.pod(before)
        await stage.kubelet.agent_starts(first)
        await stage.sessions.phase("before", "Running")
        assert proxy.views.watched == set(WATCHED)
        proxy.views.silence(*WATCHED)

        stage.gateway.saw(before, namespace=stage.namespace, name="before", commit="c0ffee")
        await stage.kubelet.ends(first)
        await stage.add_project("late")
        after = await stage.apply("after", project="late")

        # By the sessions' watch and the projects', which are kopf's, and by those of Jobs and pods.
        await stage.run_to_success(after, name="after")
        await stage.sessions.phase("before", "Succeeded")
        await stage.sessions.phase("after", "Succeeded")


async def gap(stage: Stage, proxy: FaultProxy) -> None:
    kept, lost = await stage.apply("kept"), await stage.apply("lost")
    # It has no Job whose end could give it away.
    idle = await stage.apply("idle", suspend=True)
    await stage.sessions.phase("idle", "Pending", reason="Suspended")
    kept_pod, lost_pod = await stage.kubelet.pod(kept), await stage.kubelet.pod(lost)
    for name, pod in (("kept", kept_pod), ("lost", lost_pod)):
        await stage.kubelet.agent_starts(pod)
        await stage.sessions.phase(name, "Running")
    await proxy.views.hold(*WATCHED)
    await stage.delete("lost")
    await stage.delete("idle")
    await stage.pods.gone(lost_pod["metadata"]["name"])
    stage.gateway.saw(kept, namespace=stage.namespace, name="kept", commit="abc")
    await stage.kubelet.ends(kept_pod)
    await proxy.views.expire(*WATCHED)

    await stage.sessions.phase("kept", "Succeeded")
    await stage.until_outcome(lost, "Deleted")
    await stage.until_outcome(idle, "Deleted")
    # Its Job may be seen to vanish before the session is: an attempt that is made then is nobody's.
    owned = {job["metadata"]["name"] for job in stage.jobs.objects.values()}
    assert not any(name.startswith(("lost", "idle")) for name in owned)
