"""The rows of GitHub's events: each once for each project, worked at by one shim at a time, kept for a month.

A delivery is known again by GitHub's id and by a digest of its body. The body is signed and the id is not:
whoever recorded one event could send it again under a new id, so the digest is what counts; the id catches a
redelivery whose body was changed by a change of the hook.

A taker has a delivery for `LEASE_SECONDS`, longer with each try. One that dies leaves it to the next.
Every function runs within the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, or_, select, update

from claude_operator.gateway.clock import stamp
from claude_operator.gateway.store import tables
from claude_operator.wire.github import LEASE_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

MOST_AT_ONCE: Final = 10
_LONGEST_LEASE: Final = 1800.0
_PATIENCE: Final = timedelta(hours=24)
_KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event that was verified for a project."""

    namespace: str
    project: str
    delivery_id: str
    digest: str
    repository: str
    """`host/owner/repo`."""
    event: str
    payload: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that its taker is to work at."""

    serial: int
    namespace: str
    project: str
    repository: str
    event: str
    payload: str
    tries: int


def keep(connection: Connection, arrived: Arrived, now: datetime) -> Taken | None:
    """Keep a delivery, for whoever brought it to work at; None: it was known."""
    table = tables.github_deliveries
    known = connection.execute(
        select(table.c.serial).where(
            table.c.namespace == arrived.namespace,
            table.c.project == arrived.project,
            or_(table.c.delivery_id == arrived.delivery_id, table.c.digest == arrived.digest),
        )
    ).first()
    if known is not None:
        return None
    made = connection.execute(
        insert(table).values(
            namespace=arrived.namespace,
            project=arrived.project,
            delivery_id=arrived.delivery_id,
            digest=arrived.digest,
            repository=arrived.repository,
            event=arrived.event,
            payload=arrived.payload,
            received_at=stamp(now),
            due_at=stamp(now + timedelta(seconds=LEASE_SECONDS)),
            tries=1,
            verdict="",
        )
    ).inserted_primary_key
    assert made is not None
    row = connection.execute(select(table).where(table.c.serial == made[0])).one()
    return _row(row)


def take(connection: Connection, now: datetime) -> list[Taken]:
    """Deliveries that nobody works at, the oldest first; old ones are given up, ancient ones forgotten."""
    table = tables.github_deliveries
    connection.execute(delete(table).where(table.c.done_at < stamp(now - _KEPT)))
    connection.execute(
        update(table)
        .where(
            table.c.done_at.is_(None),
            table.c.due_at <= stamp(now),
            table.c.received_at < stamp(now - _PATIENCE),
        )
        .values(done_at=stamp(now), verdict="given up: it could not be worked at for a day", payload="")
    )
    rows = connection.execute(
        select(table)
        .where(table.c.done_at.is_(None), table.c.due_at <= stamp(now))
        .order_by(table.c.due_at)
        .limit(MOST_AT_ONCE)
    ).all()
    taken = []
    for row in rows:
        lease = min(_LONGEST_LEASE, LEASE_SECONDS * 2.0 ** min(row.tries, 10))
        connection.execute(
            update(table)
            .where(table.c.serial == row.serial)
            .values(due_at=stamp(now + timedelta(seconds=lease)), tries=row.tries + 1)
        )
        taken.append(_row(row))
    return taken


def find(connection: Connection, serial: int) -> Taken | None:
    """A delivery that is not done."""
    table = tables.github_deliveries
    row = connection.execute(
        select(table).where(table.c.serial == serial, table.c.done_at.is_(None))
    ).one_or_none()
    return None if row is None else _row(row)


def finish(connection: Connection, serial: int, now: datetime, *, verdict: str) -> bool:
    """Nothing is left to do about it; False: that was known, or there is none."""
    table = tables.github_deliveries
    done = connection.execute(
        update(table)
        .where(table.c.serial == serial, table.c.done_at.is_(None))
        .values(done_at=stamp(now), verdict=verdict, payload="")
    )
    return bool(done.rowcount)


def _row(row: Row[tuple[object, ...]]) -> Taken:
    return Taken(
        serial=row.serial,
        namespace=row.namespace,
        project=row.project,
        repository=row.repository,
        event=row.event,
        payload=row.payload,
        tries=row.tries,
    )
