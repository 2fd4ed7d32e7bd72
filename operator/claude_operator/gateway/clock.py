"""Wall-clock time as it stands in the database and on the wire: RFC 3339, UTC, milliseconds, `Z`.

One fixed width, so that text order is time order in every database.
"""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """`moment` (default: now) as `2026-01-31T12:00:00.000Z`."""
    text = (moment or utc_now()).astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def parse(text: str) -> datetime:
    """The moment of a `stamp`."""
    return datetime.fromisoformat(text)
