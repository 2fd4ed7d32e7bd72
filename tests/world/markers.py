"""How a prompt names its script.

The JSON is read by a real decoder from the place where it begins: a regular
expression cannot know that a `]]` inside a string is not the end. A marker that
is begun and not well-formed is an error with its place, never a default answer:
a test whose script is not played must not pass.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.world.script import ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from tests.world.script import Script

_MARKER = re.compile(r"\[\[(scenario|script):\s*")
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*\]\]")
_END = re.compile(r"\s*\]\]")


@dataclass(frozen=True, slots=True)
class Marker:
    """A reference to a script as it stands in a prompt."""

    kind: Literal["scenario", "script"]
    name: str = ""
    value: JsonValue = None


def markers(text: str) -> Iterator[Marker]:
    """The markers of `text`, in order. Those inside an inline script's strings are its own.

    Raises:
        ScriptError: a marker is begun and not a well-formed one.
    """
    position = 0
    while found := _MARKER.search(text, position):
        marker, position = (
            _scenario_marker(text, found.end())
            if found.group(1) == "scenario"
            else _script_marker(text, found.end())
        )
        yield marker


def _scenario_marker(text: str, start: int) -> tuple[Marker, int]:
    name = _NAME.match(text, start)
    if name is None:
        raise ScriptError(f"[[scenario:NAME]] expects a name and then ]], not {text[start : start + 40]!r}")
    return Marker(kind="scenario", name=name.group(1)), name.end()


def _script_marker(text: str, start: int) -> tuple[Marker, int]:
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError as error:
        near = text[error.pos : error.pos + 40]
        raise ScriptError(
            f"[[script: ...]] holds no JSON: {error.msg} at character {error.pos - start}, before {near!r}"
        ) from None
    except RecursionError:
        raise ScriptError("[[script: ...]] is nested too deeply") from None
    except ValueError as error:  # a number of more than 4300 digits
        raise ScriptError(f"[[script: ...]] holds a number that is too long: {error}") from None
    closing = _END.match(text, end)
    if closing is None:
        raise ScriptError(f"[[script: JSON]] expects ]] after the JSON, not {text[end : end + 40]!r}")
    return Marker(kind="script", value=value), closing.end()


def inline(script: Script) -> str:
    """The marker of `script`, to be put anywhere into a prompt."""
    # exclude_unset, not exclude_defaults: `echo: {}` and `delay: {}` say something.
    return f"[[script: {json.dumps(script.model_dump(mode='json', exclude_unset=True))}]]"
