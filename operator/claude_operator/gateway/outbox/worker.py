"""Who tries what is owed, when: one loop over the due rows, many deliveries at once, each on its own.

No receiver may hold up another, so what is under way is bounded for each target and each namespace, and rows
beyond a bound are passed over, not waited for. That a row is under way is known to this process alone: after
a kill it is simply due again, and the receiver tells a repetition by the delivery's id. One gateway has the
database, so nobody else takes the row meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from claude_operator.gateway.clock import utc_now
from claude_operator.gateway.errors import Refusal, StoreUnavailableError
from claude_operator.gateway.outbox import queue
from claude_operator.gateway.outbox.delivery import Delivered, Retry
from claude_operator.wire.internal import DeliveryState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claude_operator.gateway.outbox.delivery import Deliver, Delivery, Result
    from claude_operator.gateway.outbox.pace import Pace
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.wakeups import Wakeups
    from claude_operator.telemetry.metrics import Metrics

_LONGEST_REST: Final = 60.0
_MOST_SECONDS: Final = 60.0
"""For one try of any kind; a kind sets shorter limits itself."""
_FAULT_SECONDS: Final = 2.0
"""Pause when the database can't be read, or can't be written after a try."""
_LAST_SECONDS: Final = 5.0
"""What is under way may end when the gateway stops; what does not is repeated by the next one."""
_PRUNE_SECONDS: Final = 3600.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outbox:
    """The worker; `run` is its life."""

    store: Store
    wakeups: Wakeups
    metrics: Metrics
    pace: Pace
    kinds: Mapping[str, Deliver]
    _under_way: dict[str, Delivery] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _pruned_at: float = float("-inf")

    async def run(self) -> None:
        """Deliver what is due, without end."""
        try:
            while True:
                # In this order: a row that comes between the look and the rest has raised the count.
                seen = self.wakeups.count(queue.WAKEUP)
                try:
                    if not await self._start_due():
                        await self.wakeups.wait(queue.WAKEUP, seen, await self._rest())
                except StoreUnavailableError as error:
                    _log.error("the outbox can't be read: %s", error)
                    await asyncio.sleep(_FAULT_SECONDS)
        finally:
            await self._end()

    async def _start_due(self) -> int:
        """Begin what is due and has room; how many that were."""
        room = self.pace.at_once - len(self._under_way)
        if room <= 0:
            return 0
        now = utc_now()
        busy = list(self._under_way.values())
        targets = Counter(one.wanted.target for one in busy)
        namespaces = Counter(one.wanted.namespace for one in busy)
        but = list(self._under_way)
        full = [name for name, count in targets.items() if count >= self.pace.per_target]
        crowded = [name for name, count in namespaces.items() if count >= self.pace.per_namespace]
        found = await self.store.read(
            lambda connection: queue.due(connection, now, room, but=but, targets=full, namespaces=crowded)
        )
        started = 0
        for delivery in found:
            wanted = delivery.wanted
            if (
                targets[wanted.target] >= self.pace.per_target
                or namespaces[wanted.namespace] >= self.pace.per_namespace
            ):
                continue
            targets[wanted.target] += 1
            namespaces[wanted.namespace] += 1
            self._under_way[delivery.id] = delivery
            task = asyncio.create_task(self._try(delivery), name=f"deliver-{delivery.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            started += 1
        return started

    async def _rest(self) -> float:
        """Housekeeping; seconds until something becomes due by itself."""
        now = utc_now()
        if time.monotonic() - self._pruned_at > _PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            await self.store.write(lambda connection: queue.prune(connection, now, self.pace))
        left = await self.store.read(lambda connection: queue.waiting(connection, now))
        self.metrics.set("deliveries_waiting", left.count)
        if left.next_at is None:
            return _LONGEST_REST
        return min(_LONGEST_REST, max(0.001, (left.next_at - utc_now()).total_seconds()))

    async def _try(self, delivery: Delivery) -> None:
        try:
            result = await self._result(delivery)
            state = await self._note(delivery, result)
            self._tell(delivery, result, state)
        except Exception:  # noqa: BLE001 - nobody awaits this task
            # The row is still due: without a pause we would hammer on its receiver.
            _log.exception("delivery %s can't be noted", delivery.id)
            await asyncio.sleep(_MOST_SECONDS)
        finally:
            self._under_way.pop(delivery.id, None)
            self.wakeups.notify(queue.WAKEUP)
            self.wakeups.notify(delivery.wanted.session_uid)

    async def _note(self, delivery: Delivery, result: Result) -> DeliveryState | None:
        """Write down how it went, however long the database can't: sending it again would be the worse."""
        chance = random.random()  # noqa: S311 - jitter
        while True:
            now = utc_now()
            try:
                return await self.store.write(
                    partial(
                        queue.record, delivery=delivery, result=result, now=now, pace=self.pace, chance=chance
                    )
                )
            except StoreUnavailableError as error:
                _log.error("delivery %s can't be noted yet: %s", delivery.id, error)
                await asyncio.sleep(_FAULT_SECONDS)

    async def _result(self, delivery: Delivery) -> Result:
        deliver = self.kinds.get(delivery.wanted.kind)
        if deliver is None:
            return Retry(
                f"this version of the gateway knows no deliveries of the kind {delivery.wanted.kind}"
            )
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                return await deliver(delivery)
        except TimeoutError:
            return Retry(f"{delivery.wanted.target} took more than {_MOST_SECONDS:.0f} s")
        except (Refusal, StoreUnavailableError) as error:
            return Retry(str(error))
        except Exception:  # noqa: BLE001 - one delivery that we can't handle must not end the others'
            _log.exception("delivery %s (%s) failed here", delivery.id, delivery.wanted.kind)
            return Retry("an error within the gateway; its log tells more")

    def _tell(self, delivery: Delivery, result: Result, state: DeliveryState | None) -> None:
        kind, uid = delivery.wanted.kind, delivery.wanted.session_uid
        if isinstance(result, Delivered):
            self.metrics.count("deliveries", kind=kind, result="delivered")
            return
        word = "given_up" if state is DeliveryState.GIVEN_UP else "failed"
        self.metrics.count("deliveries", kind=kind, result=word)
        if state is DeliveryState.GIVEN_UP:
            _log.warning(
                "%s of session %s to %s is given up: %s", kind, uid, delivery.wanted.target, result.why
            )

    async def _end(self) -> None:
        if self._tasks:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._tasks, timeout=_LAST_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
