"""Known shapes of secrets, blotted out when the journal is served.

What an agent prints can hold a key that it found in the repository. The stored record stays whole, and so
does the transcript, which the agent must be able to resume from; people and clients read this form.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "[redacted]"
_SHAPES: Final = re.compile(
    r"sk-ant-[A-Za-z0-9_-]{8,}"
    r"|sk-(?:proj-|live-|test-)?[A-Za-z0-9]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|AIza[A-Za-z0-9_-]{30,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{50,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|(?<=://)[^/\s:@\"\\]{1,100}:[^/\s@\"\\]{1,200}(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9._~+/=-]{16,}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{0,20000}?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)",
    re.DOTALL,
)


def redact(text: str) -> str:
    """`text` (JSON as well) with every known shape of a secret replaced."""
    return _SHAPES.sub(MASK, text)
