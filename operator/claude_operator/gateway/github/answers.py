"""Where a session's answer goes, and that something is owed there: rows within the caller's transaction.

The target is what the delivery was about, noted together with "the delivery is done". It does not stand in
the session's spec: whoever may create sessions could make the project's bot speak anywhere then.

What is owed is a state, not a message: the outbox's row says that GitHub is to be brought up to date, and
`report` looks at the record when it does so. A status that was overtaken is never sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select

from claude_operator.gateway.claims import ensure_session
from claude_operator.gateway.clock import stamp
from claude_operator.gateway.outbox import queue
from claude_operator.gateway.outbox.delivery import Wanted
from claude_operator.gateway.store import tables
from claude_operator.wire.github import Answer, Form

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from claude_operator.gateway.github.deliveries import Taken
    from claude_operator.wire.github import MadeSession

KIND: Final = "github"


def accept(connection: Connection, taken: Taken, made: MadeSession, now: datetime) -> None:
    """A session was made for a delivery: note where its answer goes, and owe the first status."""
    table = tables.github_answers
    if row_of(connection, made.uid) is not None:
        return
    ensure_session(connection, made.uid, taken.namespace, made.name, taken.project)
    answer = made.answer
    connection.execute(
        insert(table).values(
            session_uid=made.uid,
            namespace=taken.namespace,
            name=made.name,
            project=taken.project,
            repository=taken.repository,
            number=answer.number,
            commit=answer.commit if answer.form is Form.REVIEW else None,
            body=answer.model_dump_json(),
            created_at=stamp(now),
        )
    )
    owe(connection, made.uid, now)


def owe(connection: Connection, session_uid: str, now: datetime) -> None:
    """Something about a session has changed: bring GitHub up to date, if its answer goes there."""
    row = row_of(connection, session_uid)
    if row is None:
        return
    wanted = Wanted(
        session_uid=session_uid,
        kind=KIND,
        namespace=row.namespace,
        project=row.project,
        target=row.repository.partition("/")[0],
        body="{}",
    )
    queue.put(connection, wanted, now)


def row_of(connection: Connection, session_uid: str) -> Row[tuple[object, ...]] | None:
    """Where the answer goes; None: not to GitHub."""
    table = tables.github_answers
    return connection.execute(select(table).where(table.c.session_uid == session_uid)).one_or_none()


def answer_of(row: Row[tuple[object, ...]]) -> Answer:
    """What is to be made of it."""
    return Answer.model_validate_json(row.body)
