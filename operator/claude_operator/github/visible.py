"""Text of strangers, reduced to what a reader of the page sees, and set apart from instructions.

What a person does not see on GitHub but a model reads is the cheapest way to give it orders: HTML comments,
zero-width and bidirectional characters, the tag characters that spell ASCII invisibly. All of it goes. What
stays is set as data: every line behind a bar, between fences whose name is a digest of the text, so that
nothing in the text can pose as the fence's end or as a tag of ours.

Rejected: asking the model to ignore hidden text (it is what attacks are made of); rendering the Markdown and
keeping its text (code and diffs would suffer, and a renderer has bugs of its own).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Controls, formats (zero width, bidi, tags), private use, surrogates, unassigned, odd line separators."""
_KEPT: Final = frozenset("\n\t")
_INVISIBLE: Final = frozenset(
    [
        0x034F,  # combining grapheme joiner
        0x115F,
        0x1160,
        0x3164,
        0xFFA0,  # Hangul fillers
        0x17B4,
        0x17B5,  # Khmer inherent vowels
        0x2800,  # braille blank
        *range(0x180B, 0x1810),  # Mongolian variation selectors
        *range(0xFE00, 0xFE10),  # variation selectors: sixteen values each, text in the disguise of an emoji
        *range(0xE0100, 0xE01F0),
    ]
)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|--!>|\Z)", re.DOTALL)
_CLOSERS: Final = {"<?": "?>", "<![CDATA[": "]]>", "<!": ">"}
"""Further HTML that browsers show nothing of."""
_OPENER: Final = re.compile(r"<\?|<!\[CDATA\[|<!(?=[A-Za-z])")
_REMARK: Final = re.compile(
    r"^ {0,3}\[[^\]\n]{0,200}\]:[ \t]{0,20}(?:#|<#?>|about:blank)[^\n]*$", re.MULTILINE
)
"""`[//]: # (a link that is defined and never used)`: the Markdown way to write a comment."""
_CODE_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_CODE_SPAN: Final = re.compile(r"(?<!`)(`{1,9})(?!`)([^\n]+?)(?<!`)\1(?!`)")
_TAG: Final = re.compile(r"<(?=/?(?:context|requirements|session)\b)", re.IGNORECASE)
"""Tags of our own prompt."""
_CUT: Final = "\n| [... cut: the text is longer]"


def visible(text: str) -> str:
    """`text` without what a reader of the page does not see.

    HTML comments go from code as well, where a page would show them: nobody misses them there.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(one for one in text if _shown(one))
    # A blank takes the place of what goes: two halves around it must not become one.
    text = _COMMENT.sub(" ", text)
    text = _cut(text, [found.span() for found in _REMARK.finditer(without_code(text))])
    return _cut(text, _unseen(without_code(text)))


def _unseen(prose: str) -> list[tuple[int, int]]:
    """Where declarations and processing instructions stand.

    By hand: a pattern would look for the end that an opener lacks from each opener on.
    """
    spans: list[tuple[int, int]] = []
    missing: set[str] = set()
    for opener in _OPENER.finditer(prose):
        closer = _CLOSERS[opener.group()]
        if closer in missing or (spans and opener.start() < spans[-1][1]):
            continue
        end = prose.find(closer, opener.end())
        if end < 0:
            missing.add(closer)
        else:
            spans.append((opener.start(), end + len(closer)))
    return spans


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    pieces, end = [], 0
    for start, after in spans:
        pieces += [text[end:start], " "]
        end = after
    return "".join([*pieces, text[end:]])


def without_code(text: str) -> str:
    """`text` with code blanked, every other character at its place."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        found = _CODE_FENCE.match(line)
        hidden = bool(fence) or found is not None or line.startswith(("    ", "\t"))
        if found is not None and not fence:
            fence = found[1]
        elif fence and found is not None and found[1].startswith(fence) and not line.strip(" `~"):
            fence = ""
        lines.append(
            " " * len(line) if hidden else _CODE_SPAN.sub(lambda code: " " * len(code.group()), line)
        )
    return "\n".join(lines)


def one_line(text: str, most: int = 300) -> str:
    """For titles, logins and paths: visible, on one line, cut."""
    line = " ".join(visible(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def fenced(what: str, text: str, *, most: int = 60_000) -> str:
    """`text` of strangers as a block of data.

    Args:
        what: names the block, such as `comment by alice`; must itself be `one_line`.
        text: anything.
        most: characters of it, bars included, that are kept.
    """
    clean = _TAG.sub("&lt;", visible(text)).strip("\n")
    # Of the text, so it is the same each time, and the text cannot hold it.
    mark = hashlib.sha256(f"{what}\0{clean}".encode()).hexdigest()[:16]
    lines = "\n".join(f"| {line}" for line in clean.split("\n")) if clean else "| (empty)"
    if len(lines) > most:
        lines = lines[:most] + _CUT
    return f"--- BEGIN DATA {mark}: {_TAG.sub('&lt;', what)} ---\n{lines}\n--- END DATA {mark} ---"


def _shown(character: str) -> bool:
    if character in _KEPT:
        return True
    return unicodedata.category(character) not in _HIDDEN_CATEGORIES and ord(character) not in _INVISIBLE
