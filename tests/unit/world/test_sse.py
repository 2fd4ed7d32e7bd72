"""What a client puts together from the stream is the answer that it would have got in one piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.world.test_markers import steps
from tests.world.messages import Play, compose
from tests.world.request import MessagesRequest
from tests.world.script import Step, ToolCall, Usage
from tests.world.sse import assemble, events, parse

REQUEST = MessagesRequest.model_validate(
    {
        "model": "claude-x",
        "max_tokens": 10,
        "system": "working directory: /w",
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "seen"}]},
        ],
    }
)


def play(step: Step) -> Play:
    return Play(name="test", turn=1, index=0, step=step, usage=step.usage or Usage())


@given(step=steps, piece=st.none() | st.integers(1, 50))
def test_streamed_deltas_assemble_to_the_whole_answer(step: Step, piece: int | None) -> None:
    answer = compose(REQUEST, play(step.model_copy(update={"piece": piece})), seed="s")
    stream = b"".join(event.encode() for event in events(answer))
    assert assemble(parse(stream)) == answer.message


@given(step=steps, cut=st.floats(0, 1, exclude_max=True))
def test_a_stream_that_is_cut_anywhere_is_not_taken_for_an_answer(step: Step, cut: float) -> None:
    answer = compose(REQUEST, play(step), seed="s")
    stream = b"".join(event.encode() for event in events(answer))
    with pytest.raises(ValueError, match="breaks off"):
        assemble(parse(stream[: int(len(stream) * cut)]))


def test_the_events_come_in_the_order_of_the_real_stream() -> None:
    step = Step(
        thinking="hm",
        text=("ab",),
        tools=(ToolCall(name="Bash", input={"command": "ls"}),),
        usage=Usage(input_tokens=5, output_tokens=9, cache_read_input_tokens=7),
    )
    stream = list(events(compose(REQUEST, play(step), seed="s")))
    assert [event.name for event in stream] == [
        "message_start",
        *("content_block_start", "ping", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        "message_delta",
        "message_stop",
    ]
    assert all(event.data["type"] == event.name for event in stream)
    start, stop = stream[0].data["message"], stream[-2].data
    assert isinstance(start, dict)
    assert isinstance(start["usage"], dict)
    assert isinstance(stop["usage"], dict)
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert (start["usage"]["input_tokens"], start["usage"]["output_tokens"]) == (5, 1)
    assert stop["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert (stop["usage"]["output_tokens"], stop["usage"]["cache_read_input_tokens"]) == (9, 7)
    assert [
        event.data["delta"] for event in stream if event.data.get("index") == 2 and "delta" in event.data
    ] == [
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"command": "ls"}'},
    ]


def test_a_long_text_becomes_longer_pieces_not_ever_more_events() -> None:
    answer = compose(REQUEST, play(Step(text=("x" * 1_000_000,))), seed="s")
    stream = list(events(answer))
    assert len(stream) < 250
    assert assemble(stream) == answer.message
