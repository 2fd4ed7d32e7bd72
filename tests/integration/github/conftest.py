"""One API server for all tests of GitHub's events."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.controller.conftest import control_plane
from tests.integration.github.stage import Hub, open_hub

# Fixtures are found by name in the module that uses them.
__all__ = ["control_plane"]


@pytest.fixture
async def hub(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Hub]:
    async with open_hub(control_plane, tmp_path) as hub:
        yield hub
