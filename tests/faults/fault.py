"""Scripted faults: what goes wrong, at which call, and which time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

from tests.faults.call import Call


class Kill(Enum):
    """The client's process dies (kill -9)."""

    BEFORE = "before"
    """The server never hears of the call."""
    AFTER = "after"
    """The server has carried it out; its answer is never delivered."""


class Drop(Enum):
    """The client's connection is cut; the process lives."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy answers in the server's place, which never hears of the call."""

    status: int
    reason: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """The call is held back until `until` returns, then carried out."""

    until: Callable[[], Awaitable[object]]
    """Such as an event's `wait`."""


Deed = Kill | Drop | Answer | Delay
Deeds = Deed | Callable[[Call], Deed]
Times = Callable[[int], bool]
"""Which of the matching calls, counted from 1."""


def nth(number: int) -> Times:
    """That one alone."""
    return lambda count: count == number


def every_other(count: int) -> bool:
    """The first, the third, ...: each call fails at its first try and passes at its second."""
    return count % 2 == 1


def always(_: int) -> bool:
    """Every one."""
    return True


@dataclass(slots=True)
class Fault:
    """One rule. Calls are counted by what they do and, with `by_object`, to which object."""

    do: Deeds
    what: str = ""
    """`PATCH claudesessions/status`; empty: every write."""
    but: tuple[str, ...] = ()
    """Resources that are left in peace."""
    times: Times = always
    by_object: bool = False
    struck: list[Call] = field(default_factory=list)
    """Where it took effect."""
    _seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def deed(self, call: Call) -> Deed | None:
        """What to do to this call; counts it."""
        if call.what != self.what if self.what else not call.write:
            return None
        if call.resource in self.but:
            return None
        key = (call.what, call.namespace, call.name) if self.by_object else ("", "", "")
        self._seen[key] += 1
        if not self.times(self._seen[key]):
            return None
        self.struck.append(call)
        return self.do(call) if callable(self.do) else self.do
