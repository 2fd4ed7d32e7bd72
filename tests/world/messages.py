"""From a Messages API request to the answer that the script wants: pure decisions.

The step is not remembered, it is read off the conversation: as many answers as
follow the last marker have been given. A server that counted requests instead
would play the wrong step after a retry, a resumed session, a repetition without
streaming, or when two sessions or a sub-agent speak to it at once.

Requests are refused where the real API refuses them (no `max_tokens`, a
`tool_use` without its result): a caller that only works against a lenient
stand-in is broken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tests.world.script import NamedScript, Script, ScriptError, Step, Usage, markers, read_inline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.world.script import Marker, Scenarios

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

_VARIABLE = re.compile(r"\$?\$\{(CWD|LAST_TOOL_RESULT|MODEL)\}")
# Claude Code 2.1 names it "Primary working directory" in a system entry.
_CWD = re.compile(r"working directory: *([^\n]+)", re.IGNORECASE)

_NO_SCRIPT = (
    "I am the scripted model of the test world. Put [[scenario:NAME]] or [[script: JSON]] "
    "into the prompt to tell me what to do."
)
_DEFAULT = NamedScript("default", Script(steps=(Step(text=(_NO_SCRIPT,)),)))
_WITHOUT_TOOLS = NamedScript("without-tools", Script(steps=(Step(text=("OK",)),)))


class RequestError(Exception):
    """The Messages API's `invalid_request_error`; the text names field and remedy."""


class Message(BaseModel):
    """One entry of the conversation. Claude Code puts `system` entries between the others."""

    model_config = ConfigDict(frozen=True)

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, JsonValue]]


class Metadata(BaseModel):
    """What the caller says of itself."""

    user_id: str | None = None


class MessagesRequest(BaseModel):
    """The fields of a request that decide the answer; all others are accepted and recorded."""

    model_config = ConfigDict(frozen=True)

    model: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    system: str | list[dict[str, JsonValue]] = ""
    tools: list[dict[str, JsonValue]] = []
    stream: bool = False
    metadata: Metadata = Metadata()


def parse(body: bytes) -> MessagesRequest:
    """The request in `body`.

    Raises:
        RequestError: the Messages API would refuse it.
    """
    try:
        request = MessagesRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise RequestError(f"{where}: {first['msg']}") from None
    _require_results(request.messages)
    return request


def _require_results(messages: Sequence[Message]) -> None:
    """Every `tool_use` is answered before the model speaks again."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        # Neighbours of one role are one turn to the API.
        if waiting and message.role == "assistant" and messages[index - 1].role != "assistant":
            break
        for block in blocks(message):
            if block.get("type") == "tool_use":
                waiting.add(str(block.get("id")))
            elif block.get("type") == "tool_result":
                identifier = str(block.get("tool_use_id"))
                if identifier not in waiting:
                    raise RequestError(
                        f"messages.{index}: tool_result {identifier} answers no tool_use before it"
                    )
                waiting.remove(identifier)
    if waiting:
        missing = ", ".join(sorted(waiting))
        raise RequestError(f"messages: `tool_use` ids were found without `tool_result` blocks: {missing}")


def blocks(message: Message) -> list[dict[str, JsonValue]]:
    """The content of `message` as blocks, however it was written."""
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    return message.content


def text_of(content: object) -> str:
    """The text of a string or of the text blocks in a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        str(block.get("text", ""))
        for block in content
        if isinstance(block, dict) and block.get("type") == "text"
    )


def session_of(request: MessagesRequest, headers: Mapping[str, str]) -> str:
    """Whose conversation it is: Claude Code's session id, else a digest of the first message.

    The id stands in a header and, for proxies that rebuild headers, in
    `metadata.user_id` as well.
    """
    if named := headers.get("x-claude-code-session-id"):
        return named
    if user := request.metadata.user_id:
        try:
            value = json.loads(user)
        except json.JSONDecodeError:
            return user
        return str(value.get("session_id", user)) if isinstance(value, dict) else user
    return "first-message-" + digest(request.messages[0].model_dump_json())[:16]


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

    Only text blocks count: a marker in a tool's result is a file that was read,
    one in a `tool_use` is the prompt of a sub-agent, which will bring it itself.
    """
    marker: Marker | None = None
    turn = answers = 0
    for message in messages:
        if message.role == "assistant":
            answers += 1
        elif message.role == "user":
            for block in blocks(message):
                if block.get("type") == "text":
                    for found in markers(str(block.get("text", ""))):
                        marker, turn, answers = found, turn + 1, 0
    return marker, turn, answers


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
        yield {"type": "text", "text": _fill(text, request)}
    for index, tool in enumerate(step.tools):
        identifier = "toolu_" + digest(f"{seed}/{index}")[:24]
        yield {
            "type": "tool_use",
            "id": identifier,
            "name": tool.name,
            "input": _fill_all(tool.input, request),
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


def _fill_all(value: JsonValue, request: MessagesRequest) -> JsonValue:
    if isinstance(value, str):
        return _fill(value, request)
    if isinstance(value, list):
        return [_fill_all(one, request) for one in value]
    if isinstance(value, dict):
        return {key: _fill_all(one, request) for key, one in value.items()}
    return value


def _fill(text: str, request: MessagesRequest) -> str:
    """`text` with its variables; `$${CWD}` stands for `${CWD}`, other `${...}` are the shell's own."""

    def value(found: re.Match[str]) -> str:
        if found.group().startswith("$$"):
            return found.group()[1:]
        match found.group(1):
            case "CWD":
                return _working_directory(request)
            case "LAST_TOOL_RESULT":
                return _last_tool_result(request)
            case _:
                return request.model

    return _VARIABLE.sub(value, text)


def _working_directory(request: MessagesRequest) -> str:
    entries = [text_of(message.content) for message in request.messages if message.role != "assistant"]
    for text in (text_of(request.system), *entries):
        if found := _CWD.search(text):
            return found.group(1).strip()
    raise ScriptError("the step uses ${CWD}, but the request names no 'working directory: ...'")


def _last_tool_result(request: MessagesRequest) -> str:
    for message in reversed(request.messages):
        for block in reversed(blocks(message)):
            if block.get("type") == "tool_result":
                return text_of(block.get("content"))
    raise ScriptError("the step uses ${LAST_TOOL_RESULT}, but the conversation holds no tool_result")


def digest(text: str) -> str:
    """A stable name for `text`; lone surrogates, which JSON can hold, are no obstacle."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
