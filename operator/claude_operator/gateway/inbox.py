"""The inbox: messages, interrupts and the cancel, for the runner to fetch. Nothing needs `pods/exec`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.store import tables
from claude_operator.wire.session import InboxItem

if TYPE_CHECKING:
    from sqlalchemy import Connection


def put(connection: Connection, session_uid: str, kind: str, text: str = "") -> InboxItem:
    """Add an item.

    Raises:
        Refusal: 404, the session is not known; 409, it is finished.
    """
    sessions, outcomes = tables.sessions, tables.outcomes
    last = connection.execute(
        select(sessions.c.last_inbox).where(sessions.c.uid == session_uid)
    ).scalar_one_or_none()
    if last is None:
        raise Refusal(404, "NotFound", f"no session with the uid {session_uid} has started")
    finished = select(outcomes.c.serial).where(outcomes.c.uid == session_uid)
    if connection.execute(finished).scalar() is not None:
        raise Refusal(
            409, "Finished", "the session is finished: continue with a new one that names it in resumeFrom"
        )
    item = InboxItem(id=last + 1, kind=kind, text=text)
    connection.execute(insert(tables.inbox).values(session_uid=session_uid, **item.model_dump()))
    connection.execute(update(sessions).where(sessions.c.uid == session_uid).values(last_inbox=item.id))
    return item


def items(connection: Connection, session_uid: str, after: int) -> list[InboxItem]:
    """The items beyond `after`."""
    table = tables.inbox
    rows = connection.execute(
        select(table).where(table.c.session_uid == session_uid, table.c.id > after).order_by(table.c.id)
    )
    return [InboxItem(id=row.id, kind=row.kind, text=row.text) for row in rows]


def wakeup_key(session_uid: str) -> str:
    """Under which a new item is notified; the journal's key is the uid alone."""
    return f"inbox/{session_uid}"
