"""Events fit, arrive in order, are repeated until acknowledged, and hold the CLI back in time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner import events
from claude_operator.runner.events import EventSender, fit, size
from claude_operator.runner.gateway import Gateway, GatewayRefusedError, GatewayUnavailableError
from claude_operator.wire.message import MAX_EVENT_BYTES, MAX_EVENTS_PER_BATCH, ErrorBody
from claude_operator.wire.session import EventBatch, EventReceipt, PodEvent

if TYPE_CHECKING:
    from collections.abc import Callable

json_objects = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=30,
    ),
    max_size=8,
)


@given(json_objects, st.integers(200, 5000))
def test_whatever_is_too_large_fits_afterwards(data: dict[str, object], limit: int) -> None:
    fitted = fit(data, limit)
    assert size(fitted) <= limit
    if size(data) <= limit:
        assert fitted == data


def test_long_strings_lose_their_ends_and_short_ones_nothing() -> None:
    data = {"type": "user", "deep": [{"text": "ä" * 3_000_000}], "id": "kept"}
    fitted = fit(data)
    text = fitted["deep"][0]["text"]
    assert text.startswith("ää")
    assert text.endswith(f"… [{3_000_000 - 65536} characters left out]")
    assert (fitted["type"], fitted["id"]) == ("user", "kept")
    event = PodEvent(seq=10**9, time=events.utc_now(), type="cli.user", data=fitted)
    assert len(event.model_dump_json()) <= MAX_EVENT_BYTES


def test_a_large_event_without_long_strings_says_that_it_was_cut() -> None:
    fitted = fit({"type": "user", "many": list(range(200_000))})
    assert fitted["truncated"] is True
    assert fitted["type"] == "user"


def test_an_event_of_any_depth_can_be_sent() -> None:
    deep: dict[str, object] = {}
    for _ in range(900):
        deep = {"a": [deep]}
    event = PodEvent(seq=1, time=events.utc_now(), type="cli.user", data=fit(deep))
    assert "nested too deeply" in event.model_dump_json()


def test_what_utf8_cannot_spell_is_replaced() -> None:
    data = json.loads(r'{"a": "\ud800", "\udfff": [1]}')
    assert fit(data) == {"a": "?", "?": [1]}


class Peer:
    """The gateway's part in taking events, under the test's control."""

    def __init__(self) -> None:
        self.batches: list[EventBatch] = []
        self.seen = 0
        self.open = asyncio.Event()
        self.open.set()
        self.answer: Callable[[EventBatch], None] = lambda _: None

    async def send(self, batch: EventBatch) -> EventReceipt:
        await self.open.wait()
        self.answer(batch)
        self.batches.append(batch)
        assert batch.events[0].seq <= self.seen + 1, "a gap"
        self.seen = max(self.seen, batch.events[-1].seq)
        return EventReceipt(acknowledged=self.seen)


def sender(peer: Peer, told: list[str]) -> EventSender:
    return EventSender(
        cast("Gateway", peer),
        fenced=lambda text: told.append(f"fenced: {text}"),
        lost=lambda text: told.append(f"lost: {text}"),
        complain=lambda text: told.append(f"complaint: {text}"),
    )


async def test_all_arrive_in_order_in_batches() -> None:
    peer = Peer()
    peer.open.clear()
    sending = sender(peer, [])
    for number in range(1000):
        await sending.put("cli.x", {"n": number})
    running = asyncio.create_task(sending.run())
    peer.open.set()
    assert await sending.flush(10)
    found = [event for batch in peer.batches for event in batch.events]
    assert [(event.seq, event.data) for event in found] == [(n + 1, {"n": n}) for n in range(1000)]
    assert len(peer.batches) == 1000 // MAX_EVENTS_PER_BATCH
    running.cancel()


async def test_a_full_store_holds_the_reader_back_until_there_is_room() -> None:
    peer = Peer()
    peer.open.clear()
    sending = sender(peer, [])
    running = asyncio.create_task(sending.run())
    large = {"text": "x" * 200_000}
    accepted = 0

    async def fill() -> None:
        nonlocal accepted
        for _ in range(200):
            await sending.put("cli.x", large)
            accepted += 1

    filling = asyncio.create_task(fill())
    done, _ = await asyncio.wait({filling}, timeout=0.5)
    assert not done
    assert accepted * 200_000 <= events.STORE_BYTES + 400_000
    peer.open.set()
    await asyncio.wait_for(filling, 10)
    assert await sending.flush(10)
    assert peer.seen == 200
    assert all(len(batch.model_dump_json()) < 1 << 20 for batch in peer.batches)
    running.cancel()


async def test_flush_has_a_deadline() -> None:
    peer = Peer()
    peer.open.clear()
    sending = sender(peer, [])
    running = asyncio.create_task(sending.run())
    await sending.put("cli.x", {})
    assert not await sending.flush(0.05)
    running.cancel()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            GatewayRefusedError(403, ErrorBody(reason=Reason.CLAIM_REFUSED, message="later claim")),
            "fenced: later claim",
        ),
        (GatewayUnavailableError("gone"), "lost: gone"),
    ],
)
async def test_when_nothing_is_taken_any_more_nobody_waits(error: Exception, said: str) -> None:
    peer, told = Peer(), list[str]()

    def fail(_: EventBatch) -> None:
        raise error

    peer.answer = fail
    sending = sender(peer, told)
    await sending.put("cli.x", {})
    await asyncio.wait_for(sending.run(), 5)
    assert told == [said]
    for _ in range(300):
        await asyncio.wait_for(sending.put("cli.x", {"text": "x" * 200_000}), 1)
    assert not await sending.flush(1)


async def test_one_event_that_cannot_be_taken_does_not_hold_up_the_rest() -> None:
    peer, told = Peer(), list[str]()

    def fail(batch: EventBatch) -> None:
        if batch.events[0].type == "cli.bad":
            peer.seen = batch.events[0].seq  # the gap that will show
            raise GatewayRefusedError(422, ErrorBody(reason="InvalidEvent", message="no"))

    peer.answer = fail
    sending = sender(peer, told)
    await sending.put("cli.bad", {})
    await sending.put("cli.good", {})
    running = asyncio.create_task(sending.run())
    assert await sending.flush(5)
    assert [event.type for batch in peer.batches for event in batch.events] == ["cli.good"]
    assert told == ["complaint: the gateway takes no event like number 1 (cli.bad): no"]
    running.cancel()
