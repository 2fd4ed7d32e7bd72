"""What a git host says of a push and of its refs, read while it passes by. Pure.

What cannot be read is not an error here: the client judges its own answer. It is only not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from claude_operator.gateway.git.pktline import PktLineError, PktStream


@dataclass(slots=True)
class ReportReader:
    """The report-status of a push."""

    side_band: bool
    unpacked: bool = False
    accepted: set[str] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    _outer: PktStream = field(default_factory=PktStream)
    _inner: PktStream = field(default_factory=PktStream)
    _unreadable: bool = False

    def feed(self, chunk: bytes) -> None:
        """Take note of a piece of the answer."""
        if self._unreadable:
            return
        try:
            if not self.side_band:
                self._lines(self._inner.feed(chunk))
                return
            for line in self._outer.feed(chunk):
                if line is not None and line[:1] == b"\x01":
                    self._lines(self._inner.feed(line[1:]))
        except PktLineError:
            self._unreadable = True

    def _lines(self, lines: list[bytes | None]) -> None:
        for line in lines:
            if line is None:
                continue
            word, _, rest = line.rstrip(b"\n").decode("utf-8", "replace").partition(" ")
            if word == "unpack":
                self.unpacked = rest == "ok"
            elif word == "ok":
                self.accepted.add(rest)
            elif word == "ng":
                ref, _, why = rest.partition(" ")
                self.rejected[ref] = why


@dataclass(slots=True)
class RefReader:
    """Where one ref stands, out of an advertisement (protocol 0 and 1)."""

    ref: str
    value: str | None = None
    _stream: PktStream = field(default_factory=PktStream)
    _unreadable: bool = False

    def feed(self, chunk: bytes) -> None:
        """Take note of a piece of the answer."""
        if self._unreadable or self.value is not None:
            return
        try:
            for line in self._stream.feed(chunk):
                oid, _, name = (line or b"").partition(b"\0")[0].rstrip(b"\n").partition(b" ")
                if name.decode("utf-8", "replace") == self.ref:
                    self.value = oid.decode("ascii", "replace")
        except PktLineError:
            self._unreadable = True
