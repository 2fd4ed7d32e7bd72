"""pytest's way in: `from tests.cluster.fixtures import cluster, control_plane` in a conftest.

The control plane is made once per test session, the cluster once per module that asks: it is dear to keep.
What a machine can't do is skipped with the reason; what it can do and fails at is an error.
"""

from collections.abc import Iterator
from hashlib import sha256

import pytest

from tests.cluster.ability import why_no_cluster, why_no_control_plane
from tests.cluster.cluster import Cluster, NotUpError
from tests.cluster.controlplane import ControlPlane
from tests.cluster.files import lock
from tests.cluster.places import REPOSITORY, cache_dir

# One per checkout: what a killed run has left behind is found by its name, and removed by the next.
TEST_CLUSTER = f"tests-{sha256(str(REPOSITORY).encode()).hexdigest()[:8]}"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with controller manager and scheduler, but without a node."""
    if reason := why_no_control_plane():
        pytest.skip(reason)
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A whole cluster, brought up for these tests and taken down after them."""
    if reason := why_no_cluster():
        pytest.skip(reason)
    with lock(cache_dir() / "locks" / TEST_CLUSTER, purpose="testing from this checkout"):
        remove_leftovers()
        try:
            yield Cluster.up(TEST_CLUSTER)
        finally:
            remove_leftovers()


def remove_leftovers() -> None:
    """Take the test cluster down, if there is one, in whatever state."""
    try:
        found = Cluster.find(TEST_CLUSTER)
    except NotUpError:
        return
    found.down()
