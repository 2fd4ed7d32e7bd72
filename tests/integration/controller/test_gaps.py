"""410 Gone: a watch can't be resumed, and what was deleted in the gap is told by nobody."""

from pathlib import Path

import pytest

from tests.faults.proxy import FaultProxy
from tests.integration.controller.process import ControllerProcess
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane

WATCHED = ("claudesessions", "claudeprojects", "jobs", "pods")


async def test_what_was_deleted_in_the_gap_is_found_by_comparison(idle_stage: Stage, tmp_path: Path) -> None:
    stage = idle_stage
    await stage.add_project()
    async with FaultProxy.of_cluster(Path(stage.controller.environment["KUBECONFIG"])) as proxy:
        kubeconfig = str(proxy.kubeconfig(tmp_path / "proxied"))
        stage.controller = ControllerProcess(
            "proxied", tmp_path / "proxied.log", {**stage.controller.environment, "KUBECONFIG": kubeconfig}
        )
        await stage.controller.start()
        try:
            await gap(stage, proxy)
        finally:
            await stage.controller.kill()


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
