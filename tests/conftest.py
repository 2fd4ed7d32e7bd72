"""Which tests share a worker when `make test` runs them side by side.

A module's fixtures (a control plane, a gateway, a world) are made once, so a module stays together. Tests of
whole clusters stay together too, all of them: they look at what a machine holds (mounts, network devices,
processes), and two clusters at once cost more than they save. They are the longest, so they begin first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typing_extensions import override
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

_CLUSTERS = ("tests/e2e/", "tests/integration/test_cluster")


class ByModule(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A worker takes a module at a time, and one of them takes all that bring up clusters."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        return "clusters" if nodeid.startswith(_CLUSTERS) else nodeid.partition("::")[0]


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByModule:
    """Asked by xdist, unless tests run in one process."""
    return ByModule(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In one process the quick ones stay first: there a mistake should show soon."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(_CLUSTERS))
