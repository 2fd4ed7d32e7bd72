"""Lines are lines however they arrive, and nothing that the CLI prints can break the reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.runner import stream
from claude_operator.runner.stream import (
    ApiFailure,
    ApiRetry,
    Init,
    LineSplitter,
    Reminded,
    Result,
    Said,
    ToolResults,
)

if TYPE_CHECKING:
    from claude_operator.wire.transcript import Event

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(), st.lists(st.integers(1, 20)))
def test_any_chunking_gives_the_same_lines(whole: bytes, sizes: list[int]) -> None:
    splitter, lines, rest = LineSplitter(), [], whole
    for size in sizes:
        lines += splitter.feed(rest[:size])
        rest = rest[size:]
    lines += splitter.feed(rest)
    lines += splitter.finish()
    expected = whole.split(b"\n")
    assert lines == (expected if expected[-1] else expected[:-1])


def test_a_line_of_twenty_megabytes_is_one_line() -> None:
    splitter = LineSplitter()
    blocks = [b"x" * 65536] * 320
    assert [line for block in blocks for line in splitter.feed(block)] == []
    assert splitter.feed(b"\nrest") == [b"".join(blocks)]
    assert splitter.finish() == [b"rest"]


@given(st.binary())
def test_foreign_bytes_are_text_at_worst(line: bytes) -> None:
    assert isinstance(stream.decode(line), dict | str | None)


@pytest.mark.parametrize(
    "line", [b"[1, 2]", b'{"cut": ', b"{" + b'"a":[' * 100_000, b'{"n": ' + b"9" * 5000 + b"}", b"warning"]
)
def test_what_is_no_object_is_kept_as_text(line: bytes) -> None:
    assert stream.decode(line) == line.decode().strip()


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["system", "user", "assistant", "result", "stream_event"])},
        optional={
            "subtype": st.sampled_from(["init", "api_retry", "success"]) | json_values,
            "message": json_values,
            "is_error": json_values,
            "errors": json_values,
            "mcp_servers": json_values,
            "num_turns": json_values,
            "structured_output": json_values,
            "error": json_values,
        },
    )
)
def test_events_of_any_shape_are_read_without_an_exception(event: Event) -> None:
    known = stream.read(event)
    if isinstance(known, Result):
        assert known.is_error is (event.get("is_error") is not False)


def test_the_known_events_are_recognised() -> None:
    assert stream.read(
        {
            "type": "system",
            "subtype": "init",
            "model": "m",
            "mcp_servers": [{"name": "a", "status": "failed"}, {"name": "b", "status": "connected"}],
        }
    ) == Init(model="m", failed_mcp_servers=("a",))
    retry = {
        "type": "system",
        "subtype": "api_retry",
        "attempt": 2,
        "error": "server_error",
        "error_status": 500,
    }
    assert stream.read(retry) == ApiRetry(attempt=2, error="server_error", status=500)
    tool = {"type": "user", "message": {"content": [{"type": "tool_result"}]}}
    assert stream.read(tool) == ToolResults()
    assert stream.read({"type": "user", "message": {"content": "hello"}}) is None
    assert stream.read({"type": "assistant", "error": "billing_error"}) == ApiFailure("billing_error")
    assert stream.read({"type": "assistant", "message": {}}) is None
    words = {"message": {"content": [{"type": "text", "text": "Done."}]}}
    assert stream.read({"type": "assistant", "parent_tool_use_id": None, **words}) == Said("Done.")
    assert stream.read({"type": "assistant", "parent_tool_use_id": "toolu_1", **words}) is None
    reminder = {"content": [{"type": "text", "text": "[structured-output-enforce] You MUST"}]}
    assert stream.read({"type": "user", "isSynthetic": True, "message": reminder}) == Reminded()
    assert stream.read({"type": "user", "message": reminder}) is None, "a person's words"
    assert stream.read({"type": "rate_limit_event"}) is None


def test_a_decoded_event_is_what_was_printed() -> None:
    event = {"type": "result", "result": "é\u2028 \ud83d\ude00"}
    assert stream.decode(json.dumps(event).encode()) == {"type": "result", "result": "é\u2028 😀"}


def test_a_string_without_a_utf8_form_is_read_as_one_that_has_it() -> None:
    told = {
        "type": "result",
        "is_error": False,
        "result": "\ud800",
        "structured_output": {"\udfff": ["\ud800"]},
    }
    event = stream.decode(json.dumps(told).encode())
    assert isinstance(event, dict)
    known = stream.read(event)
    assert isinstance(known, Result)
    assert (known.text, known.structured_output) == ("?", {"?": ["?"]})
