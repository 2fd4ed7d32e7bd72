"""Which tests share a worker when `make test` runs them side by side.

A module's fixtures (a control plane, a gateway, a world) are made once, so a module stays together. Tests of
whole clusters stay together too, all of them: they look at what a machine holds (mounts, network devices,
processes), and two clusters at once cost more than they save. They are the longest, so they begin first.
"""

from __future__ import annotations

import pytest


# First of all but the folders' own, which say what needs a cluster: xdist's reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put each test into its group."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("cluster") is None)
    for item in items:
        whole = item.get_closest_marker("cluster") is not None
        item.add_marker(pytest.mark.xdist_group("cluster" if whole else item.path.as_posix()))
