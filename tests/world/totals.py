"""Sums of what the scripted model really sent, to be compared with what the product says it spent.

Counted is what was written to the connection: the usage of `message_start` once
that event has gone, the final one once `message_delta` has. So a stream that was
cut counts only its beginning.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from tests.world.records import Record

_TOKENS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class Totals:
    """Requests by outcome and tokens by kind: in all, by script and by session."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.scripts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.sessions: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, record: Record) -> None:
        """Count `record`, which is complete."""
        counts = Counter({"requests": 1, record.outcome: 1}) + _tokens(record.details.get("usage"))
        self.total += counts
        if script := record.details.get("script"):
            self.scripts[str(script)] += counts
        if session := record.details.get("session"):
            self.sessions[str(session)] += counts

    def json(self) -> dict[str, JsonValue]:
        return {"total": _plain(self.total), "scripts": _each(self.scripts), "sessions": _each(self.sessions)}

    def clear(self) -> None:
        self.total.clear()
        self.scripts.clear()
        self.sessions.clear()


def _tokens(usage: JsonValue) -> Counter[str]:
    counts: Counter[str] = Counter()
    if isinstance(usage, dict):
        for name in _TOKENS:
            value = usage.get(name, 0)
            assert isinstance(value, int)
            counts[name] = value
    return counts


def _plain(counts: Mapping[str, int]) -> dict[str, JsonValue]:
    return {**dict.fromkeys(("requests", *_TOKENS), 0), **counts}


def _each(groups: Mapping[str, Counter[str]]) -> dict[str, JsonValue]:
    return {name: _plain(counts) for name, counts in groups.items()}
