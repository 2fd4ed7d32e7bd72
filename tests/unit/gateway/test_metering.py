"""Reading what a response used, its price, and the decision under the caps."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.gateway.model.gauge import Admission, Gauge, decide
from claude_operator.gateway.model.leak import DeltaScrubber
from claude_operator.gateway.model.pricing import PRICES, price_of
from claude_operator.gateway.model.sse import (
    MOST_EVENT_BYTES,
    EventSplitter,
    StreamError,
    UsageReader,
    event_data,
    render,
)
from claude_operator.gateway.model.usage import Spent, Tokens, read_usage, spent
from claude_operator.gateway.scrub import Scrubber, held_back
from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.project import Price as ProjectPrice

COUNTS = st.integers(0, 10**7)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


def read(data: bytes, sizes: list[int]) -> UsageReader:
    splitter, usage = EventSplitter(), UsageReader()
    for piece in cut(data, sizes):
        for event in splitter.feed(piece):
            found = event_data(event)
            if found is not None:
                usage.observe(found)
    return usage


@given(
    tokens=st.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    sizes=st.lists(st.integers(0, 40)),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    repeated=st.booleans(),
)
def test_usage_is_read_to_the_token_however_the_stream_is_cut(
    tokens: Tokens, sizes: list[int], end: bytes, repeated: bool
) -> None:
    inputs = {
        "input_tokens": tokens.input,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
    }
    last = {**(inputs if repeated else {}), "output_tokens": tokens.output}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {**inputs, "output_tokens": 1}}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "data: {\n\n"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last},
        {"type": "message_stop"},
    ]
    data = b": a comment\n\n" + b"".join(map(render, events))

    usage = read(data.replace(b"\n", end), sizes)

    assert usage.complete
    assert usage.tokens == tokens


@given(st.binary(max_size=300), st.lists(st.integers(0, 9)))
def test_any_bytes_pass_the_splitter_unchanged(data: bytes, sizes: list[int]) -> None:
    splitter = EventSplitter()
    events = [event for piece in cut(data, sizes) for event in splitter.feed(piece)]

    assert b"".join(events) + splitter.rest == data
    for event in events:
        found = event_data(event)
        if found is not None:
            UsageReader().observe(found)


def test_an_event_without_end_is_an_error() -> None:
    splitter = EventSplitter()
    splitter.feed(b"x" * MOST_EVENT_BYTES)
    with pytest.raises(StreamError, match="larger"):
        splitter.feed(b"x")


def test_a_stream_that_ends_early_is_not_complete() -> None:
    usage = read(render({"type": "message_start", "message": {"usage": {"input_tokens": 5}}}), [])

    assert usage.started
    assert not usage.complete
    assert usage.tokens.input == 5


@pytest.mark.parametrize(
    "usage", [{}, {"input_tokens": None}, {"input_tokens": "7"}, {"input_tokens": -7}, {"cache_creation": 5}]
)
def test_foreign_shapes_count_as_nothing(usage: dict[str, Any]) -> None:
    assert read_usage(usage) == Tokens()


@given(st.lists(st.tuples(st.sampled_from(sorted(PRICES)), COUNTS, COUNTS), max_size=30))
def test_sums_are_exact_in_any_order(responses: list[tuple[str, int, int]]) -> None:
    parts = []
    for model, inputs, outputs in responses:
        price = price_of(model)
        assert price is not None
        tokens = Tokens(input=inputs, output=outputs)
        parts.append(spent(tokens, price.cost(tokens)))

    forward, backward = sum(parts, Spent()), sum(reversed(parts), Spent())

    assert forward == backward
    assert forward.turns == len(parts)
    assert abs(forward.to_usage().cost_usd - forward.cost_nanousd / 1e9) <= 5.1e-7


@given(st.sampled_from(sorted(PRICES)), st.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
def test_a_reservation_covers_every_mix_of_kinds(model: str, tokens: Tokens) -> None:
    price = price_of(model)
    assert price is not None

    assert price.cost(tokens) <= price.most(tokens.total - tokens.output, tokens.output)


def test_dated_names_and_the_project_s_own_prices() -> None:
    assert price_of("claude-haiku-4-5-20251001") == PRICES["claude-haiku-4-5"]
    assert price_of("claude-nothing") is None
    own = ProjectPrice(model="claude-haiku-4-5", input=1, output=2, cache_read=0.5, cache_write=3)
    price = price_of("claude-haiku-4-5", [own])
    assert price is not None
    assert price.cost(Tokens(1, 1, 2, 1, 1)) == 1000 + 2000 + 1000 + 3000 + 3000


def gauge(limit: int, spent_: int, reserved: int, asked: int) -> Gauge:
    return Gauge(limit, spent_, reserved, asked, Reason.BUDGET_EXCEEDED, "full")


@given(
    limit=st.integers(1, 1000),
    costs=st.lists(st.integers(0, 100), min_size=1, max_size=40),
    order=st.randoms(use_true_random=False),
)
def test_parallel_requests_never_exceed_a_cap_by_more_than_one_response(
    limit: int, costs: list[int], order: Any
) -> None:
    most = 100
    total, running, waiting = 0, list[int](), list(costs)
    while waiting or running:
        admitted = False
        if waiting:
            admission, _ = decide([gauge(limit, total, most * len(running), most)])
            if admission is Admission.REFUSE:
                waiting.clear()
            elif admission is Admission.GO:
                running.append(waiting.pop())
                admitted = True
            else:
                assert running, "a request waits for nobody"
        if running and (not admitted or order.random() < 0.5):
            total += running.pop(order.randrange(len(running)))

    assert total < limit + most
    if total < limit:
        assert total == sum(costs), "a request was refused before the cap was reached"


def test_the_strictest_cap_decides() -> None:
    going, waiting, full = gauge(10, 0, 0, 99), gauge(10, 5, 3, 3), gauge(10, 10, 0, 1)
    assert decide([going]) == (Admission.GO, None)
    assert decide([going, waiting]) == (Admission.WAIT, waiting)
    assert decide([waiting, full, going]) == (Admission.REFUSE, full)


SECRET = "sk-ant-secret-0123456789"


@given(
    before=st.text("sk-ant012 é", max_size=40),
    after=st.text("sk-ant012 é", max_size=40),
    sizes=st.lists(st.integers(1, 12), max_size=30),
)
def test_bytes_keep_their_length_and_lose_the_secret(before: str, after: str, sizes: list[int]) -> None:
    data = f"{before}{SECRET}{after}".encode()
    scrub = Scrubber([SECRET.encode()])

    clean = b"".join(scrub.feed(piece) for piece in cut(data, sizes)) + scrub.flush()

    assert len(clean) == len(data)
    assert SECRET.encode() not in clean
    assert clean == data.replace(SECRET.encode(), b"*" * len(SECRET))


@given(st.binary(max_size=30), st.lists(st.binary(min_size=1, max_size=8), max_size=3).map(tuple))
def test_only_a_true_beginning_is_held_back(text: bytes, values: tuple[bytes, ...]) -> None:
    keep = held_back(text, values)
    assert keep == max(
        (n for value in values for n in range(1, len(value)) if n <= len(text) and text.endswith(value[:n])),
        default=0,
    )


@given(
    before=st.text('sk-ant012 é"\\', max_size=30),
    after=st.text('sk-ant012 é"\\', max_size=30),
    sizes=st.lists(st.integers(1, 7), max_size=40),
)
def test_a_secret_that_is_spread_over_deltas_does_not_come_out(
    before: str, after: str, sizes: list[int]
) -> None:
    text = f"{before}{SECRET}{after}"
    clean = DeltaScrubber(Scrubber([SECRET.encode()]))
    pieces, start = [], 0
    for size in [*sizes, len(text)]:
        pieces.append(text[start : start + size])
        start += size
    events: list[dict[str, Any]] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in pieces
    ]
    events.append({"type": "content_block_stop", "index": 0})

    out = b"".join(clean.pass_on(render(event), event) for event in events)

    splitter = EventSplitter()
    seen = [orjson.loads(event.split(b"data: ", 1)[1]) for event in splitter.feed(out)]
    joined = "".join(one["delta"]["text"] for one in seen if one["type"] == "content_block_delta")
    assert joined == text.replace(SECRET, "*" * len(SECRET))
    assert seen[-1]["type"] == "content_block_stop"


def test_an_event_that_needs_no_change_is_passed_as_it_was() -> None:
    clean = DeltaScrubber(Scrubber([SECRET.encode()]))
    raw = (
        b'event:content_block_delta\ndata: {"type":"content_block_delta", "index":0,'
        b'"delta":{"type":"text_delta","text":"abc"}}\n\n'
    )

    assert clean.pass_on(raw, event_data(raw)) == raw
