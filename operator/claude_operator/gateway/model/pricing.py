"""What tokens cost: a versioned table, and the project's own prices before it. Pure.

The table holds the list prices that Claude Code 2.1.330 computes with, measured one kind at a time
(a scripted model that reports 100,000 tokens of one kind; `total_cost_usd` of the result). A model that is
in neither table cannot be metered, so it is refused wherever a cap holds. Prices are integer nano-dollars
per token, which every list price is: sums are exact and are rounded once, where they are shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_operator.gateway.model.usage import Tokens
    from claude_operator.resources.project import Price as ProjectPrice

TABLE_VERSION: Final = "2.1.330"
WEB_SEARCH_NANOUSD: Final = 10_000_000
"""$10 per 1,000 searches."""


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per token (1,000 = $1 per million tokens)."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int

    def cost(self, tokens: Tokens) -> int:
        """Nano-dollars."""
        return (
            tokens.input * self.input
            + tokens.output * self.output
            + tokens.cache_read * self.cache_read
            + tokens.cache_write_5m * self.cache_write_5m
            + tokens.cache_write_1h * self.cache_write_1h
            + tokens.web_searches * WEB_SEARCH_NANOUSD
        )

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """Nano-dollars if every input token were of the dearest kind."""
        dearest = max(self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h)
        return input_tokens * dearest + output_tokens * self.output


def _listed(input_: int, output: int, cache_read: int) -> Price:
    # Everywhere in the list a 5-minute cache write costs 1.25 times, a 1-hour write 2 times the input.
    return Price(input_, output, cache_read, input_ * 5 // 4, input_ * 2)


_OPUS = _listed(5000, 25000, 500)
_FABLE = _listed(10000, 50000, 250)
_FABLE_5_2 = _listed(8000, 40000, 200)
PRICES: Final = {
    "claude-fable-5": _listed(10000, 50000, 1000),
    "claude-fable-5-1": _FABLE,
    "claude-fable-5-2": _FABLE_5_2,
    "claude-mythos-5": _listed(10000, 50000, 1000),
    "claude-mythos-5-1": _FABLE,
    "claude-mythos-5-2": _FABLE_5_2,
    "claude-opus-4-5": _OPUS,
    "claude-opus-4-6": _OPUS,
    "claude-opus-4-7": _OPUS,
    "claude-opus-4-8": _OPUS,
    "claude-opus-5": _OPUS,
    "claude-opus-5-5": _listed(4000, 20000, 200),
    "claude-sonnet-4-5": _listed(3000, 15000, 300),
    "claude-sonnet-4-6": _listed(3000, 15000, 300),
    "claude-sonnet-5": _listed(2000, 10000, 200),
    "claude-sonnet-5-5": _listed(2000, 10000, 100),
    "claude-haiku-4-5": _listed(1000, 5000, 100),
    "claude-haiku-5-5": _listed(100, 500, 10),
}

_DATE = re.compile(r"-20[0-9]{6}$")
_NANO_PER_TOKEN: Final = 1000


def price_of(model: str, own: Iterable[ProjectPrice] = ()) -> Price | None:
    """The price of `model`; None when nobody has said it.

    Args:
        model: as in a request; a dated name costs what its undated one costs.
        own: the project's prices, US dollars per million tokens; they go before the table's.
    """
    for price in own:
        if price.model == model:
            write = round(price.cache_write * _NANO_PER_TOKEN)
            return Price(
                input=round(price.input * _NANO_PER_TOKEN),
                output=round(price.output * _NANO_PER_TOKEN),
                cache_read=round(price.cache_read * _NANO_PER_TOKEN),
                cache_write_5m=write,
                cache_write_1h=write,
            )
    return PRICES.get(model) or PRICES.get(_DATE.sub("", model))
