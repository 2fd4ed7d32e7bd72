"""How an event of the CLI reads: `kubectl logs` of a session pod, the APIs' log lines. Pure.

Not JSON and not complete: what the agent says and does, a line or a few each. The record in the gateway
has every event whole. Everything here comes from a model or a repository and goes to somebody's
terminal, so control characters, which could rewrite the screen or worse, are made visible.
"""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


Event = dict[str, Any]
"""One decoded line of the CLI's stream-json, as the record keeps it in `cli.<type>`."""

LINE_LENGTH = 300
TEXT_LINES = 40
RESULT_LINES = 6
# Zl, Zp: line and paragraph separator; Cf: among others what turns the writing direction around.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d\ufeff")
_TELLING = ("command", "file_path", "path", "pattern", "url", "query", "description", "prompt")


def content(event: Event) -> list[Event]:
    """The content blocks of an `assistant` or `user` event."""
    message = event.get("message")
    blocks = message.get("content") if isinstance(message, dict) else None
    return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []


def neutralise(text: str) -> str:
    """`text` without anything that a terminal would obey; tabs become blanks."""
    return "".join(one if _harmless(one) else _visible(one) for one in text)


def _visible(one: str) -> str:
    if one == "\t":
        return "    "
    # As Python writes it: \x1b, \u202e.
    return one.encode("unicode_escape").decode("ascii")


def _harmless(one: str) -> bool:
    return one in _JOINERS or unicodedata.category(one) not in _HIDDEN


def lines(text: str, limit: int) -> Iterator[str]:
    """At most `limit` lines of `text`, each of bounded length and harmless."""
    # split, not splitlines: that would also break at characters which are shown escaped.
    found = text.replace("\r\n", "\n").strip("\n").split("\n")
    for line in found[:limit]:
        shown = neutralise(line[: LINE_LENGTH + 1])
        yield shown if len(line) <= LINE_LENGTH else f"{shown[:LINE_LENGTH]} …"
    if len(found) > limit:
        yield f"… {len(found) - limit} more lines"


def describe(event: Event) -> list[str]:
    """The log lines for one event of the CLI; none for what says nothing to a reader."""
    match event.get("type"), event.get("subtype"):
        case "assistant", _:
            return [line for block in content(event) for line in _block(block)]
        case "user", _:
            return [line for block in content(event) for line in _tool_result(block)]
        case "system", "init":
            return [f"Claude Code {_short(event, 'claude_code_version')} with {_short(event, 'model')}"]
        case "system", "api_retry":
            failure = f"{_short(event, 'error')}, status {_short(event, 'error_status')}"
            tries = f"{_short(event, 'attempt')} of {_short(event, 'max_retries')}"
            return [f"! the model's API failed ({failure}), try {tries} follows"]
        case "system", "permission_denied":
            return [f"! not permitted: {_short(event, 'tool_name')}"]
        case "system", "model_fallback":
            return ["! the model is overloaded, another one takes over"]
        case "result", _:
            return _result(event)
        case _:
            return []


def _block(block: Event) -> Iterator[str]:
    match block.get("type"):
        case "text":
            yield from (f"  {line}" for line in lines(_text(block.get("text")), TEXT_LINES))
        case "tool_use":
            given = block.get("input")
            told = _telling(given if isinstance(given, dict) else {})
            first, *more = list(lines(told, RESULT_LINES)) or [""]
            yield f"> {neutralise(_text(block.get('name')))} {first}".rstrip()
            yield from (f"    {line}" for line in more)
        case _:
            return


def _tool_result(block: Event) -> Iterator[str]:
    if block.get("type") != "tool_result":
        return
    mark = "x" if block.get("is_error") is True else "<"
    found = block.get("content")
    if isinstance(found, list):
        found = "\n".join(_text(one.get("text")) for one in found if isinstance(one, dict))
    first, *more = list(lines(_text(found), RESULT_LINES)) or [""]
    yield f"{mark} {first}".rstrip()
    yield from (f"    {line}" for line in more)


def _result(event: Event) -> list[str]:
    turns = _short(event, "num_turns")
    if event.get("is_error") is False:
        return [f"turn finished ({turns} steps)"]
    said = _text(event.get("result")) or _short(event, "errors")
    return [
        f"! turn ended: {_short(event, 'terminal_reason') or _short(event, 'subtype')}",
        *lines(said, RESULT_LINES),
    ]


def _telling(given: dict[str, Any]) -> str:
    for key in _TELLING:
        if isinstance(given.get(key), str):
            return str(given[key])
    return json.dumps(given, ensure_ascii=False) if given else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _short(event: Event, key: str) -> str:
    value = event.get(key)
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return next(lines(text, 1), "")
