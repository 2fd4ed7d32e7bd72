"""The variables of a script's texts and tool inputs.

A script is written before it is known where the session will run and what its
tools will answer; `${CWD}`, `${LAST_TOOL_RESULT}` and `${MODEL}` are filled in
from the request. Other `${...}` are left alone: they are the shell's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.world.request import blocks, text_of
from tests.world.script import ScriptError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tests.world.request import MessagesRequest

_VARIABLE = re.compile(r"\$?\$\{(CWD|LAST_TOOL_RESULT|MODEL)\}")
# Claude Code 2.1 names it "Primary working directory" in a system entry.
_CWD = re.compile(r"working directory: *([^\n]+)", re.IGNORECASE)


def fill_all(value: JsonValue, request: MessagesRequest) -> JsonValue:
    """`value` with the variables in all its strings filled in.

    Raises:
        ScriptError: the request does not hold a value that is wanted.
    """
    if isinstance(value, str):
        return fill(value, request)
    if isinstance(value, list):
        return [fill_all(one, request) for one in value]
    if isinstance(value, dict):
        return {key: fill_all(one, request) for key, one in value.items()}
    return value


def fill(text: str, request: MessagesRequest) -> str:
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
