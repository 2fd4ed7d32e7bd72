"""How deep a JSON value is: what reads it later goes down by recursion, so its writer is held to a depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue


def depth(value: JsonValue, limit: int) -> int:
    """Levels of lists and objects in `value`, counted up to `limit`."""
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((depth(one, limit - 1) for one in inner), default=0)
