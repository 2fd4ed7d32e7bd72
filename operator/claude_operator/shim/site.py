"""What a dialect is given: the core, the door, the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aiohttp import web

    from claude_operator.shim.core.report import Reporter
    from claude_operator.shim.core.sessions import Sessions
    from claude_operator.shim.dialects.github.worker import Worker
    from claude_operator.shim.door import Door
    from claude_operator.shim.settings import Settings
    from claude_operator.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Site:
    """Of one server."""

    settings: Settings
    sessions: Sessions
    reporter: Reporter
    door: Door
    metrics: Metrics
    github: Worker
    """Works at GitHub's events."""


class Dialect(Protocol):
    """One HTTP API."""

    provider: str
    """Its name under /api/webhooks."""
    handlers: int
    """How many operations it has."""

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        ...

    def openapi(self) -> dict[str, Any]:
        """Its `paths` and `components`."""
        ...
