"""GitHub's events at the gateway's internal port, as the shim uses them (wire/github.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.wire.github import DELIVERIES_PATH, Deliveries, Done, Facts

if TYPE_CHECKING:
    from claude_operator.record.gateway import Gateway
    from claude_operator.wire.github import Arrival, FactsWanted


@dataclass(frozen=True, slots=True)
class GitHubRecord:
    """Every method raises GatewayUnavailable."""

    gateway: Gateway

    async def arrive(self, arrival: Arrival) -> Deliveries:
        """Have an event verified and kept; what is new is ours to work at."""
        return await self.gateway.ask(DELIVERIES_PATH, Deliveries, arrival)

    async def take(self) -> Deliveries:
        """What nobody works at; ours from now on."""
        return await self.gateway.ask(f"{DELIVERIES_PATH}/take", Deliveries)

    async def facts(self, serial: int, wanted: FactsWanted) -> Facts:
        """What GitHub tells about a delivery's repository."""
        return await self.gateway.ask(f"{DELIVERIES_PATH}/{serial}/facts", Facts, wanted)

    async def done(self, serial: int, done: Done) -> None:
        """Nothing is left to do about it."""
        await self.gateway.tell(f"{DELIVERIES_PATH}/{serial}/done", done)
