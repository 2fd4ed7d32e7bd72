"""`@bot do this`: finding the command in a comment. Pure.

A mention counts as on GitHub: a whole word (`@bot` is not in `@bottom`, nor in `me@bot.example`), in either
case, not inside code and not in a quotation: who quotes a command does not give it.
"""

from __future__ import annotations

import re
from typing import Final

from claude_operator.github.visible import visible, without_code

_MOST: Final = 60_000


def command(body: str, mention: str) -> str | None:
    """What follows the first mention that counts, to the end of the comment; None: there is no mention.

    The command keeps its code blocks and quotations; hidden text is removed. It may be empty.
    """
    text = visible(body)[:_MOST]
    found = _pattern(mention).search(_blanked(text))
    return None if found is None else text[found.end() :].strip()


def without(text: str, mentions: list[str]) -> str:
    """`text` in which none of the mentions is one any more: for what we post ourselves."""
    for mention in mentions:
        text = _pattern(mention).sub(lambda found: found.group().replace("@", ""), text)
    return text


def _pattern(mention: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<![\w@./`-]){re.escape(mention)}(?:\[bot\])?(?![\w-]|[.@/][\w-])[,:]?", re.IGNORECASE
    )


def _blanked(text: str) -> str:
    """`text` with code and quotations blanked, every other character at its place."""
    return "\n".join(
        " " * len(line) if line.lstrip().startswith(">") else line for line in without_code(text).split("\n")
    )
