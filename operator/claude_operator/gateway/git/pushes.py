"""What sessions have put on branches, on record before and after.

`pending` is written before a push goes to the host: if this process dies before the answer, the branch may
stand at that commit, and the session's next push must be let through, and be known as accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.store import tables

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from claude_operator.gateway.live import Grant


def _of(grant: Grant) -> tuple[ColumnElement[bool], ...]:
    table = tables.pushes
    return (
        table.c.host == grant.host,
        table.c.repository == grant.repository,
        table.c.branch == grant.publish_branch,
    )


def own_commits(connection: Connection, grant: Grant) -> set[str]:
    """Commits at which the branch may stand because this session, or the one it continues, put it there."""
    table = tables.pushes
    lineage = [uid for uid in (grant.session_uid, grant.resume_uid) if uid]
    rows = connection.execute(
        select(table.c.commit, table.c.pending).where(*_of(grant), table.c.session_uid.in_(lineage))
    )
    return {commit for row in rows for commit in row if commit}


def expect(connection: Connection, grant: Grant, commit: str) -> None:
    """A push of `commit` is about to go to the host."""
    table = tables.pushes
    mine = (*_of(grant), table.c.session_uid == grant.session_uid)
    known = connection.execute(update(table).where(*mine).values(pending=commit))
    if not known.rowcount:
        connection.execute(
            insert(table).values(
                host=grant.host,
                repository=grant.repository,
                branch=grant.publish_branch,
                session_uid=grant.session_uid,
                pending=commit,
            )
        )


def accepted(connection: Connection, grant: Grant, commit: str) -> None:
    """The host has said that the branch stands at `commit`."""
    table, sessions = tables.pushes, tables.sessions
    mine = (*_of(grant), table.c.session_uid == grant.session_uid)
    connection.execute(delete(table).where(*mine))
    connection.execute(
        insert(table).values(
            host=grant.host,
            repository=grant.repository,
            branch=grant.publish_branch,
            session_uid=grant.session_uid,
            commit=commit,
        )
    )
    connection.execute(
        update(sessions)
        .where(sessions.c.uid == grant.session_uid)
        .values(published_branch=grant.publish_branch, published_commit=commit)
    )
    told = entry("pushed", {"branch": grant.publish_branch, "commit": commit})
    append(connection, grant.session_uid, grant.attempt, "gateway", [told])


def found(connection: Connection, grant: Grant, commit: str) -> None:
    """The host shows the branch at `commit`: if that was pending, its answer was lost, not its effect."""
    table = tables.pushes
    pending = connection.execute(
        select(table.c.pending).where(*_of(grant), table.c.session_uid == grant.session_uid)
    ).scalar()
    if pending == commit:
        accepted(connection, grant, commit)
