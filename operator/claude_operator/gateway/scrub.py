"""Keeping a credential out of what its upstream answers.

An upstream that repeats the Authorization it was sent (a debugging proxy, a hostile host) must not hand the
credential to the pod. In bytes the found value is overwritten by as many `*`, so lengths (Content-Length,
pkt-lines) stay right. Bytes are held back only while the end of a chunk could be the beginning of a value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def held_back(text: bytes, values: Iterable[bytes]) -> int:
    """Length of the longest end of `text` that is a true beginning of one of `values`."""
    longest = 0
    for value in values:
        for length in range(min(len(value) - 1, len(text)), longest, -1):
            if text.endswith(value[:length]):
                longest = length
                break
    return longest


class Scrubber:
    """Overwrites values in bytes. Without values it passes everything."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self.values = tuple(value for value in values if value)
        self._pattern = re.compile(b"|".join(re.escape(value) for value in self.values))
        self._rest = b""

    def whole(self, data: bytes) -> bytes:
        """`data`, complete in itself, without the values."""
        if not self.values:
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
