"""`python -m tests.integration.controller.measure [sessions]`: how fast, and at what price.

Latencies are between two lines of the API server's audit log (the session's creation answered, the Job's
creation answered), so they hold whatever else this machine does but wait for it. Jobs and pods are real,
their kubelet is played.
"""

import asyncio
import os
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from tests.cluster.controlplane import ControlPlane
from tests.integration.controller.audit import Audit
from tests.integration.controller.conftest import prepared
from tests.integration.controller.stage import Stage, staged

IDLE = 60
PAUSE = 0.2


def latencies(stage: Stage, admin: Audit) -> list[float]:
    """Milliseconds from each session's creation to its Job's, sorted."""
    created, started = dict[str, datetime](), dict[str, datetime]()
    for audit, resource, times in (
        (admin, "claudesessions", created),
        (stage.audit, "jobs", started),
    ):
        for entry in audit.entries():
            reference = entry.get("objectRef", {})
            mine = reference.get("namespace") == stage.namespace and reference.get("resource") == resource
            if mine and entry["verb"] == "create":
                name = reference["name"].removesuffix("-1").rpartition("-")[0] or reference["name"]
                name = reference["name"] if resource == "claudesessions" else name
                times[name] = datetime.fromisoformat(entry["stageTimestamp"])
    return sorted((started[name] - created[name]).total_seconds() * 1000 for name in created)


def told(title: str, values: list[float]) -> None:
    p99 = values[min(len(values) - 1, round(len(values) * 0.99))]
    print(f"{title}: p50 {statistics.median(values):.1f} ms, p99 {p99:.1f} ms, n={len(values)}")


async def finish(stage: Stage, name: str, uid: str) -> None:
    pod = await stage.kubelet.pod(uid, seconds=300)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase(name, "Running", seconds=300)
    stage.gateway.saw(uid, namespace=stage.namespace, name=name, commit="c0ffee")
    await stage.kubelet.ends(pod)
    await stage.sessions.phase(name, "Succeeded", seconds=300)


async def idle(stage: Stage, admin: Audit) -> None:
    for number in range(IDLE):
        await stage.apply(f"idle-{number}", suspend=False)
        await asyncio.sleep(PAUSE)
    await stage.jobs.seen(IDLE)
    told("idle CR -> Job", latencies(stage, admin))


async def burst(stage: Stage, admin: Audit, count: int) -> None:
    loop = asyncio.get_running_loop()
    cpu, begun = stage.controller.cpu_seconds, loop.time()
    uids = await asyncio.gather(*(stage.apply(f"burst-{number}") for number in range(count)))
    created = loop.time()
    await stage.jobs.seen(count, seconds=300)
    started = loop.time()
    work = (finish(stage, f"burst-{number}", uid) for number, uid in enumerate(uids))
    await asyncio.gather(*work)
    ended = loop.time()
    print(f"burst of {count}: created in {created - begun:.2f} s, {count / (started - begun):.0f} Jobs/s")
    told("burst CR -> Job", latencies(stage, admin))
    spent = (stage.controller.cpu_seconds - cpu) * 1000 / count
    writes = sum(stage.audit.writes().values()) / count
    print(f"all finished after {ended - begun:.1f} s; controller CPU {spent:.2f} ms a session, "
          f"RSS {stage.controller.rss_mb:.0f} MB, {writes:.2f} writes a session, "
          f"gets {dict(stage.audit.gets())}")  # fmt: skip


async def main(folder: Path, plane: ControlPlane, count: int) -> None:
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    for name in ("idle", "burst"):
        admin = Audit(plane.audit_log, "admin")
        admin.restart()
        (folder / name).mkdir()
        async with staged(plane, folder / name) as stage:
            await stage.add_project()
            await stage.controller.start()
            await (idle(stage, admin) if name == "idle" else burst(stage, admin, count))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        with ControlPlane.start(root / "plane") as control_plane:
            prepared(control_plane)
            asyncio.run(main(root, control_plane, int(sys.argv[1]) if len(sys.argv) > 1 else 200))
