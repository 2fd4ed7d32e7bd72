"""What the attacks share: a gateway between stand-ins, a control plane, or a whole stack of their own.

Every attack is shown twice: where nothing stops it, and where the product does. A defence that is not seen
to matter may be none.
"""

from __future__ import annotations

import pytest

from tests.attack.stacks import namespace, outside, owner, stack, watch
from tests.integration.gateway.conftest import world

# Fixtures are found by name in the conftest of their users.
__all__ = ["namespace", "outside", "owner", "stack", "watch", "world"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "attack" in item.path.parts:
            item.add_marker(pytest.mark.attack)
            if "stack" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.cluster)
