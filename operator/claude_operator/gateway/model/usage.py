"""What a model response used, and sums of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.resources.session_status import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

NANO_PER_USD = 1_000_000_000
_NANO_PER_MICRO = 1000


@dataclass(frozen=True, slots=True)
class Tokens:
    """One response's counts, by the kinds that have prices."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    web_searches: int = 0

    @property
    def cache_write(self) -> int:
        """`cache_creation_input_tokens`."""
        return self.cache_write_5m + self.cache_write_1h

    @property
    def total(self) -> int:
        """Tokens of every kind."""
        return self.input + self.output + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used and what it cost."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost_nanousd: int = 0
    turns: int = 0
    estimated: bool = False

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            cost_nanousd=self.cost_nanousd + other.cost_nanousd,
            turns=self.turns + other.turns,
            estimated=self.estimated or other.estimated,
        )

    @property
    def tokens(self) -> int:
        """Tokens of every kind."""
        return self.input + self.output + self.cache_read + self.cache_write

    def to_usage(self) -> Usage:
        """The form that goes into records and status."""
        micro = (self.cost_nanousd + _NANO_PER_MICRO // 2) // _NANO_PER_MICRO
        return Usage(
            input_tokens=self.input,
            output_tokens=self.output,
            cache_read_input_tokens=self.cache_read,
            cache_creation_input_tokens=self.cache_write,
            cost_usd=micro / 1_000_000,
            turns=self.turns,
            estimated=self.estimated,
        )


def spent(tokens: Tokens, cost_nanousd: int, *, estimated: bool = False) -> Spent:
    """One response as a sum; a response that broke off is no turn."""
    return Spent(
        input=tokens.input,
        output=tokens.output,
        cache_read=tokens.cache_read,
        cache_write=tokens.cache_write,
        cost_nanousd=cost_nanousd,
        turns=0 if estimated else 1,
        estimated=estimated,
    )


def _count(usage: Mapping[str, object], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def read_usage(usage: Mapping[str, object]) -> Tokens:
    """The Messages API's `usage` object as counts; what is missing or not a number counts as none."""
    written = _count(usage, "cache_creation_input_tokens")
    kinds = usage.get("cache_creation")
    hour = _count(kinds, "ephemeral_1h_input_tokens") if isinstance(kinds, dict) else 0
    if isinstance(kinds, dict):
        written = max(written, hour + _count(kinds, "ephemeral_5m_input_tokens"))
    server = usage.get("server_tool_use")
    return Tokens(
        input=_count(usage, "input_tokens"),
        output=_count(usage, "output_tokens"),
        cache_read=_count(usage, "cache_read_input_tokens"),
        cache_write_5m=written - hour,
        cache_write_1h=hour,
        web_searches=_count(server, "web_search_requests") if isinstance(server, dict) else 0,
    )
