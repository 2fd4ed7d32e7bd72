"""The outbox's rows and pace: what is owed stays owed until it is delivered or given up, whatever happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from claude_operator.gateway.outbox import queue
from claude_operator.gateway.outbox.delivery import Delivered, Delivery, GiveUp, Result, Retry, Wanted
from claude_operator.gateway.outbox.pace import Pace
from claude_operator.gateway.store.database import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from claude_operator.wire.internal import DeliveryRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PACE = Pace()


def wanted(uid: str = "s-1", *, kind: str = "notify", body: str = "{}", **more: str) -> Wanted:
    places = {"namespace": "team", "project": "default", "target": "https://hooks.example.com", **more}
    return Wanted(session_uid=uid, kind=kind, body=body, **places)


class Rows:
    """The queue on a database of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, *wants: Wanted, at: datetime = NOW) -> None:
        for one in wants:
            await self._store.write(partial(queue.put, wanted=one, now=at))

    async def due(self, at: datetime = NOW, most: int = 10, **but: Any) -> list[Delivery]:
        passed_over = {"but": (), "targets": (), "namespaces": (), **but}
        return await self._store.read(lambda connection: queue.due(connection, at, most, **passed_over))

    async def record(self, delivery: Delivery, result: Result, at: datetime = NOW) -> str | None:
        return await self._store.write(
            lambda connection: queue.record(connection, delivery, result, at, pace=PACE, chance=0)
        )

    async def of(self, uid: str = "s-1") -> DeliveryRecord:
        (found,) = await self._store.read(lambda connection: queue.of_session(connection, uid))
        return found

    async def prune(self, at: datetime) -> int:
        return await self._store.write(lambda connection: queue.prune(connection, at, PACE))


@pytest.fixture
async def rows(tmp_path: Path) -> AsyncIterator[Rows]:
    async with Store(f"sqlite:///{tmp_path / 'outbox.db'}") as store:
        yield Rows(store)


def test_the_pauses_double_from_ten_seconds_to_an_hour() -> None:
    pauses = [PACE.wait(n, asked=None, chance=0).total_seconds() for n in range(1, 13)]
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert PACE.wait(5000, asked=None, chance=1) == timedelta(seconds=2700)


def test_a_receiver_may_ask_for_patience_within_bounds() -> None:
    assert PACE.wait(1, asked=600, chance=0) == timedelta(seconds=600)
    assert PACE.wait(1, asked=1e9, chance=0) == timedelta(hours=1)
    assert PACE.wait(12, asked=1, chance=0) == timedelta(hours=1)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_failing_delivery_is_tried_for_a_day_at_least(chance: float) -> None:
    tries, age = 1, timedelta(0)
    while not PACE.over(tries, age):
        age += PACE.wait(tries, asked=None, chance=chance)
        tries += 1
    assert timedelta(days=1) <= age < timedelta(days=1, hours=1)
    assert tries > 24


async def test_what_fails_waits_and_is_given_up_after_a_day(rows: Rows) -> None:
    await rows.put(wanted())
    now, tries, state = NOW, 0, "waiting"
    while state == "waiting":
        (delivery,) = await rows.due(now)
        state = await rows.record(delivery, Retry("hooks.example.com answers 500"), now) or "gone"
        tries += 1
        assert await rows.due(now) == []
        now += PACE.wait(tries, asked=None, chance=0)

    record = await rows.of()
    assert (record.state, record.fault, record.tries) == ("given_up", "hooks.example.com answers 500", tries)
    assert now - NOW > timedelta(days=1)
    assert await rows.due(now + timedelta(days=9)) == []


async def test_a_day_without_a_gateway_is_no_day_of_tries(rows: Rows) -> None:
    await rows.put(wanted())
    later = NOW + timedelta(days=3)
    (delivery,) = await rows.due(later)
    assert await rows.record(delivery, Retry("no"), later) == "waiting"


async def test_gone_is_given_up_at_once(rows: Rows) -> None:
    await rows.put(wanted())
    (delivery,) = await rows.due()
    assert await rows.record(delivery, GiveUp("hooks.example.com answers 410")) == "given_up"


async def test_what_is_wanted_anew_replaces_what_waits(rows: Rows) -> None:
    await rows.put(wanted(body='"running"'))
    (first,) = await rows.due()
    await rows.put(wanted(body='"done"'))
    (second,) = await rows.due()

    assert (first.id, first.version, second.version) == (second.id, 1, 2)
    assert second.wanted.body == '"done"'


async def test_what_is_wanted_anew_during_a_try_is_delivered_after_it(rows: Rows) -> None:
    await rows.put(wanted(body='"running"'))
    (first,) = await rows.due()
    await rows.put(wanted(body='"done"'))

    assert await rows.record(first, Delivered(kept="comment-7")) == "waiting"
    (second,) = await rows.due()
    assert (second.wanted.body, second.kept) == ('"done"', "comment-7")
    assert await rows.record(second, Delivered()) == "delivered"
    assert await rows.due(NOW + timedelta(days=2)) == []

    await rows.put(wanted(body='"done, and more"'))
    (third,) = await rows.due()
    assert third.kept == "comment-7"


async def test_new_wishes_do_not_hurry_a_failing_receiver(rows: Rows) -> None:
    await rows.put(wanted())
    (delivery,) = await rows.due()
    await rows.record(delivery, Retry("no"))
    await rows.put(wanted(body='"newer"'))

    assert await rows.due(NOW + timedelta(seconds=9)) == []
    (delivery,) = await rows.due(NOW + timedelta(seconds=10))
    assert delivery.wanted.body == '"newer"'


async def test_kinds_are_apart_and_full_places_are_passed_over(rows: Rows) -> None:
    await rows.put(
        wanted("s-1"),
        wanted("s-1", kind="github", target="https://api.github.com"),
        wanted("s-2", namespace="other"),
    )
    every = await rows.due()
    assert len({one.id for one in every}) == 3
    assert len(await rows.due(but=[every[0].id])) == 2
    assert {one.wanted.kind for one in await rows.due(targets=["https://hooks.example.com"])} == {"github"}
    assert {one.wanted.session_uid for one in await rows.due(namespaces=["team"])} == {"s-2"}


async def test_what_has_ended_is_forgotten_after_days_and_what_waits_never(rows: Rows) -> None:
    await rows.put(wanted("s-1"), wanted("s-2"), wanted("s-3"))
    by_uid = {one.wanted.session_uid: one for one in await rows.due()}
    await rows.record(by_uid["s-1"], Delivered())
    await rows.record(by_uid["s-2"], GiveUp("gone"))

    assert await rows.prune(NOW + timedelta(days=6)) == 0
    assert await rows.prune(NOW + timedelta(days=8)) == 1
    assert await rows.prune(NOW + timedelta(days=31)) == 1
    assert (await rows.of("s-3")).state == "waiting"
