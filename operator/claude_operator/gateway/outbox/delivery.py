"""What a kind of delivery is given, and what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that is owed on behalf of a session."""

    session_uid: str
    kind: str
    """Which function delivers it; also the first word of its journal entries."""
    namespace: str
    project: str
    target: str
    """Origin of the server it goes to: how much is sent there at once is bounded, and it is shown to people.
    It must hold no secret: no path, no query."""
    body: str
    """JSON, the kind's own; complete, so that every try says the same."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the queue that is to be tried now."""

    id: str
    """A UUID, the same over all tries and versions."""
    wanted: Wanted
    version: int
    """Counted from 1; rises when something else is wanted."""
    kept: str
    """What the kind asked to remember (`Delivered.kept`), over all versions; empty at first."""
    tries: int
    """Failed ones, since it was last delivered."""
    wanted_at: datetime
    """Since when this version is wanted."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""

    kept: str | None = None
    """Remember this for later versions; None: what was remembered before stays."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed, and a later try may succeed."""

    why: str
    """For people: names host and status, holds no credential and nothing that the host has sent."""
    after: float | None = None
    """Seconds that the receiver asked for; bounded by the pace."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No try will ever succeed."""

    why: str


Result = Delivered | Retry | GiveUp
Deliver = Callable[[Delivery], Awaitable[Result]]
"""Of one kind. What it raises counts as a Retry."""
