"""The journal: what happened, in order, kept when pod, Job and custom resource are gone.

Events of a session are numbered without gaps, whoever tells them: the gateway (what it saw and did) or the
pod (its claims). A pod numbers its own within the attempt, and what is known already is dropped, so a lost
answer costs nothing. Readers go by cursor and can follow.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import insert, select, update

from claude_operator.gateway.clock import stamp
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.redaction import redact
from claude_operator.gateway.store import tables
from claude_operator.wire.message import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from claude_operator.gateway.live import Live
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.wakeups import Wakeups
    from claude_operator.wire.session import PodEvent

QUOTA_BYTES: Final = 256 * 1024 * 1024
"""Of one session: events and blobs together."""
RESERVE_BYTES: Final = 16 * 1024 * 1024
"""Of that, for the gateway's own events alone: a pod that floods its journal must not hide what it did."""
EVENTS_PER_SECOND: Final = 50.0
_BURST: Final = 1000.0
"""Events that may come at once after a pause."""
_LONGEST_WAIT: Final = 30.0
_PAGE: Final = 500
_PAGE_BYTES: Final = 2 * 1024 * 1024
"""A reader's page ends here too: 500 of the largest events would be 128 MB."""
MOST_REFUSALS: Final = 1000
"""Of one attempt, told one by one; then every time that their number has doubled. A pod that does nothing
but ask for what it may not have must not fill the part of the journal that is the gateway's own."""
_OWN: Final = "gateway."
"""What the gateway's own events begin with."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is to be appended."""

    type: str
    data: str
    """JSON."""
    time: str
    pod_seq: int | None = None


def entry(kind: str, data: Mapping[str, Any]) -> Entry:
    """An event of the gateway's own."""
    return Entry(f"{_OWN}{kind}", orjson.dumps(data).decode(), stamp())


def append(
    connection: Connection, session_uid: str, attempt: int, source: str, entries: Sequence[Entry]
) -> None:
    """Append events to a session that is on record; one that is not is ignored."""
    sessions = tables.sessions
    row = connection.execute(
        select(sessions.c.last_event, sessions.c.stored_bytes, sessions.c.journal_full).where(
            sessions.c.uid == session_uid
        )
    ).one_or_none()
    if row is None or not entries:
        return
    size, full = row.stored_bytes, row.journal_full
    most = QUOTA_BYTES if source == "gateway" else QUOTA_BYTES - RESERVE_BYTES
    kept: list[Entry] = []
    for one in entries:
        if size + len(one.data) > most:
            if not full:
                told = {
                    "message": f"the session's {QUOTA_BYTES} bytes are used: the pod's events are dropped"
                }
                kept.append(entry("journal_full", told))
            full = True
            break
        size += len(one.data)
        kept.append(one)
    rows = [
        {
            "session_uid": session_uid,
            "seq": row.last_event + index,
            "attempt": attempt,
            "pod_seq": one.pod_seq,
            "source": source if one.pod_seq is not None else "gateway",
            "time": one.time,
            "type": one.type,
            "data": one.data,
        }
        for index, one in enumerate(kept, 1)
    ]
    if rows:
        connection.execute(insert(tables.events), rows)
        connection.execute(
            update(sessions)
            .where(sessions.c.uid == session_uid)
            .values(last_event=row.last_event + len(rows), stored_bytes=size, journal_full=full)
        )


