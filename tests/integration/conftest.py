"""A real API server for every module that asks for one."""

from collections.abc import Iterator

import pytest

from tests.cluster.build import GoMissingError
from tests.cluster.controlplane import ControlPlane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own, with the controller manager."""
    try:
        plane = ControlPlane.start(tmp_path_factory.mktemp("plane"))
    except GoMissingError as error:
        pytest.skip(str(error))
    with plane:
        yield plane
