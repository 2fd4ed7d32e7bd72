"""From a Messages API request to the answer that the script wants: pure decisions.

The step is not remembered, it is read off the conversation: as many answers as
follow the last marker have been given. A server that counted requests instead
would play the wrong step after a retry, a resumed session, a repetition without
streaming, or when two sessions or a sub-agent speak to it at once.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.world.markers import markers
from tests.world.request import blocks, digest
from tests.world.script import NamedScript, Script, Step, Usage, read_inline
from tests.world.variables import fill, fill_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from tests.world.markers import Marker
    from tests.world.request import Message, MessagesRequest
    from tests.world.script import Scenarios

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The Messages API's error types."""
# So Claude Code hands over what the user writes during a turn: in a system entry.
_STEERING = "The user sent a new message while you were working:"
# So it goes on after a broken stream of which whole blocks have survived.
_CUT_OFF = "Your response above was cut off mid-stream."
# So it fills the place of an answer in a conversation that is resumed after an interrupt.
_FILLER = "No response requested."
# Without a marker in it: a summary goes into the prompts of dependents, where it would be played.
_NO_SCRIPT = (
    "I am the scripted model of the test world. Name a scenario or write a script into the prompt "
    "to tell me what to do (tests/world/README.md)."
)
_DEFAULT = NamedScript("default", Script(steps=(Step(text=(_NO_SCRIPT,)),)))
_WITHOUT_TOOLS = NamedScript("without-tools", Script(steps=(Step(text=("OK",)),)))


@dataclass(frozen=True, slots=True)
class Play:
    """The step to be played, and where it stands."""

    name: str
    turn: int
    """The ordinal of the marker in force: a script may be named again later in a conversation."""
    index: int
    step: Step
    usage: Usage


def choose(request: MessagesRequest, scenarios: Scenarios) -> Play:
    """The step that this request has come to.

    Raises:
        ScriptError: the marker in force cannot be played.
    """
    marker, turn, index = _locate(request.messages)
    if marker is None:
        named = _DEFAULT if request.tools else _WITHOUT_TOOLS
    else:
        named = scenarios.read(marker.name) if marker.kind == "scenario" else read_inline(marker.value)
        if not request.tools and not named.script.plays_without_tools:
            named, index = _WITHOUT_TOOLS, 0
    script = named.script
    if marker is None or named is _WITHOUT_TOOLS:
        step = script.steps[0]
    elif index < len(script.steps):
        step = script.steps[index]
    else:
        step = Step(text=(script.then,))
    return Play(name=named.name, turn=turn, index=index, step=step, usage=step.usage or script.usage)


def _locate(messages: Sequence[Message]) -> tuple[Marker | None, int, int]:
    """The last marker that a user wrote, how many it is, and the number of answers given since.

    Only what the user wrote counts: a marker in a tool's result is a file that was
    read, one in a `tool_use` is the prompt of a sub-agent, which will bring it itself.
    """
    marker: Marker | None = None
    turn = answers = 0
    for index, message in enumerate(messages):
        if message.role == "assistant":
            # The remains of a broken stream are no answer: the step is played again.
            filler = [block.get("text") for block in blocks(message)] == [_FILLER]
            answers += 0 if filler or _was_cut_off(messages, index) else 1
            continue
        for block in blocks(message):
            text = str(block.get("text", "")) if block.get("type") == "text" else ""
            if message.role == "user" or text.startswith(_STEERING):
                for found in markers(text):
                    marker, turn, answers = found, turn + 1, 0
    return marker, turn, answers


def _was_cut_off(messages: Sequence[Message], index: int) -> bool:
    """Whether the user's next words ask to resume this answer; if its tools ran, it counts as given."""
    following = next((message for message in messages[index + 1 :] if message.role != "system"), None)
    if following is None or following.role != "user":
        return False
    content = blocks(following)
    return not any(block.get("type") == "tool_result" for block in content) and any(
        str(block.get("text", "")).startswith(_CUT_OFF) for block in content
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the model, before it is sent in one piece or in events."""

    message: dict[str, JsonValue]
    """The Messages API's `message` object with its final usage."""
    start_usage: dict[str, JsonValue]
    delta_usage: dict[str, JsonValue]
    piece: int | None


def compose(request: MessagesRequest, play: Play, *, seed: str, echo: str = "") -> Answer:
    """The answer of `play.step`; `seed` makes its identifiers, `echo` is a text that it must repeat.

    Raises:
        ScriptError: the step wants a value that the request does not hold.
    """
    step = play.step
    content = list(_content(request, step, seed, echo))
    stop_reason = step.stop_reason or ("tool_use" if step.tools else "end_turn")
    final = wire_usage(play.usage)
    # The API begins with the first output token and counts the rest as it goes.
    started = step.usage_at_start or play.usage.model_copy(
        update={"output_tokens": min(1, play.usage.output_tokens)}
    )
    return Answer(
        message={
            "id": "msg_" + digest(seed)[:24],
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": step.stop_sequence,
            "usage": final,
        },
        start_usage=wire_usage(started),
        delta_usage=final if step.delta_usage == "full" else {"output_tokens": play.usage.output_tokens},
        piece=step.piece,
    )


def _content(request: MessagesRequest, step: Step, seed: str, echo: str) -> Iterator[JsonValue]:
    if step.thinking is not None:
        signature = base64.b64encode(digest(step.thinking).encode()).decode()
        yield {"type": "thinking", "thinking": step.thinking, "signature": signature}
    for text in (*step.text, *((echo,) if echo else ())):
        yield {"type": "text", "text": fill(text, request)}
    for index, tool in enumerate(step.tools):
        identifier = "toolu_" + digest(f"{seed}/{index}")[:24]
        yield {
            "type": "tool_use",
            "id": identifier,
            "name": tool.name,
            "input": fill_all(tool.input, request),
        }


def wire_usage(usage: Usage) -> dict[str, JsonValue]:
    """`usage` as the Messages API writes it."""
    split = usage.cache_creation
    wire: dict[str, JsonValue] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": (
                split.ephemeral_5m_input_tokens if split else usage.cache_creation_input_tokens
            ),
            "ephemeral_1h_input_tokens": split.ephemeral_1h_input_tokens if split else 0,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }
    if usage.server_tool_use:
        wire["server_tool_use"] = usage.server_tool_use.model_dump(mode="json")
    return wire


def error_object(error_type: str, message: str, request_id: str) -> dict[str, JsonValue]:
    """The Messages API's error body, which is also the data of an `error` event."""
    return {"type": "error", "error": {"type": error_type, "message": message}, "request_id": request_id}