class Journal:
    """Appends and reads."""

    def __init__(self, store: Store, wakeups: Wakeups) -> None:
        self._store = store
        self._wakeups = wakeups

    def note(self, session_uid: str, attempt: int, kind: str, data: Mapping[str, Any]) -> None:
        """Append an event of the gateway's own, soon: nobody waits for it."""
        one = entry(kind, data)

        def write(connection: Connection) -> None:
            append(connection, session_uid, attempt, "gateway", [one])

        self._store.post(write, "a journal entry", done=lambda: self._wakeups.notify(session_uid))

    def note_of(self, live: Live, kind: str, data: Mapping[str, Any]) -> None:
        """The same, of a live attempt."""
        if kind.endswith("_refused"):
            live.refusals += 1
            if live.refusals > MOST_REFUSALS:
                if live.refusals & (live.refusals - 1):
                    return
                data = {**data, "refusals": live.refusals}
        self.note(live.grant.session_uid, live.grant.attempt, kind, data)

    async def take(self, live: Live, events: Sequence[PodEvent]) -> int:
        """Append what a pod tells and return the highest number that is on record.

        Raises:
            Refusal: 413 for an event that is too large; 400 for numbers out of order, and for a type that
                would pass for one of the gateway's own.
        """
        entries = [_pod_entry(event) for event in events]
        for before, after in itertools.pairwise(events):
            if after.seq <= before.seq:
                raise Refusal(400, "BadRequest", f"events: seq {after.seq} does not ascend")
        grant = live.grant
        attempts = tables.attempts
        mine = (attempts.c.session_uid == grant.session_uid, attempts.c.number == grant.attempt)

        def write(connection: Connection) -> int:
            row = connection.execute(select(attempts.c.acknowledged, attempts.c.pod_uid).where(*mine)).one()
            if row.pod_uid != grant.pod_uid:
                raise Refusal(403, "ClaimRefused", "another pod has claimed this attempt")
            known: int = row.acknowledged
            fresh = [one for one in entries if one.pod_seq is not None and one.pod_seq > known]
            if not fresh:
                return known
            append(connection, grant.session_uid, grant.attempt, "pod", fresh)
            last = fresh[-1].pod_seq
            assert last is not None
            connection.execute(update(attempts).where(*mine).values(acknowledged=last))
            return last

        acknowledged = await self._store.write(write)
        self._wakeups.notify(grant.session_uid)
        return acknowledged

    async def read(self, session_uid: str, after: int) -> tuple[list[bytes], int]:
        """A page of events beyond `after` as JSON lines, redacted; and the last one's number."""
        events = tables.events

        def look(connection: Connection) -> tuple[list[bytes], int]:
            lines: list[bytes] = []
            last, size = after, 0
            # Rendered here, in the reader's thread: a page of large events would hold up every stream.
            for row in connection.execute(
                select(events)
                .where(events.c.session_uid == session_uid, events.c.seq > after)
                .order_by(events.c.seq)
                .limit(_PAGE)
            ):
                lines.append(_line(row))
                last, size = row.seq, size + len(lines[-1])
                if size > _PAGE_BYTES:
                    break
            return lines, last

        return await self._store.read(look)

    async def finished(self, session_uid: str) -> bool:
        """Whether no further event is to be expected: an outcome is on record."""
        outcomes = tables.outcomes
        query = select(outcomes.c.serial).where(outcomes.c.uid == session_uid)
        return await self._store.read(lambda connection: connection.execute(query).scalar()) is not None


def event_delay(live: Live, count: int, now: float | None = None) -> float:
    """Seconds by which the answer to `count` events is held back, so that a pod keeps to its rate.

    A runner sends one batch at a time, so a late answer slows it down without losing anything.
    """
    moment = time.monotonic() if now is None else now
    refill = (moment - live.event_time) * EVENTS_PER_SECOND
    live.event_credit = min(_BURST, live.event_credit + refill) - count
    live.event_time = moment
    return min(_LONGEST_WAIT, max(0.0, -live.event_credit / EVENTS_PER_SECOND))


def _pod_entry(event: PodEvent) -> Entry:
    if event.type.startswith(_OWN):
        raise Refusal(
            400, "BadRequest", f"event {event.seq}: the type {event.type} is kept for what the gateway tells"
        )
    try:
        data = orjson.dumps(event.data)
    except TypeError:
        # An integer beyond 64 bits: legal JSON, and no reason to lose the event.
        data = json.dumps(event.data, ensure_ascii=False).encode()
    if len(data) > MAX_EVENT_BYTES:
        raise Refusal(
            413,
            "EventTooLarge",
            f"event {event.seq} has {len(data)} bytes; at most {MAX_EVENT_BYTES} are kept",
        )
    return Entry(event.type, data.decode(), event.time[:40], event.seq)


def _line(row: Any) -> bytes:
    # Redacted as JSON text: a match never crosses a quote, so it stays JSON.
    data = redact(row.data)
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        _log.warning("event %s of session %s is not readable after redaction", row.seq, row.session_uid)
        parsed = {"redacted": True}
    return orjson.dumps(
        {
            "seq": row.seq,
            "attempt": row.attempt,
            "source": row.source,
            "time": row.time,
            "type": row.type,
            "data": parsed,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
