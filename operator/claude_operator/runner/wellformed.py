"""JSON values that every reader after us bears: strings that have a UTF-8 form, and a bounded depth."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100
"""Levels of lists and objects; pydantic refuses to write more than 255."""


def clean(value: Any, depth: int = 0) -> Any:
    """`value` without lone surrogates (JSON can spell them, UTF-8 cannot) and cut at `MAX_DEPTH`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if not isinstance(value, list | dict):
        return value
    if depth == MAX_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, list):
        return [clean(one, depth + 1) for one in value]
    return {clean(key): clean(one, depth + 1) for key, one in value.items()}
