"""Room for the bodies of requests: so many bytes at once over all sessions, shared out fairly.

A session may send eight requests of 32 MiB at a time, and messages that grow fortyfold when they are parsed;
a few sessions that do would be the gateway's memory, and with it everybody's. What a request can come to is
taken here before its body is read, and given back as soon as it is passed on; who finds no room waits in the
pod, unread.

Whoever holds nothing yet comes first, in the order of asking; whoever asks for more gets it from one half of
the room, up to a quarter for one session. So a session, whatever it sends, does not keep another from its
first request. Room is taken once for each request, for the most that it can become: nobody waits for more
while holding some, so no two wait for each other. A bound for each session alone was rejected: it must be a
large share to be of use to one, and then a few together have everything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from claude_operator.gateway.errors import unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from claude_operator.telemetry.metrics import Metrics

WAIT_SECONDS: Final = 30.0
"""For room. Then 503, which CLI and runner repeat: a wait without end would look like a dead gateway."""
_PIECE: Final = 256 * 1024


@dataclass(slots=True, eq=False)
class _Waiter:
    session: str
    size: int
    granted: asyncio.Future[Held]


@dataclass(slots=True, eq=False)
class Held:
    """What one request has of the room."""

    session: str
    size: int
    first: bool
    """Whether its session held nothing else when it was given."""
    room: Room
    body: bytes = field(default=b"", init=False)

    def keep(self, body: bytes) -> None:
        """From now on it is these bytes alone."""
        self.body = body
        self.room.shrink(self, len(body))

    def outgoing(self) -> bytes | AsyncIterator[bytes]:
        """The bytes on their way: a large body in pieces, so that it holds up no other stream."""
        return self._pieces() if len(self.body) > _PIECE else self.body

    async def _pieces(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), _PIECE):
            yield self.body[start : start + _PIECE]
        self.release()  # sent: the answer may take minutes

    def release(self) -> None:
        """Give everything back; harmless when it was."""
        self.body = b""
        self.room.shrink(self, 0)


class Room:
    """The bytes of all sessions' bodies.

    Args:
        size: bytes in all.
        wait_seconds: how long a request waits.
        metrics: `body_bytes` is what is held, `body_refused_total` who waited in vain.
    """

    def __init__(self, size: int, *, wait_seconds: float, metrics: Metrics) -> None:
        self._size = size
        self._wait_seconds = wait_seconds
        self._metrics = metrics
        self._used = 0
        self._used_by_more = 0
        """By requests of sessions that held something already."""
        self._holding: Counter[str] = Counter()
        """Bytes by session."""
        self._waiting: list[_Waiter] = []

    @asynccontextmanager
    async def hold(self, session: str, size: int) -> AsyncIterator[Held]:
        """Room for a request, for as long as the block runs or it is released.

        Raises:
            Refusal: 503, there was none in time.
        """
        held = await self._take(session, max(1, min(size, self._size)))
        try:
            yield held
        finally:
            held.release()

    async def _take(self, session: str, size: int) -> Held:
        waiter = _Waiter(session, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._grant()
        try:
            async with asyncio.timeout(self._wait_seconds):
                return await waiter.granted
        except TimeoutError:
            self._abandon(waiter)
            self._metrics.count("body_refused_total")
            raise unavailable(
                f"the gateway's room for requests was full for {self._wait_seconds:g} s: try again"
            ) from None
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise

    def _abandon(self, waiter: _Waiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._grant()  # others may have waited behind it
        elif not waiter.granted.cancelled():
            waiter.granted.result().release()  # given in the very moment

    def shrink(self, held: Held, size: int) -> None:
        """It needs less from now on."""
        less = held.size - min(held.size, size)
        if not less:
            return
        held.size -= less
        self._used -= less
        if not held.first:
            self._used_by_more -= less
        self._holding[held.session] -= less
        if not self._holding[held.session]:
            del self._holding[held.session]
        self._metrics.set("body_bytes", self._used)
        self._grant()

    def _grant(self) -> None:
        # In the order of asking, and none past one that waits: a large request would never find its room.
        for waiter in [one for one in self._waiting if not self._holding[one.session]]:
            if self._holding[waiter.session]:
                continue  # by the one before it
            if self._used + waiter.size > self._size:
                return
            self._give(waiter, first=True)
        more = [one for one in self._waiting if self._holding[one.session]]
        for waiter in sorted(more, key=lambda one: self._holding[one.session]):
            if (
                self._used + waiter.size <= self._size
                and self._used_by_more + waiter.size <= self._size // 2
                and self._holding[waiter.session] + waiter.size <= self._size // 4
            ):
                self._give(waiter, first=False)

    def _give(self, waiter: _Waiter, *, first: bool) -> None:
        self._waiting.remove(waiter)
        if waiter.granted.cancelled():
            return  # it is on its way out
        self._used += waiter.size
        self._used_by_more += 0 if first else waiter.size
        self._holding[waiter.session] += waiter.size
        self._metrics.set("body_bytes", self._used)
        waiter.granted.set_result(Held(waiter.session, waiter.size, first, self))
