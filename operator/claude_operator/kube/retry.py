"""The one retry policy: what may be repeated, when, and for how long.

Repeated are requests that were never carried out (no connection, 429), and repeatable ones whose fate is
unknown (no answer, 5xx). Everything else is the caller's to decide. The whole has one deadline, so no
caller waits longer than it says.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from claude_operator.kube.errors import ApiError

_GROWTH: Final = 2.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter, under a deadline; all times in seconds."""

    deadline: float = 30.0
    """From the first try: no further one starts after it."""
    first_delay: float = 0.1
    longest_delay: float = 5.0

    def delay(self, error: ApiError, *, tries: int, elapsed: float, repeatable: bool) -> float | None:
        """How long to wait before the next try; None: give up.

        Args:
            error: what the last try ended with.
            tries: how many there have been, counted from 1.
            elapsed: seconds since the first one began.
            repeatable: whether a repetition does no harm when the last try was carried out after all.
        """
        if not (error.status == 429 or (error.transient and repeatable)):  # noqa: PLR2004 - HTTP
            return None
        ceiling = min(self.longest_delay, self.first_delay * _GROWTH ** min(tries - 1, 16))
        wait = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing
        if error.retry_after is not None:
            wait = max(wait, error.retry_after)
        return wait if elapsed + wait <= self.deadline else None


ONCE: Final = RetryPolicy(deadline=0.0)
"""For callers that have a loop of their own (leases, watches)."""
