"""The shim beside the real controller: statuses are what really happens. The Job controller is real too."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import from_kubeconfig
from tests.cluster.controlplane import ControlPlane
from tests.integration.controller import stage as controlled
from tests.integration.shim.process import Client, ShimProcess
from tests.integration.shim.record import TOKEN, Record
from tests.integration.shim.stage import Stage

pytestmark = pytest.mark.controlplane

Both = tuple[controlled.Stage, Stage]


@pytest.fixture
async def both(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Both]:
    """A namespace with a ready project, a controller and a shim."""
    async with controlled.staged(control_plane, tmp_path) as below:
        await below.add_project()
        await below.controller.start()
        record = Record()
        await record.start()
        token = tmp_path / "shim-token"
        token.write_text(TOKEN)
        shim = ShimProcess(
            tmp_path / "shim.log",
            {
                "KUBECONFIG": str(control_plane.kubeconfig),
                "CLAUDE_SHIM_NAMESPACE": below.namespace,
                "CLAUDE_NAMESPACES": below.namespace,
                "CLAUDE_GATEWAY_INTERNAL_URL": record.url,
                "CLAUDE_GATEWAY_TOKEN_FILE": str(token),
            },
        )
        async with (
            KubeClient(from_kubeconfig(control_plane.kubeconfig)) as kube,
            aiohttp.ClientSession() as http,
        ):
            await shim.start()
            api = Client(shim.url, http)
            try:
                yield below, Stage(control_plane, kube, below.namespace, tmp_path, record, shim, api)
            finally:
                await shim.clean_up()
                await record.stop()


async def uid_of(stage: Stage, session_id: str) -> str:
    return str((await stage.object(session_id))["metadata"]["uid"])


async def test_a_session_goes_all_the_way(both: Both) -> None:
    below, stage = both
    session_id = (await stage.api.create()).session["id"]
    # Nothing runs before somebody says so.
    assert (await stage.api.on("get", session_id)).session["status"] == "pending"
    assert below.job_names() == []
    await stage.api.on("start", session_id)
    uid = await uid_of(stage, session_id)
    pod = await below.kubelet.pod(uid)
    assert (await stage.api.on("get", session_id)).session["status"] == "initializing"
    await below.kubelet.agent_starts(pod)
    running = await stage.shows(session_id, status="running")
    assert running["containerId"] == pod["metadata"]["name"]
    assert running["startedAt"] is not None
    below.gateway.saw(uid, namespace=below.namespace, name=session_id, commit="c0ffee")
    await below.kubelet.ends(pod)
    done = await stage.shows(session_id, status="completed")
    assert done["completedAt"] is not None
    assert [one["sha"] for one in done["output"]["artifacts"]] == ["c0ffee"]


async def test_dependents_wait_start_by_themselves_and_fail_with_what_they_need(both: Both) -> None:
    below, stage = both
    first = (await stage.api.create(options={"autoStart": True})).session["id"]
    second = await stage.api.create(dependencies=[first], options={"autoStart": True})
    third = await stage.api.create(dependencies=[second.session["id"]], options={"autoStart": True})
    assert second.session["status"] == third.session["status"] == "pending"
    await below.run_to_success(await uid_of(stage, first), name=first)
    await stage.shows(second.session["id"], status="initializing")
    pod = await below.kubelet.pod(await uid_of(stage, second.session["id"]))
    await below.kubelet.agent_starts(pod)
    await stage.shows(second.session["id"], status="running")
    await below.kubelet.ends(pod, exit_code=1, message='{"reason": "AgentError", "message": "gave up"}')
    failed = await stage.shows(second.session["id"], status="failed")
    assert "AgentError" in failed["error"]
    dependent = await stage.shows(third.session["id"], status="failed")
    assert second.session["id"] in dependent["error"]


async def test_cancel_and_retry(both: Both) -> None:
    below, stage = both
    session_id = (await stage.api.create()).session["id"]
    await stage.api.on("cancel", session_id)
    await stage.shows(session_id, status="cancelled")
    assert below.job_names() == []
    assert (await stage.api.on("start", session_id)).status == 409
    retried = await stage.api.on("retry", session_id)
    assert retried.session["id"] == session_id
    [again] = [one for one in await stage.objects() if one["metadata"]["name"] != session_id]
    await below.run_to_success(again["metadata"]["uid"], name=again["metadata"]["name"])
    await stage.shows(session_id, status="completed")
