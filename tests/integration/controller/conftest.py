"""A real control plane (API server, Job controller, garbage collector), without a scheduler or nodes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cluster.ability import why_no_control_plane
from tests.cluster.controlplane import ControlPlane
from tests.integration.controller.stage import Stage, staged

CRDS = Path(__file__).parents[3] / "crds"


def prepared(plane: ControlPlane) -> None:
    """Install the CRDs, and see to it that only tests move pods."""
    plane.kubectl.run("apply", "--server-side", "-f", str(CRDS))
    plane.kubectl.run("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    # The garbage collector looks for new kinds every 30 s, and at its start.
    plane.process("kube-controller-manager").stop()
    plane.up()
    plane.process("kube-scheduler").stop()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With the CRDs; tests play the kubelet, so nobody may call their pods unschedulable."""
    if reason := why_no_control_plane():
        pytest.skip(reason)
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as plane:
        prepared(plane)
        yield plane


@pytest.fixture
async def idle_stage(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Stage]:
    """A namespace without a project, whose controller is not running."""
    async with staged(control_plane, tmp_path) as stage:
        yield stage


@pytest.fixture
async def stage(idle_stage: Stage) -> AsyncIterator[Stage]:
    """A namespace with a project that is ready, and a controller that runs."""
    await idle_stage.add_project()
    await idle_stage.controller.start()
    yield idle_stage
    # Nothing that a test does may make a run fail by surprise.
    log = idle_stage.controller.log.read_text()
    assert "Traceback" not in log, idle_stage.controller.tail()
