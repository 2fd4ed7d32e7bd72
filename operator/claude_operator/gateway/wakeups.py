"""Telling who waits that something is new, within the process.

A waiter notes the count, looks into the database, and waits for a higher count: what comes between look and
wait is not missed. Several replicas will need the database's LISTEN/NOTIFY to feed this.
"""

from __future__ import annotations

import asyncio


class Wakeups:
    """Counts, by key, that can be waited for."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def count(self, key: str) -> int:
        """How often `key` has been notified."""
        return self._counts.get(key, 0)

    def notify(self, key: str) -> None:
        """Wake everyone who waits for `key`."""
        self._counts[key] = self.count(key) + 1
        for future in self._waiting.pop(key, set()):
            if not future.done():
                future.set_result(None)

    def notify_all(self) -> None:
        """Wake everyone: the process is about to stop."""
        for key in list(self._waiting):
            self.notify(key)

    async def wait(self, key: str, beyond: int, seconds: float) -> bool:
        """Wait until the count of `key` exceeds `beyond`; False: `seconds` have passed."""
        if self.count(key) > beyond:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(key, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        finally:
            waiting.discard(future)
            # Only our own empty set: notify() may have put a new one in its place.
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]
        return True
