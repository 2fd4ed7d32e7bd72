"""The little that the scripted model must remember: what has happened at a step before.

"Fails twice, then answers" cannot be read off the conversation, since a failed
request leaves no trace in it. The count belongs to one session, script and step;
so parallel sessions do not use up each other's faults. The memory is bounded:
the least recently used counts are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tests.world.script import Fault


class Ledger:
    """Counts by key, the least recently used forgotten beyond `capacity`."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._counts: OrderedDict[Hashable, int] = OrderedDict()

    def count(self, key: Hashable) -> int:
        """How often it was called with `key` before."""
        before = self._counts.pop(key, 0)
        self._counts[key] = before + 1
        if len(self._counts) > self._capacity:
            self._counts.popitem(last=False)
        return before

    def strikes(self, fault: Fault, key: Hashable, model: str) -> bool:
        """Whether `fault` strikes this request; if so, it is spent once."""
        if fault.models and model not in fault.models:
            return False
        return fault.times is None or self.count(key) < fault.times
