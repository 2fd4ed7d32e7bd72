"""What the CLI prints: one JSON object a line, of any length, and the few of them that the runner needs.

Lines have no bound (an overwritten file is echoed whole: 6 MB seen), so asyncio's `readline` with its
limit is of no use. Whatever is not a JSON object is kept as text: a warning on stdout must not end a
run. Unknown events and unknown fields pass by: the CLI adds some with every version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_operator.runner.wellformed import clean
from claude_operator.wire.transcript import content

if TYPE_CHECKING:
    from pydantic import JsonValue

    from claude_operator.wire.transcript import Event


_REMINDER = "[structured-output-enforce]"
"""How the message of the CLI begins (2.1.330)."""


class LineSplitter:
    """Cuts a byte stream into lines, whatever the blocks it arrives in; linear in the line's length."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, block: bytes) -> list[bytes]:
        """The lines that `block` completes, without their newline."""
        *ended, rest = block.split(b"\n")
        lines = []
        for part in ended:
            self._pieces.append(part)
            lines.append(b"".join(self._pieces))
            self._pieces.clear()
        if rest:
            self._pieces.append(rest)
        return lines

    def finish(self) -> list[bytes]:
        """The unfinished last line, if there is one."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return [rest] if rest else []


def decode(line: bytes) -> Event | str | None:
    """The event in `line`; its text when it is no JSON object; None for an empty one."""
    text = line.decode("utf-8", "replace").strip()
    if not text:
        return None
    if text.startswith("{"):
        try:
            value = json.loads(text, parse_constant=str)
        except (ValueError, RecursionError):
            return text
        if isinstance(value, dict):
            event: Event = clean(value)
            return event
    return text


@dataclass(frozen=True, slots=True)
class Init:
    """`system/init`: the agent is up; it comes again at the start of each further turn."""

    model: str
    failed_mcp_servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApiRetry:
    """`system/api_retry`: a request to the model failed and will be repeated."""

    attempt: int
    error: str
    status: int | None


@dataclass(frozen=True, slots=True)
class ToolResults:
    """A `user` event with tool results: a batch of tool calls is over."""


@dataclass(frozen=True, slots=True)
class Said:
    """An `assistant` event of the main conversation with text."""

    text: str


@dataclass(frozen=True, slots=True)
class Reminded:
    """The CLI has told the model to call StructuredOutput: what the model says next answers that."""


@dataclass(frozen=True, slots=True)
class ApiFailure:
    """A synthetic `assistant` event that stands for an error of the API."""

    error: str


@dataclass(frozen=True, slots=True)
class Result:
    """`result`: a turn is over."""

    subtype: str
    is_error: bool
    text: str
    """The agent's last words; on an error, what went wrong."""
    errors: tuple[str, ...]
    turns: int
    terminal_reason: str
    stop_reason: str
    api_status: int | None
    structured_output: dict[str, JsonValue] | None
    """By the session's output schema; None: none was asked for, or the agent gave none."""


Known = Init | ApiRetry | ToolResults | Said | Reminded | ApiFailure | Result


def read(event: Event) -> Known | None:
    """What `event` means to the runner; None when it means nothing to it."""
    match event.get("type"), event.get("subtype"):
        case "system", "init":
            return Init(model=_text(event, "model"), failed_mcp_servers=_failed_servers(event))
        case "system", "api_retry":
            return ApiRetry(
                attempt=_number(event, "attempt") or 0,
                error=_text(event, "error"),
                status=_number(event, "error_status"),
            )
        case "user", _:
            if _has_tool_result(event):
                return ToolResults()
            return Reminded() if event.get("isSynthetic") is True and _reminds(event) else None
        case "assistant", _:
            if error := _text(event, "error"):
                return ApiFailure(error)
            said = _said(event)
            return Said(said) if said else None
        case "result", _:
            return Result(
                subtype=_text(event, "subtype"),
                # An unreadable flag is no success.
                is_error=event.get("is_error") is not False,
                text=_text(event, "result"),
                errors=tuple(one for one in _list(event, "errors") if isinstance(one, str)),
                turns=_number(event, "num_turns") or 0,
                terminal_reason=_text(event, "terminal_reason"),
                stop_reason=_text(event, "stop_reason"),
                api_status=_number(event, "api_error_status"),
                structured_output=_object(event, "structured_output"),
            )
        case _:
            return None


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    return value if isinstance(value, str) else ""


def _number(event: Event, key: str) -> int | None:
    value = event.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _object(event: Event, key: str) -> dict[str, JsonValue] | None:
    value = event.get(key)
    return value if isinstance(value, dict) else None


def _list(event: Event, key: str) -> list[Any]:
    value = event.get(key)
    return value if isinstance(value, list) else []


def _has_tool_result(event: Event) -> bool:
    return any(block.get("type") == "tool_result" for block in content(event))


def _reminds(event: Event) -> bool:
    return any(_text(block, "text").startswith(_REMINDER) for block in content(event))


def _said(event: Event) -> str:
    if event.get("parent_tool_use_id") is not None:
        return ""  # a sub-agent's words are not the conversation's
    texts = [_text(block, "text") for block in content(event) if block.get("type") == "text"]
    return "\n\n".join(text for text in texts if text.strip())


def _failed_servers(event: Event) -> tuple[str, ...]:
    servers = (one for one in _list(event, "mcp_servers") if isinstance(one, dict))
    return tuple(str(one.get("name")) for one in servers if one.get("status") == "failed")
