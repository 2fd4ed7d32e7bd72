"""The log for people: short, and harmless to the terminal that shows it."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from claude_operator.wire import transcript
from tests.unit.runner.test_stream import json_values


@given(st.text())
def test_no_character_that_a_terminal_obeys_survives(text: str) -> None:
    for line in transcript.lines(text, 1000):
        assert all(unicodedata.category(one) not in {"Cc", "Cs", "Zl", "Zp"} for one in line)
        assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def test_escapes_are_shown_and_umlauts_left_alone() -> None:
    assert (
        transcript.neutralise("\x1b[2J\tgrün 👩‍🚀\u202e\x9b\x00") == "\\x1b[2J    grün 👩‍🚀\\u202e\\x9b\\x00"
    )


def test_long_texts_are_cut_and_say_so() -> None:
    found = list(transcript.lines("\n".join(["x" * 1000] * 50), 3))
    assert [len(line) for line in found[:3]] == [302] * 3
    assert found[3] == "… 47 more lines"


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["system", "user", "assistant", "result"])},
        optional={
            "subtype": st.sampled_from(["init", "api_retry"]),
            "message": json_values,
            "result": json_values,
        },
    )
)
def test_events_of_any_shape_can_be_described(event: dict[str, object]) -> None:
    assert all(isinstance(line, str) for line in transcript.describe(event))


def test_a_tool_call_and_its_failure() -> None:
    call = {
        "type": "tool_use",
        "name": "Bash",
        "input": {"command": "make\nmake test", "description": "Build"},
    }
    assert transcript.describe({"type": "assistant", "message": {"content": [call]}}) == [
        "> Bash make",
        "    make test",
    ]
    outcome = {"type": "tool_result", "is_error": True, "content": [{"type": "text", "text": "no rule"}]}
    assert transcript.describe({"type": "user", "message": {"content": [outcome]}}) == ["x no rule"]
