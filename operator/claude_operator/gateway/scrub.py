"""Keeping a credential out of what its upstream answers.

An upstream that repeats the Authorization it was sent (a debugging proxy, a hostile host) must not hand the
credential to the pod. In bytes the found value is overwritten by as many `*`, so lengths (Content-Length,
pkt-lines) stay right. Bytes are held back only while the end of a chunk could be the beginning of a value.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def held_back(text: bytes, values: tuple[bytes, ...]) -> int:
    """Length of the longest end of `text` that is a true beginning of one of `values`."""
    if not text:
        return 0
    # Asked for every delta of every stream: only beginnings that end in the same byte are compared.
    return next((len(start) for start in _beginnings(values).get(text[-1], ()) if text.endswith(start)), 0)


@lru_cache(maxsize=64)
def _beginnings(values: tuple[bytes, ...]) -> dict[int, tuple[bytes, ...]]:
    """The true beginnings of `values` by their last byte, the longest first."""
    found: dict[int, set[bytes]] = {}
    for value in values:
        for length in range(1, len(value)):
            found.setdefault(value[length - 1], set()).add(value[:length])
    return {last: tuple(sorted(starts, key=len, reverse=True)) for last, starts in found.items()}


def forms(secret: str) -> set[bytes]:
    """How a secret may stand in a text: as it is, percent-encoded, and within what was encoded as base64.

    What base64 makes of it depends on where it begins in three bytes, and at the edges on its neighbours; of
    each of the three the part between is taken, in both alphabets.
    """
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        inner = encoded[-(-before * 4 // 3) : (before + len(raw)) * 4 // 3]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


class Scrubber:
    """Overwrites values in bytes. Without values it passes everything."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self.values = tuple(value for value in values if value)
        self._pattern = re.compile(b"|".join(re.escape(value) for value in self.values))
        self._rest = b""

    def whole(self, data: bytes) -> bytes:
        """`data`, complete in itself, without the values."""
        # Searching for each is ten times faster than one pattern of all, and packs are large.
        if not any(value in data for value in self.values):
            return data
        return self._pattern.sub(lambda found: b"*" * len(found[0]), data)

    def text(self, text: str) -> str:
        """The same for text."""
        return self.whole(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The same for header values."""
        return {name: self.text(value) for name, value in headers.items()}

    def feed(self, chunk: bytes) -> bytes:
        """What of a stream can be passed on after `chunk`."""
        if not self.values:
            return chunk
        data = self.whole(self._rest + chunk)
        keep = held_back(data, self.values)
        self._rest = data[len(data) - keep :]
        return data[: len(data) - keep]

    def flush(self) -> bytes:
        """The rest, at the stream's end."""
        rest, self._rest = self._rest, b""
        return rest
