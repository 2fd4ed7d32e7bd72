"""The rows of the outbox. Every function runs within the caller's transaction."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, func, insert, or_, select, update

from claude_operator.gateway.clock import parse, stamp
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.outbox.delivery import Delivered, Delivery, GiveUp, Retry, Wanted
from claude_operator.gateway.store import tables
from claude_operator.wire.internal import DeliveryRecord, DeliveryState

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from claude_operator.gateway.journal import Entry
    from claude_operator.gateway.outbox.delivery import Result
    from claude_operator.gateway.outbox.pace import Pace

WAKEUP: Final = "outbox"
"""Key of the wake-up that tells the worker of new rows."""
_MOST_FAULT: Final = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is left to do."""

    count: int
    next_at: datetime | None
    """When the next one becomes due that is not due yet."""


def put(connection: Connection, wanted: Wanted, now: datetime) -> None:
    """Owe something. What was owed under the same session and kind is replaced; what it remembers stays.

    A row that is failing keeps its back-off: new wishes do not make a broken receiver work.
    """
    table = tables.outbox
    key = (table.c.session_uid == wanted.session_uid, table.c.kind == wanted.kind)
    standing = connection.execute(select(table).where(*key)).one_or_none()
    values: dict[str, object] = {
        "namespace": wanted.namespace,
        "project": wanted.project,
        "target": wanted.target[:300],
        "body": wanted.body,
        "state": DeliveryState.WAITING.value,
        "wanted_at": stamp(now),
        "due_at": stamp(now),
        "ended_at": None,
    }
    if standing is None:
        connection.execute(
            insert(table).values(
                session_uid=wanted.session_uid,
                kind=wanted.kind,
                id=str(uuid.uuid4()),
                version=1,
                kept="",
                tries=0,
                fault="",
                **values,
            )
        )
        return
    if standing.state == DeliveryState.WAITING:
        values["due_at"] = standing.due_at
    else:
        values |= {"tries": 0, "fault": ""}
    connection.execute(update(table).where(*key).values(version=standing.version + 1, **values))


def due(
    connection: Connection,
    now: datetime,
    most: int,
    *,
    but: Collection[str],
    targets: Collection[str],
    namespaces: Collection[str],
) -> list[Delivery]:
    """What may be tried now, the longest due first.

    Args:
        connection: to read from.
        now: the time.
        most: rows.
        but: ids of those under way.
        targets: those that have enough under way.
        namespaces: likewise.
    """
    table = tables.outbox
    rows = connection.execute(
        select(table)
        .where(
            table.c.state == DeliveryState.WAITING.value,
            table.c.due_at <= stamp(now),
            table.c.id.not_in(but),
            table.c.target.not_in(targets),
            table.c.namespace.not_in(namespaces),
        )
        .order_by(table.c.due_at)
        .limit(most)
    )
    return [_delivery(row) for row in rows]


def waiting(connection: Connection, now: datetime) -> Waiting:
    """How many wait, and for when."""
    table = tables.outbox
    mine = table.c.state == DeliveryState.WAITING.value
    count = connection.execute(select(func.count()).select_from(table).where(mine)).scalar_one()
    later = select(func.min(table.c.due_at)).where(mine, table.c.due_at > stamp(now))
    next_at = connection.execute(later).scalar()
    return Waiting(count, parse(next_at) if next_at else None)


def record(
    connection: Connection, delivery: Delivery, result: Result, now: datetime, *, pace: Pace, chance: float
) -> DeliveryState | None:
    """Note how a try has ended; the row's state then, None when there is no such row any more."""
    table = tables.outbox
    row = connection.execute(select(table).where(table.c.id == delivery.id)).one_or_none()
    if row is None:
        return None
    tries = row.tries + 1
    # Something else is wanted by now: whatever came of the old wish, the new one is to be tried.
    renewed = row.version != delivery.version
    values: dict[str, object] = {"tries": tries, "ended_at": None, "due_at": stamp(now)}
    if isinstance(result, Delivered):
        state = DeliveryState.DELIVERED
        values |= {"tries": 0, "fault": "", "kept": row.kept if result.kept is None else result.kept}
    elif isinstance(result, GiveUp):
        state = DeliveryState.GIVEN_UP
        values |= {"fault": result.why[:_MOST_FAULT]}
    else:
        over = pace.over(tries, now - parse(row.wanted_at)) and not renewed
        state = DeliveryState.GIVEN_UP if over else DeliveryState.WAITING
        pause = pace.wait(tries, asked=result.after, chance=chance)
        values |= {"fault": result.why[:_MOST_FAULT], "due_at": stamp(now + pause)}
    told = _told(delivery, result, state, tries)
    if renewed:
        state = DeliveryState.WAITING
    if state is not DeliveryState.WAITING:
        values["ended_at"] = stamp(now)
    connection.execute(update(table).where(table.c.id == delivery.id).values(state=state.value, **values))
    append(connection, delivery.wanted.session_uid, 0, "gateway", [told])
    return state


def of_session(connection: Connection, session_uid: str) -> list[DeliveryRecord]:
    """What is or was owed on behalf of a session."""
    table = tables.outbox
    rows = connection.execute(select(table).where(table.c.session_uid == session_uid).order_by(table.c.kind))
    return [
        DeliveryRecord(
            id=row.id,
            kind=row.kind,
            version=row.version,
            state=DeliveryState(row.state),
            target=row.target,
            tries=row.tries,
            fault=row.fault,
            wanted_at=row.wanted_at,
            next_try_at=row.due_at if row.state == DeliveryState.WAITING else None,
            ended_at=row.ended_at,
        )
        for row in rows
    ]


def prune(connection: Connection, now: datetime, pace: Pace) -> int:
    """Forget what has ended long ago; how many that were."""
    table = tables.outbox
    too_old = [
        and_(table.c.state == state.value, table.c.ended_at < stamp(now - timedelta(seconds=seconds)))
        for state, seconds in (
            (DeliveryState.DELIVERED, pace.keep_delivered),
            (DeliveryState.GIVEN_UP, pace.keep_given_up),
        )
    ]
    return connection.execute(delete(table).where(or_(*too_old))).rowcount


def _told(delivery: Delivery, result: Result, state: DeliveryState, tries: int) -> Entry:
    data: dict[str, object] = {"delivery": delivery.id, "to": delivery.wanted.target, "try": tries}
    if isinstance(result, Retry | GiveUp):
        data["message"] = result.why[:_MOST_FAULT]
    word = "failed" if state is DeliveryState.WAITING else state.value
    return entry(f"{delivery.wanted.kind}_{word}", data)


def _delivery(row: Row[tuple[object, ...]]) -> Delivery:
    return Delivery(
        id=row.id,
        wanted=Wanted(
            session_uid=row.session_uid,
            kind=row.kind,
            namespace=row.namespace,
            project=row.project,
            target=row.target,
            body=row.body,
        ),
        version=row.version,
        kept=row.kept,
        tries=row.tries,
        wanted_at=parse(row.wanted_at),
    )
