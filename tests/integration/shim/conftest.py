"""A real API server with the CRDs; the shim is a real process in front of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.controller.conftest import control_plane
from tests.integration.shim.stage import Stage, staged

# Fixtures are found by name in the module that uses them.
__all__ = ["control_plane"]


@pytest.fixture
async def idle_stage(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Stage]:
    """A namespace whose shim is not running."""
    async with staged(control_plane, tmp_path) as stage:
        yield stage


@pytest.fixture
async def stage(idle_stage: Stage) -> AsyncIterator[Stage]:
    """A namespace and a shim that runs."""
    await idle_stage.shim.start()
    yield idle_stage
    # Nothing that a test does may make a handler fail by surprise.
    log = idle_stage.shim.log.read_text()
    assert "Traceback" not in log, idle_stage.shim.tail()
