"""Events on their way to the gateway: in order, none lost, in bounded memory.

Each event gets its number when it is accepted; batches are sent one after the other and repeated until
the gateway has acknowledged them, which it does by number, so a repetition doubles nothing. While a
request is under way the next batch gathers. When the gateway is away and the store is full, `put`
waits: the reader of the CLI's output waits with it, and the CLI behind its full pipe. Dropping events
instead would make the record a liar.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from claude_operator.runner.gateway import GatewayRefusedError, GatewayUnavailableError
from claude_operator.runner.wellformed import clean
from claude_operator.wire.message import MAX_EVENT_BYTES, MAX_EVENTS_PER_BATCH
from claude_operator.wire.session import EventBatch, PodEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_operator.runner.gateway import Gateway

STORE_BYTES = 16 << 20
"""How much waits at most before the CLI has to wait as well."""
BATCH_BYTES = 768 << 10
"""Of one request, below the 1 MiB that a chunk may have too."""
MOST_STALLS = 30
"""Answers in a row that acknowledge nothing new, before the gateway counts as lost."""
_STALL_SECONDS = 1.0
_ENVELOPE_BYTES = 512
_LONGEST_STRING = 64 << 10
_SHORTEST_STRING = 64


def utc_now() -> str:
    """RFC 3339 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fit(data: dict[str, Any], limit: int = MAX_EVENT_BYTES - _ENVELOPE_BYTES) -> dict[str, Any]:
    """`data`, with its longest strings shortened until its JSON has at most `limit` bytes.

    The limit for strings is halved until it fits. An event that is large without long strings keeps
    only its first level of short values, and says so.
    """
    data = clean(data)
    if size(data) <= limit:
        return data
    longest = _LONGEST_STRING
    while longest >= _SHORTEST_STRING:
        shortened = _shorten(data, longest)
        assert isinstance(shortened, dict)
        if size(shortened) <= limit:
            return shortened
        longest //= 2
    kept: dict[str, Any] = {"truncated": True, "bytes": size(data)}
    for key, value in data.items():
        if isinstance(value, str | int | float) or value is None:
            candidate = {**kept, key[:200]: _shorten(value, 200)}
            if size(candidate) <= limit:
                kept = candidate
    return kept


def size(data: object) -> int:
    """Bytes of the JSON form."""
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _shorten(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        left_out = len(value) - longest
        return value if left_out <= 0 else f"{value[:longest]}… [{left_out} characters left out]"
    if isinstance(value, list):
        return [_shorten(one, longest) for one in value]
    if isinstance(value, dict):
        return {key: _shorten(one, longest) for key, one in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class _Stored:
    event: PodEvent
    bytes: int


class EventSender:
    """The store and the one task that empties it."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        fenced: Callable[[str], None],
        lost: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        """`fenced` and `lost` are told why nothing can be sent any more; `complain` gets what went wrong."""
        self._gateway = gateway
        self._fenced = fenced
        self._lost = lost
        self._complain = complain
        self._stored: deque[_Stored] = deque()
        self._bytes = 0
        self._seq = 0
        self._changed = asyncio.Condition()
        self._closed = False
        self._stalled = 0

    async def put(self, kind: str, data: dict[str, Any]) -> None:
        """Accept an event; waits while the store is full."""
        fitted = fit(data)
        weight = size(fitted) + _ENVELOPE_BYTES
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._bytes < STORE_BYTES)
            if self._closed:
                return  # nobody takes events any more; `fenced` or `lost` has said why
            self._seq += 1
            event = PodEvent(seq=self._seq, time=utc_now(), type=kind[:100], data=fitted)
            self._stored.append(_Stored(event, weight))
            self._bytes += weight
            self._changed.notify_all()

    async def run(self) -> None:
        """Send until cancelled, or until the gateway takes nothing any more."""
        while not self._closed:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._stored))
            try:
                await self._send(self._batch())
            except GatewayRefusedError as error:
                if not error.fenced:
                    await self._forget_bad(error)
                    continue
                await self._close()
                self._fenced(error.message)
            except GatewayUnavailableError as error:
                await self._close()
                self._lost(error.message)

    async def flush(self, within: float) -> bool:
        """Wait until everything is acknowledged; False when that took longer than `within` seconds."""
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: self._closed or not self._stored)
        except TimeoutError:
            return False
        return not self._stored

    def _batch(self) -> list[_Stored]:
        batch: list[_Stored] = []
        total = 0
        for one in self._stored:
            if batch and (total + one.bytes > BATCH_BYTES or len(batch) == MAX_EVENTS_PER_BATCH):
                break
            batch.append(one)
            total += one.bytes
        return batch

    async def _send(self, batch: list[_Stored]) -> None:
        receipt = await self._gateway.send(EventBatch(events=[one.event for one in batch]))
        if receipt.acknowledged < batch[0].event.seq:
            self._stalled += 1
            if self._stalled == MOST_STALLS:
                raise GatewayUnavailableError("the gateway takes events but never acknowledges them")
            await asyncio.sleep(_STALL_SECONDS)
            return
        self._stalled = 0
        # Acknowledged by number: after a lost answer the record may be further than this batch's start.
        await self._forget(min(receipt.acknowledged, batch[-1].event.seq))

    async def _forget(self, seq: int) -> None:
        async with self._changed:
            while self._stored and self._stored[0].event.seq <= seq:
                self._bytes -= self._stored.popleft().bytes
            self._changed.notify_all()

    async def _forget_bad(self, error: GatewayRefusedError) -> None:
        # One event that the gateway cannot take must not hold up all that follow. Its number stays
        # missing, so the gap can be seen.
        first = self._stored[0].event
        self._complain(f"the gateway takes no event like number {first.seq} ({first.type}): {error.message}")
        await self._forget(first.seq)

    async def _close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
