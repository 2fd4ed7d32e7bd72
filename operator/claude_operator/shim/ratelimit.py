"""How often a client may ask: fixed windows, one counter a key. Pure; the clock is the caller's.

A shim counts its own requests only: with two replicas a key gets up to twice as many. Counting in one place
would put a second moving part before every request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a client is told about its limit."""

    limit: int
    window: int
    """Seconds."""
    remaining: int
    reset: int
    """Seconds until the window ends, at least 1."""
    exceeded: bool

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-06 has them, and `Retry-After` where it counts."""
        headers = {
            "RateLimit-Policy": f"{self.limit};w={self.window}",
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return headers | {"Retry-After": str(self.reset)} if self.exceeded else headers


class RateLimiter:
    """Of all keys; memory grows with the number of keys alone."""

    def __init__(self, *, limit: int, window: int) -> None:
        self._limit = limit
        self._window = window
        self._counts: dict[str, tuple[float, int]] = {}

    def take(self, client: str, now: float) -> Allowance | None:
        """Count a request; None: there is no limit.

        Args:
            client: the name of its key.
            now: seconds of any clock that never goes back.
        """
        if self._limit <= 0:
            return None
        begun, count = self._counts.get(client, (now, 0))
        if now - begun >= self._window:
            begun, count = now, 0
        count += 1
        self._counts[client] = (begun, count)
        return Allowance(
            limit=self._limit,
            window=self._window,
            remaining=max(0, self._limit - count),
            reset=max(1, math.ceil(begun + self._window - now)),
            exceeded=count > self._limit,
        )
