"""What the controller remembers of one session between two runs; a restart may lose all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_operator.engine.observation import GatewayFacts

if TYPE_CHECKING:
    from claude_operator.engine.observation import Proposal


@dataclass(slots=True)
class Memory:
    """Of one session."""

    gateway: GatewayFacts = field(default_factory=GatewayFacts)
    proposal: Proposal | None = None
    lost: int = 0
    """The highest attempt whose Job was looked for, and is not there."""
