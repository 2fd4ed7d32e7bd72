"""One API server for all tests of GitHub's events."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import why_no_control_plane
from tests.integration.controller.conftest import prepared
from tests.integration.github.stage import Hub, open_hub


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    if reason := why_no_control_plane():
        pytest.skip(reason)
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as plane:
        prepared(plane)
        yield plane


@pytest.fixture
async def hub(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Hub]:
    async with open_hub(control_plane, tmp_path) as hub:
        yield hub
