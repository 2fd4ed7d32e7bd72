"""A script is found wherever it stands in a prompt, and nothing else is taken for one."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.world.markers import inline, markers
from tests.world.script import Delay, Drop, Error, Script, ScriptError, Step, ToolCall, Usage, read_inline

if TYPE_CHECKING:
    from pydantic import JsonValue

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
surroundings = st.text().filter(lambda text: "[" not in text)
usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 10**9),
    output_tokens=st.integers(0, 10**9),
    cache_read_input_tokens=st.integers(0, 10**9),
)
steps = st.builds(
    Step,
    text=st.lists(st.text(), max_size=3).map(tuple),
    thinking=st.none() | st.text(),
    tools=st.lists(
        st.builds(
            ToolCall,
            name=st.text(min_size=1, max_size=20),
            input=st.dictionaries(st.text(), json_values, max_size=3),
        ),
        max_size=2,
    ).map(tuple),
    usage=st.none() | usages,
    error=st.none() | st.builds(Error, status=st.integers(400, 599), times=st.none() | st.integers(1, 9)),
    drop=st.none() | st.builds(Drop, after_events=st.integers(0, 50)),
    delay=st.builds(Delay, before=st.floats(0, 100)),
)
scripts = st.builds(Script, steps=st.lists(steps, max_size=3).map(tuple), then=st.text(), usage=usages)


@given(before=surroundings, value=json_values, indent=st.sampled_from([None, 2]), after=surroundings)
def test_any_json_is_read_back_from_amid_other_text(
    before: str, value: JsonValue, indent: int | None, after: str
) -> None:
    text = f"{before}[[script: {json.dumps(value, indent=indent, ensure_ascii=False)} ]]{after}"
    (found,) = markers(text)
    assert found.kind == "script"
    assert found.value == value


@given(script=scripts, before=surroundings)
def test_a_script_built_in_code_is_the_script_that_is_played(script: Script, before: str) -> None:
    (found,) = markers(before + inline(script))
    assert read_inline(found.value).script == script


pieces = st.sampled_from(
    ["[[script:", "[[scenario:", "]]", "[", "{", '"', "}", "x", ":", "0", "\n"]
) | st.text(max_size=3)


@given(text=st.lists(pieces).map("".join))
def test_whatever_a_prompt_holds_is_read_or_refused_in_words(text: str) -> None:
    with suppress(ScriptError):
        found = list(markers(text))
        assert len(found) <= text.count("[[script:") + text.count("[[scenario:")


def test_closing_brackets_and_markers_inside_strings_belong_to_the_script() -> None:
    inner = "[[scenario:sub-agent]] a]]b [[script: {}]]"
    text = f"[[script: {json.dumps({'steps': [], 'then': inner})}]] then [[scenario:after]]"
    first, second = markers(text)
    assert read_inline(first.value).script.then == inner
    assert (second.kind, second.name) == ("scenario", "after")


def test_a_list_is_the_steps() -> None:
    (found,) = markers('[[script: [{"text": "one"}, {"text": ["two", "three"]}]]]')
    assert [step.text for step in read_inline(found.value).script.steps] == [("one",), ("two", "three")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[script: {"steps": [}]]', "Expecting value at character 11"),
        ('[[script: {"steps": []} and more]]', "expects ]] after the JSON, not ' and more]]'"),
        ("[[script: " + "[" * 100_000, "nested too deeply"),
        ("[[script: " + "9" * 5000, "a number that is too long"),
        ("[[scenario:../../etc/passwd]]", "expects a name"),
        ("[[scenario:first-session", "expects a name and then ]]"),
    ],
)
def test_a_broken_marker_says_where_it_is_broken(text: str, complaint: str) -> None:
    with pytest.raises(ScriptError) as caught:
        list(markers(text))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"stepz": []}, "stepz: Extra inputs are not permitted"),
        ([{"error": {"status": 200}}], "steps.0.error.status: Input should be greater than or equal to 400"),
        (
            [
                {
                    "usage": {
                        "cache_creation_input_tokens": 3,
                        "cache_creation": {"ephemeral_1h_input_tokens": 2},
                    }
                }
            ],
            "cache_creation adds up to 2, but cache_creation_input_tokens is 3",
        ),
        ("text", "script: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_script_names_the_field(
    value: list[object] | dict[str, object] | str, complaint: str
) -> None:
    with pytest.raises(ScriptError) as caught:
        read_inline(json.loads(json.dumps(value)))
    assert complaint in str(caught.value)
