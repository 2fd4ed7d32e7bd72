"""One stack for the whole suite: cluster, outside world, operator, as `make demo` has them.

Sessions run for seconds each, most of them waiting; so a module applies all of its sessions first, in a
namespace of its own, and its tests then look at one each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cluster.ability import why_no_cluster
from tests.cluster.cluster import NotUpError
from tests.cluster.files import lock
from tests.cluster.fixtures import TEST_CLUSTER
from tests.cluster.places import cache_dir
from tests.e2e.api import Api
from tests.e2e.namespace import Namespace
from tests.e2e.outside import OutsideView
from tests.e2e.watch import SessionWatch
from tests.stack.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_VARIABLE = "CLAUDE_OPERATOR_E2E_STACK"
"""Names a stack to use and to leave standing, for whoever works on these tests."""
NAME = f"{TEST_CLUSTER}-e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.cluster)


# Of the package: other tests bring up clusters too, and two at once are dear.
@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Everything up, until a session can be applied."""
    if reason := why_no_cluster():
        pytest.skip(reason)
    if kept := os.environ.get(KEPT_VARIABLE):
        yield Stack.up(kept)
        return
    with lock(cache_dir() / "locks" / NAME, purpose="end-to-end tests of this checkout"):
        _remove_leftovers()
        try:
            yield Stack.up(NAME)
        finally:
            _remove_leftovers()


def _remove_leftovers() -> None:
    try:
        found = Stack.find(NAME)
    except NotUpError:
        return
    found.down()


@pytest.fixture(scope="package")
def outside(stack: Stack) -> OutsideView:
    return OutsideView(stack.outside.state)


@pytest.fixture(scope="package")
def watch(stack: Stack) -> Iterator[SessionWatch]:
    made = SessionWatch(stack.cluster.kubeconfig)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def api(stack: Stack, watch: SessionWatch) -> Api:
    return Api(stack, watch)


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest, stack: Stack, watch: SessionWatch) -> Iterator[Namespace]:
    """Named after the module."""
    topic = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    made = Namespace.make(stack, watch, topic)
    yield made
    made.remove()
