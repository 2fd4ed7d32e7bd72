"""The key queue: which session is looked at next, never two at once for the same one.

client-go's work queue, on asyncio. A key that is added while it waits is there once; one that is added while
it is being worked on comes again once afterwards; of several due times the earliest counts; a failure
comes back after an exponential pause with jitter. So a handler may add as often as it likes, and work is
proportional to what changed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[None]]

FIRST_BACKOFF: Final = 0.2
"""Seconds before a failed key is tried again; doubles with each failure in a row."""
LONGEST_BACKOFF: Final = 30.0
"""Short enough that all is well half a minute after an outage."""
_MAX_DOUBLINGS: Final = 16


class Again(Exception):  # noqa: N818 - not an error: the normal word for "come back after a pause"
    """Raised by a reconcile that can't go on now; the key comes back after its back-off."""


class WorkQueue:
    """Keys, each with at most one run at a time."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._queued: dict[str, float] = {}
        """Waiting for a worker, with the loop's time of their arrival; in order of arrival."""
        self._active: set[str] = set()
        self._dirty: set[str] = set()
        """Added while active."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._queued)

    @property
    def delayed(self) -> int:
        """Keys with a due time in the future."""
        return len(self._timers)

    @property
    def oldest(self) -> float:
        """Seconds that the first waiting key has waited."""
        first = next(iter(self._queued.values()), None)
        return 0.0 if first is None else asyncio.get_running_loop().time() - first

    def add(self, key: str) -> None:
        """Look at it as soon as a worker is free."""
        if key in self._active:
            self._dirty.add(key)
        elif key not in self._queued:
            self._queued[key] = asyncio.get_running_loop().time()
            self._ready.put_nowait(key)

    def add_after(self, key: str, seconds: float) -> None:
        """Look at it in so many seconds, unless it is due earlier already."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    async def run(self, reconcile: Reconcile, *, workers: int) -> None:
        """Work, for ever; cancelling it ends the runs under way."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(reconcile), name=f"worker-{number}")

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    async def _work(self, reconcile: Reconcile) -> None:
        while True:
            key = await self._ready.get()
            del self._queued[key]
            # What a run decides includes when to look again: an older due time is void.
            if timer := self._timers.pop(key, None):
                timer.cancel()
            self._active.add(key)
            try:
                await reconcile(key)
            except Again as reason:
                log.info("%s: %s", key, reason)
                self._back_off(key)
            except Exception:
                # Whatever is wrong with one session must not stop the others; it is tried again.
                log.exception("%s: the run failed", key)
                self._back_off(key)
            else:
                self._failures.pop(key, None)
            finally:
                self._active.discard(key)
            if key in self._dirty:
                self._dirty.discard(key)
                self.add(key)

    def _back_off(self, key: str) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures, _MAX_DOUBLINGS))
        self.add_after(key, random.uniform(ceiling / 2, ceiling))  # noqa: S311 - spreads load, guards nothing
