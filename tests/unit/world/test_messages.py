"""The step is read off the conversation, and the request is judged as the real API judges it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.world.markers import inline
from tests.world.messages import choose, compose
from tests.world.model_server import SCENARIOS
from tests.world.request import MessagesRequest, RequestError, parse, session_of
from tests.world.script import Scenarios, Script, ScriptError, Step, ToolCall

if TYPE_CHECKING:
    from pydantic import JsonValue

THREE = inline(
    Script(id="three", steps=(Step(text=("0",)), Step(text=("1",)), Step(text=("2",))), then="over")
)
TOOLS: list[JsonValue] = [{"name": "Bash", "input_schema": {"type": "object"}}]


def user(content: JsonValue) -> dict[str, JsonValue]:
    return {"role": "user", "content": content}


def assistant(content: JsonValue = "ok") -> dict[str, JsonValue]:
    return {"role": "assistant", "content": content}


def text(value: str) -> dict[str, JsonValue]:
    return {"type": "text", "text": value}


def request(*messages: JsonValue, **fields: JsonValue) -> MessagesRequest:
    body = {"model": "m", "max_tokens": 1, "tools": TOOLS, "messages": list(messages), **fields}
    return parse(json.dumps(body).encode())


def played(*messages: JsonValue, **fields: JsonValue) -> tuple[str, int, tuple[str, ...]]:
    play = choose(request(*messages, **fields), Scenarios(SCENARIOS))
    return play.name, play.index, play.step.text


def test_the_step_is_the_number_of_answers_since_the_marker() -> None:
    assert played(user(THREE)) == ("three", 0, ("0",))
    assert played(user(THREE), assistant(), user("go on")) == ("three", 1, ("1",))
    assert played(user("hi"), assistant(), user(f"then {THREE}"), assistant(), user("x")) == (
        "three",
        1,
        ("1",),
    )


def test_a_script_that_is_used_up_says_so_and_ends_the_turn() -> None:
    conversation = request(*[user(THREE), assistant()] * 1, *[user("x"), assistant()] * 2, user("x"))
    play = choose(conversation, Scenarios(SCENARIOS))
    answer = compose(conversation, play, seed="s")
    assert (play.index, answer.message["content"]) == (3, [text("over")])
    assert answer.message["stop_reason"] == "end_turn"


def test_a_marker_is_found_amid_blocks_and_text() -> None:
    blocks: list[JsonValue] = [
        text("<system-reminder>x</system-reminder>"),
        text(f"Do this:\n{THREE}\nThanks."),
    ]
    assert played(user(blocks))[:2] == ("three", 0)


def test_the_last_marker_is_in_force() -> None:
    other = inline(Script(id="other", steps=(Step(text=("o",)),)))
    assert played(user(THREE), assistant(), user(other)) == ("other", 0, ("o",))
    assert played(user(f"{THREE} {other}")) == ("other", 0, ("o",))


def test_a_message_sent_during_a_turn_brings_its_own_script() -> None:
    other = inline(Script(id="other", steps=(Step(text=("o",)),)))
    words = (
        f"The user sent a new message while you were working:\n{other}\n\nThis is how Claude Code does it."
    )
    steering: JsonValue = {"role": "system", "content": [text(words)]}
    call: JsonValue = [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]
    result: JsonValue = [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]
    assert played(user(THREE), assistant(call), user(result), steering) == ("other", 0, ("o",))


def test_the_remains_of_a_broken_stream_are_no_answer() -> None:
    resume = user([text("Your response above was cut off mid-stream. Resume directly from where it stops.")])
    assert played(user(THREE), assistant("par"), resume) == ("three", 0, ("0",))
    assert played(user(THREE), assistant("par"), resume, assistant("0"), user("x")) == ("three", 1, ("1",))
    # None of it survived, so nothing precedes the request to resume.
    assert played(user(THREE), assistant("0"), user("x"), resume) == ("three", 1, ("1",))
    # Its tools ran: to play the step again would run them twice.
    call: JsonValue = [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]
    result: JsonValue = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
    both = user([result, text("Your response above was cut off mid-stream.")])
    assert played(user(THREE), assistant(call), both) == ("three", 1, ("1",))


def test_what_fills_the_place_of_an_answer_is_none() -> None:
    # An interrupted conversation, resumed.
    filler: JsonValue = [{**text("No response requested."), "cache_control": {"type": "ephemeral"}}]
    assert played(user(THREE), assistant("0"), user("x"), assistant(filler), user("Go on.")) == (
        "three",
        1,
        ("1",),
    )


def test_files_that_were_read_and_prompts_of_sub_agents_do_not_count() -> None:
    marker = "[[scenario:nonesuch]] [[script: broken"
    call: JsonValue = [{"type": "tool_use", "id": "t", "name": "Agent", "input": {"prompt": marker}}]
    result: JsonValue = [{"type": "tool_result", "tool_use_id": "t", "content": [text(marker)]}]
    conversation: list[JsonValue] = [
        user(THREE),
        assistant(call),
        {"role": "system", "content": marker},
        user(result),
    ]
    assert played(*conversation, system=marker)[:2] == ("three", 1)


def test_requests_without_tools_do_not_see_the_script_unless_it_wants_them() -> None:
    assert played(user(THREE), tools=[]) == ("without-tools", 0, ("OK",))
    willing = inline(Script(id="willing", steps=(Step(text=("w",)),), plays_without_tools=True))
    assert played(user(willing), tools=[]) == ("willing", 0, ("w",))


def test_without_a_marker_the_answer_tells_how_to_script_it() -> None:
    name, _, texts = played(user("hello"))
    assert name == "default"
    assert "tests/world/README.md" in texts[0]
    # It becomes a summary in the prompts of dependents: with a marker it would be played there.
    assert played(user(texts[0]))[0] == "default"


def test_an_unknown_scenario_names_the_known_ones() -> None:
    with pytest.raises(ScriptError, match=r"no scenario 'nonesuch'; there are: .*first-session"):
        played(user("[[scenario:nonesuch]]"))


def test_every_scenario_in_the_folder_can_be_read() -> None:
    scenarios = Scenarios(SCENARIOS)
    assert "first-session" in scenarios.names()
    for name in scenarios.names():
        assert scenarios.read(name).script.steps


def test_variables_are_filled_in_and_those_of_the_shell_left_alone() -> None:
    step = Step(
        text=("in ${CWD} with ${MODEL}: ${LAST_TOOL_RESULT}",),
        tools=(ToolCall(name="Bash", input={"a": ["${HOME} $${CWD} ${CWD}"], "n": 1}),),
    )
    conversation = request(
        {"role": "system", "content": "# Environment\n - Primary working directory: /work space\n - git"},
        user(inline(Script(steps=(Step(), step)))),
        assistant([{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]),
        user([{"type": "tool_result", "tool_use_id": "t", "content": [text("first"), text("second")]}]),
    )
    answer = compose(conversation, choose(conversation, Scenarios(SCENARIOS)), seed="s")
    content = answer.message["content"]
    assert isinstance(content, list)
    assert content[0] == text("in /work space with m: first\nsecond")
    assert isinstance(content[1], dict)
    assert content[1]["input"] == {"a": ["${HOME} ${CWD} /work space"], "n": 1}


@pytest.mark.parametrize("variable", ["CWD", "LAST_TOOL_RESULT"])
def test_a_variable_without_a_value_is_an_error(variable: str) -> None:
    conversation = request(user(inline(Script(steps=(Step(text=(f"${{{variable}}}",)),)))))
    with pytest.raises(ScriptError, match=variable):
        compose(conversation, choose(conversation, Scenarios(SCENARIOS)), seed="s")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "body: Invalid JSON"),
        (b'{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}', "model: Field required"),
        (b'{"model":"m","messages":[{"role":"user","content":"x"}]}', "max_tokens: Field required"),
        (b'{"model":"m","max_tokens":1,"messages":[]}', "messages: List should have at least 1 item"),
    ],
)
def test_what_the_real_api_refuses_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        parse(body)


def test_every_tool_use_wants_its_result() -> None:
    call: JsonValue = [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}]
    result: JsonValue = [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]
    request(user("x"), assistant(call), {"role": "system", "content": "note"}, user(result))
    with pytest.raises(RequestError, match=r"without `tool_result` blocks: t1"):
        request(user("x"), assistant(call), user("and?"))
    with pytest.raises(RequestError, match=r"without `tool_result` blocks: t1"):
        request(user("x"), assistant(call), user("and?"), assistant(), user(result))
    with pytest.raises(RequestError, match="tool_result t1 answers no tool_use"):
        request(user(result))


def test_a_session_is_known_by_header_or_body_or_its_beginning() -> None:
    first, second = request(user("one")), request(user("two"))
    named = request(user("one"), metadata={"user_id": '{"session_id": "abc"}'})
    assert session_of(first, {"x-claude-code-session-id": "h"}) == "h"
    assert session_of(named, {}) == "abc"
    assert session_of(request(user("one"), metadata={"user_id": "plain"}), {}) == "plain"
    assert session_of(first, {}) == session_of(request(user("one"), assistant(), user("more")), {})
    assert session_of(first, {}) != session_of(second, {})
