"""What one identity asked of the API server, counted in the server's own audit log."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
READS = frozenset({"get", "list", "watch"})


@dataclass(slots=True)
class Audit:
    """Of one user, from now on."""

    log: Path
    user: str
    offset: int = 0

    def restart(self) -> None:
        """Count from here."""
        # The end of the last whole line: the server may be in the middle of the next one.
        self.offset = self.log.read_bytes().rfind(b"\n") + 1

    def entries(self) -> Iterator[Entry]:
        with self.log.open("rb") as log:
            log.seek(self.offset)
            for line in log:
                if line.endswith(b"\n"):
                    entry: Entry = json.loads(line)
                    if entry["user"].get("username") == self.user and entry["stage"] == "ResponseComplete":
                        yield entry

    def writes(self) -> Counter[str]:
        """Counts of `verb resource[/subresource]`, without the Lease and Events, which are counted apart."""
        return Counter(
            _what(entry)
            for entry in self.entries()
            if entry["verb"] not in READS and _resource(entry) not in {"leases", "events"}
        )

    async def logged(self, total: int, *, seconds: float = 5) -> Counter[str]:
        """The writes, once so many are in the log: an answer can arrive before its line is written."""
        async with asyncio.timeout(seconds):
            while self.writes().total() < total:  # noqa: ASYNC110 - the log belongs to another process
                await asyncio.sleep(0.02)
        return self.writes()

    def gets(self) -> Counter[str]:
        """Single-object reads, without the Lease's."""
        return Counter(
            _what(entry)
            for entry in self.entries()
            if entry["verb"] == "get" and _resource(entry) not in {"leases", ""}
        )


def _resource(entry: Entry) -> str:
    return str(entry.get("objectRef", {}).get("resource", ""))


def _what(entry: Entry) -> str:
    reference = entry.get("objectRef", {})
    parts = [reference.get("resource", ""), reference.get("subresource", "")]
    return f"{entry['verb']} {'/'.join(filter(None, parts))}"
