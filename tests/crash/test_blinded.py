"""Watches that end with 410 while things vanish in the gap; an API server that restarts in mid-session."""

import asyncio
from pathlib import Path

import pytest

from claude_operator.kube.kinds import JOBS
from tests.crash.cases import Theatre, scene
from tests.crash.scenarios import running, works
from tests.faults.fault import Delay, Fault
from tests.integration.controller.stage import Stage

pytestmark = [pytest.mark.crash]

WATCHED = ("claudesessions", "claudeprojects", "jobs", "pods")


async def finished(stage: Stage, name: str, uid: str) -> None:
    """What runs there ends well."""
    pod = await stage.kubelet.pod(uid)
    stage.gateway.saw(uid, namespace=stage.namespace, name=name, commit="c0ffee")
    await stage.kubelet.ends(pod)
    await stage.sessions.phase(name, "Succeeded")


async def test_410_hides_deletions(theatre: Theatre, tmp_path: Path) -> None:
    async with scene(theatre, tmp_path / "scene") as one:
        stage, (replica,) = one.stage, one.replicas
        await replica.process.start()
        names = ("kept", "deleted", "robbed", "waits")
        uids = {name: await stage.apply(name, suspend=name == "waits") for name in names}
        await asyncio.gather(*(running(stage, name, uids[name]) for name in names[:3]))
        await stage.sessions.phase("waits", "Pending", reason="Suspended")

        await replica.api.views.hold(*WATCHED)
        for name in ("deleted", "waits"):
            await stage.delete(name)
        robbed = next(name for name in stage.job_names() if name.startswith("robbed"))
        await stage.client.delete(JOBS, robbed, namespace=stage.namespace)
        for pod in [name for name in stage.pods.objects if not name.startswith("kept")]:
            await stage.pods.gone(pod)
        await replica.api.views.expire(*WATCHED)

        await stage.until_outcome(uids["deleted"], "Deleted")
        await stage.until_outcome(uids["waits"], "Deleted", seconds=30)
        await works(stage, "robbed", uids["robbed"], attempt=2)
        await finished(stage, "kept", uids["kept"])
        ending = await one.close()
        assert ending.jobs == {"kept/1": 1, "deleted/1": 1, "robbed/1": 1, "robbed/2": 1}
        assert [each["reason"] for each in ending.statuses["robbed"]["attempts"]] == ["JobLost", "Completed"]


async def test_the_api_server_restarts(theatre: Theatre, tmp_path: Path) -> None:
    async with scene(theatre, tmp_path / "scene") as one:
        stage, (replica,) = one.stage, one.replicas
        await replica.process.start()
        runs, starts = await stage.apply("runs"), await stage.apply("starts")
        await running(stage, "runs", runs)
        await stage.kubelet.pod(starts)
        # Not in a thread of its own: what a thread starts here dies with it.
        stage.plane.process("kube-apiserver").kill()
        stage.plane.up()
        stage.plane.process("kube-scheduler").stop()
        await finished(stage, "runs", runs)
        await works(stage, "starts", starts)
        ending = await one.close()
        assert ending.jobs == {"runs/1": 1, "starts/1": 1}
        assert ending.steps == {"POST jobs": 2, "PATCH claudesessions/status": 4}
        assert replica.process.running.returncode is None, "it need not restart for that"


@pytest.mark.parametrize("late", ["claudeprojects", "pods", "jobs"])
async def test_a_restart_decides_nothing_before_all_is_listed(
    theatre: Theatre, tmp_path: Path, late: str
) -> None:
    async with scene(theatre, tmp_path / "scene") as one:
        stage, (replica,) = one.stage, one.replicas
        await replica.process.start()
        uid = await stage.apply("one")
        pod = await stage.kubelet.pod(uid)
        # This status is written after 2 s: by now the first one counts as older than the next process.
        await stage.apply("idle", suspend=True)
        await stage.sessions.phase("idle", "Pending", reason="Suspended")
        await replica.process.kill()
        await stage.kubelet.agent_starts(pod)

        listed = asyncio.Event()
        replica.api.arm(Fault(Delay(listed.wait), what=f"GET {late}"))
        before = len(replica.api.passed)
        await replica.start()
        rest = {each for each in WATCHED if each != late}
        async with asyncio.timeout(20):
            # The last lists are the sweeper's; it waits until kopf has delivered everything.
            while not rest <= replica.api.views.watched:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        if late != "claudeprojects":
            # A session that is younger than the process waits for neither, and comes after the first one.
            await stage.apply("young", suspend=True)
            await stage.sessions.phase("young", "Pending", reason="Suspended")
            await stage.delete("young")
        await stage.delete("idle")
        listed.set()
        await stage.sessions.phase("one", "Running")
        await finished(stage, "one", uid)
        ending = await one.close()
        assert ending.steps == {"POST jobs": 1, "PATCH claudesessions/status": 1 + len(ending.ways)}
        first = stage.sessions.versions["one"][1]["status"]
        assert (first["phase"], first["model"]) == ("Running", ending.statuses["one"]["model"])
        refused = [each for each in replica.api.passed[before:] if each.call.write and each.status >= 400]
        assert refused == []
