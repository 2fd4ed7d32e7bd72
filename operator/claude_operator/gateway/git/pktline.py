"""Git's pkt-lines: four hex digits of length, which count themselves, then the payload. Pure.

gitprotocol-common(5): `0000` is a flush, `0001` a delimiter, `0002` a response end; the longest line has
65520 bytes.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = 65_520
_HEADER: Final = 4
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class PktLineError(ValueError):
    """The bytes are not pkt-lines."""


def encode(payload: bytes) -> bytes:
    """One line."""
    if len(payload) + _HEADER > LONGEST:
        raise PktLineError(f"a pkt-line holds at most {LONGEST - _HEADER} bytes")
    return b"%04x" % (len(payload) + _HEADER) + payload


FLUSH: Final = b"0000"


def split_one(data: bytes | bytearray, start: int = 0) -> tuple[bytes | None, int] | None:
    """The line at `start` and where the next begins; None: it is not complete.

    The payload of a flush, delimiter or response end is None.

    Raises:
        PktLineError: no length stands there.
    """
    header = bytes(data[start : start + _HEADER])
    if any(digit not in _HEX for digit in header):
        raise PktLineError(f"no pkt-line length: {header!r}")
    if len(header) < _HEADER:
        return None
    length = int(header, 16)
    if length < _HEADER:
        if length == _HEADER - 1:
            raise PktLineError("a pkt-line has the length 3")
        return None, start + _HEADER
    if length > LONGEST:
        raise PktLineError(f"a pkt-line has the length {length}; at most {LONGEST} are allowed")
    end = start + length
    if len(data) < end:
        return None
    return bytes(data[start + _HEADER : end]), end


class PktStream:
    """Lines out of bytes that come in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes | None]:
        """The lines that `chunk` completes; None for a flush.

        Raises:
            PktLineError: the bytes are not pkt-lines.
        """
        data, start = self._rest + chunk, 0
        lines: list[bytes | None] = []
        while (found := split_one(data, start)) is not None:
            payload, start = found
            lines.append(payload)
        self._rest = data[start:]
        return lines
