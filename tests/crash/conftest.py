"""One control plane for all cases; each has its own namespace."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.crash.cases import Theatre
from tests.crash.nursery import nursery
from tests.integration.controller.conftest import control_plane

__all__ = ["control_plane"]


@pytest.fixture
async def theatre(control_plane: ControlPlane) -> AsyncIterator[Theatre]:
    async with nursery() as launch:
        yield Theatre(control_plane, launch)
