"""What a server of the test world was sent, for tests to look into.

Kept in memory and bounded by bytes: an end-to-end run sends a few megabytes, a
benchmark gigabytes, and a recorder that swaps would be what is measured. The
oldest records go first; `first` tells a reader that it came too late.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

Outcome = Literal["open", "answered", "refused", "dropped", "hung_up"]
"""Not finished yet · answered in full · an error answer · cut by the server · the client left early."""

_KEPT_BYTES = 128 << 20
# A record's own objects, roughly: small bodies must not make the bound meaningless.
_RECORD_BYTES = 4096


@dataclass(slots=True)
class Record:
    """One request and what became of it. Header names are in lower case."""

    number: int
    time: float
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""
    status: int = 0
    outcome: Outcome = "open"
    seconds: float = 0
    details: dict[str, JsonValue] = field(default_factory=dict)
    """What the server decided: script and step, or repository and service."""

    def json(self) -> dict[str, JsonValue]:
        return {
            "number": self.number,
            "time": self.time,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": dict(self.headers),
            "body": self.parsed(),
            "status": self.status,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 6),
            **self.details,
        }

    def parsed(self) -> JsonValue:
        """The body as JSON where it is that, else as text."""
        try:
            value: JsonValue = json.loads(self.body) if self.body else None
        except ValueError:
            return self.body.decode(errors="replace")
        return value


class Recorder:
    """The latest records, numbered from 1 for as long as the process lives."""

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._records: deque[Record] = deque()
        self._last = 0

    def begin(self, *, method: str, path: str, query: str, headers: Mapping[str, str]) -> Record:
        self._last += 1
        record = Record(
            number=self._last,
            time=time.time(),
            method=method,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in headers.items()},
        )
        self._records.append(record)
        self._grow(_RECORD_BYTES)
        return record

    def keep_body(self, record: Record, body: bytes) -> None:
        # A record that is forgotten while its body arrives must not be counted.
        if record.number >= self.first:
            record.body = body
            self._grow(len(body))

    def _grow(self, size: int) -> None:
        self._bytes += size
        while self._bytes > self._kept_bytes and len(self._records) > 1:
            oldest = self._records.popleft()
            self._bytes -= _RECORD_BYTES + len(oldest.body)

    def since(self, number: int = 0) -> Iterator[Record]:
        """The kept records after `number`, oldest first."""
        return (record for record in self._records if record.number > number)

    @property
    def last(self) -> int:
        """The number of the latest record; 0 if there was none."""
        return self._last

    @property
    def first(self) -> int:
        """The number of the oldest record that is kept."""
        return self._records[0].number if self._records else self._last + 1

    def clear(self) -> None:
        """Forget the records; the numbering goes on."""
        self._records.clear()
        self._bytes = 0
