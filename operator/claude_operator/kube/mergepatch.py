"""RFC 7386: the smallest merge patch from one object to another.

A status is sent as the difference to the one that was seen: removed keys become null, lists are replaced
whole (a merge patch knows no other way), equal parts are left out.
"""

from __future__ import annotations

from typing import Any


def diff(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The patch that makes `new` of `old`; empty when they are equal.

    Neither may hold None as a value: in a merge patch null means removal, and the API server drops such
    fields anyway.
    """
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and _same(before, value):
            continue
        if isinstance(value, dict):
            # Also where `old` held something else: RFC 7386 then merges into an empty object.
            patch[key] = diff(before if isinstance(before, dict) else {}, value)
        else:
            patch[key] = value
    return patch


def _same(left: Any, right: Any) -> bool:
    """JSON equality: Python's 1 == True is not JSON's."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    return isinstance(left, bool) == isinstance(right, bool) and left == right
