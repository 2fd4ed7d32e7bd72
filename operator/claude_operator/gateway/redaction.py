"""Known shapes of secrets, blotted out when the journal is served.

What an agent prints can hold a key that it found in the repository. The stored record stays whole, and so
does the transcript, which the agent must be able to resume from; people and clients read this form.

What is searched was written by an agent, so no pattern may take longer than linear time: a shape begins
where a run of its characters begins, and what was matched is not tried again (`+` after a quantifier). With
backtracking, one hostile event of 256 KB took a minute, in which no other stream moved.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "[redacted]"
_START: Final = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrtbf]))"
"""Where a word begins in JSON text: the `n` of an escaped newline belongs to no word."""
_SHAPES: Final = re.compile(
    r"sk-ant-[A-Za-z0-9_-]{8,}"
    r"|sk-(?:proj-|live-|test-)?[A-Za-z0-9]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    rf"|{_START}(?:AKIA|ASIA)[A-Z0-9]{{16}}\b"
    r"|AIza[A-Za-z0-9_-]{30,}"
    rf"|{_START}(?:npm_[A-Za-z0-9]{{30,}}|pypi-[A-Za-z0-9_-]{{50,}})"
    rf"|{_START}eyJ[A-Za-z0-9_-]{{10,}}+\.eyJ[A-Za-z0-9_-]{{10,}}+\.[A-Za-z0-9_-]{{10,}}"
    r"|(?<=://)[^/\s:@\"\\]{1,100}:[^/\s@\"\\]{1,200}(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9._~+/=-]{16,}"
    # Up to its end, or as far as the string goes: never across a quote, so that JSON stays JSON.
    r'|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^-"\\]++|\\.|-(?!----))*+'
    r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
    re.DOTALL,
)


def redact(text: str) -> str:
    """`text` (JSON as well) with every known shape of a secret replaced."""
    return _SHAPES.sub(MASK, text)
