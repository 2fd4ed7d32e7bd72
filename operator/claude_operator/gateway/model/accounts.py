"""What sessions and projects have spent, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from claude_operator.gateway.clock import stamp
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.model.usage import Spent
from claude_operator.gateway.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class Reservation:
    """A model request that is under way, and the most that it can cost."""

    id: str
    session_uid: str
    attempt: int
    namespace: str
    project: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_nanousd: int

    @property
    def tokens(self) -> int:
        """Tokens of every kind."""
        return self.input_tokens + self.output_tokens

    def whole(self) -> Spent:
        """What is booked when the true numbers cannot be had."""
        return Spent(
            input=self.input_tokens,
            output=self.output_tokens,
            cost_nanousd=self.cost_nanousd,
            estimated=True,
        )


def of_row(row: Row[tuple[object, ...]]) -> Spent:
    """The sums in a row of `attempts`."""
    return Spent(
        input=row.input_tokens,
        output=row.output_tokens,
        cache_read=row.cache_read_tokens,
        cache_write=row.cache_write_tokens,
        cost_nanousd=row.cost_nanousd,
        turns=row.turns,
        estimated=row.estimated,
    )


def spent_by_session(connection: Connection, session_uid: str) -> Spent:
    """Over all attempts."""
    table = tables.attempts
    rows = connection.execute(select(table).where(table.c.session_uid == session_uid))
    return sum((of_row(row) for row in rows), Spent())


def spent_by_project(connection: Connection, namespace: str, project: str, since: str) -> int:
    """Nano-dollars of a project since a UTC day (`2026-01-31`)."""
    table = tables.spending
    total = connection.execute(
        select(func.coalesce(func.sum(table.c.cost_nanousd), 0)).where(
            table.c.namespace == namespace, table.c.project == project, table.c.day >= since
        )
    ).scalar_one()
    return int(total)


def reserve(connection: Connection, reservation: Reservation) -> None:
    """Put a request on record before its answer is passed on: a crash must not make it free."""
    connection.execute(
        insert(tables.reservations).values(
            id=reservation.id,
            session_uid=reservation.session_uid,
            attempt=reservation.attempt,
            model=reservation.model,
            started_at=stamp(),
            input_tokens=reservation.input_tokens,
            output_tokens=reservation.output_tokens,
            cost_nanousd=reservation.cost_nanousd,
        )
    )


def settle(connection: Connection, reservation: Reservation, spent: Spent, day: str) -> None:
    """Replace a reservation by what was used. Repeatable: without the reservation nothing is booked."""
    table = tables.reservations
    gone = connection.execute(delete(table).where(table.c.id == reservation.id))
    if gone.rowcount:
        _book(connection, reservation, spent, day)


def _book(connection: Connection, reservation: Reservation, spent: Spent, day: str) -> None:
    attempts = tables.attempts
    connection.execute(
        update(attempts)
        .where(attempts.c.session_uid == reservation.session_uid, attempts.c.number == reservation.attempt)
        .values(
            input_tokens=attempts.c.input_tokens + spent.input,
            output_tokens=attempts.c.output_tokens + spent.output,
            cache_read_tokens=attempts.c.cache_read_tokens + spent.cache_read,
            cache_write_tokens=attempts.c.cache_write_tokens + spent.cache_write,
            cost_nanousd=attempts.c.cost_nanousd + spent.cost_nanousd,
            turns=attempts.c.turns + spent.turns,
            **({"estimated": True} if spent.estimated else {}),
        )
    )
    spending = tables.spending
    mine = (
        spending.c.namespace == reservation.namespace,
        spending.c.project == reservation.project,
        spending.c.day == day,
    )
    added = connection.execute(
        update(spending).where(*mine).values(cost_nanousd=spending.c.cost_nanousd + spent.cost_nanousd)
    )
    if not added.rowcount:
        connection.execute(
            insert(spending).values(
                namespace=reservation.namespace,
                project=reservation.project,
                day=day,
                cost_nanousd=spent.cost_nanousd,
            )
        )


def book_interrupted(connection: Connection, day: str) -> int:
    """Book what a crash has cut off: its reservation, marked as estimated. How many there were."""
    table, attempts = tables.reservations, tables.attempts
    rows = list(
        connection.execute(
            select(table, attempts.c.namespace, attempts.c.project).join(
                attempts,
                (attempts.c.session_uid == table.c.session_uid) & (attempts.c.number == table.c.attempt),
            )
        )
    )
    for row in rows:
        reservation = Reservation(
            id=row.id,
            session_uid=row.session_uid,
            attempt=row.attempt,
            namespace=row.namespace,
            project=row.project,
            model=row.model,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost_nanousd=row.cost_nanousd,
        )
        settle(connection, reservation, reservation.whole(), day)
        told = entry("model_interrupted", {"model": row.model, "booked": "the reservation"})
        append(connection, row.session_uid, row.attempt, "gateway", [told])
    return len(rows)
