"""When a failed delivery is tried again, and when it is given up. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

_DAY = 24 * 3600.0
_JITTER = 0.25
"""Share of each wait that is left to chance: receivers that come back are not met by all at once."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, and bounds on what is sent at once."""

    first: float = 10.0
    """Before the second try; doubled before each further one."""
    longest: float = 3600.0
    """Between two tries."""
    patience: float = _DAY
    """A delivery that is younger is never given up for failing."""
    fewest: int = 12
    """Nor one with fewer tries: a gateway that was down for a day has not tried for a day."""
    try_seconds: float = 10.0
    """For one request of a try, up to its answer's headers."""
    at_once: int = 64
    per_namespace: int = 32
    """Half of them: who starts sessions in one namespace can't hold up the others with slow receivers."""
    per_target: int = 4
    keep_delivered: float = 7 * _DAY
    keep_given_up: float = 30 * _DAY

    def wait(self, tries: int, *, asked: float | None, chance: float) -> timedelta:
        """The pause after the `tries`-th failure.

        Args:
            tries: failures so far, from 1 on.
            asked: seconds that the receiver wants to be left alone, if it said so.
            chance: from 0 to 1.
        """
        # Beyond 32 doublings it is the longest anyway, and a float of 2**2000 is none.
        step = min(self.longest, self.first * 2.0 ** min(tries - 1, 32))
        jittered = step * (1 - _JITTER * chance)
        return timedelta(seconds=max(jittered, min(asked or 0.0, self.longest)))

    def over(self, tries: int, age: timedelta) -> bool:
        """Whether it is given up after its `tries`-th failure, `age` after it was wanted."""
        return tries >= self.fewest and age.total_seconds() >= self.patience
