"""Whether one more model request fits under the caps. Pure.

A cap must hold against parallel requests, whose cost is known only when they end: each reserves the most
that it can cost. But a reservation (128,000 output tokens, by default) is far above what an answer costs,
and a session whose cap is below one reservation must still be able to work. So a request that does not fit
beside the others waits until they are settled; alone it is let through while anything is left. That way
what is spent exceeds a cap by less than one response, and no cap is refused before it is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_operator.resources.lifecycle import Reason


class Admission(Enum):
    """What becomes of a request."""

    GO = "go"
    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Gauge:
    """One cap: what it allows, what is gone, what is reserved."""

    limit: int
    spent: int
    reserved: int
    """By requests that are under way."""
    asked: int
    reason: Reason
    message: str
    """For the refusal: which cap, and what raises it."""

    @property
    def admission(self) -> Admission:
        """The decision of this cap alone."""
        if self.spent >= self.limit:
            return Admission.REFUSE
        if self.reserved and self.spent + self.reserved + self.asked > self.limit:
            return Admission.WAIT
        return Admission.GO


def decide(gauges: Iterable[Gauge]) -> tuple[Admission, Gauge | None]:
    """The strictest decision, and the cap that it comes from."""
    waiting = None
    for gauge in gauges:
        match gauge.admission:
            case Admission.REFUSE:
                return Admission.REFUSE, gauge
            case Admission.WAIT:
                waiting = gauge
            case Admission.GO:
                pass
    return (Admission.WAIT, waiting) if waiting else (Admission.GO, None)
