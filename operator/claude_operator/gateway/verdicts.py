"""Recording what the gateway refused or could not do, until the same thing succeeds.

The controller takes the standing verdict for the reason of an attempt that failed: a 401 of the model's API
says ModelAuthFailed, whatever the pod makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import update

from claude_operator.gateway.live import Verdict
from claude_operator.gateway.store import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.live import Live
    from claude_operator.gateway.store.database import Store
    from claude_operator.resources.lifecycle import Reason

_MOST_MESSAGE: Final = 1000


class Verdicts:
    """Sets and takes back verdicts, in memory at once and in the database soon after."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, live: Live, area: str, reason: Reason, message: str) -> None:
        """The gateway stopped or failed the attempt."""
        self._write(live, Verdict(area, reason, message[:_MOST_MESSAGE]))

    def clear(self, live: Live, area: str) -> None:
        """Something of this area succeeded: what failed in it before no longer explains anything."""
        if live.verdict is not None and live.verdict.area == area:
            self._write(live, None)

    def _write(self, live: Live, verdict: Verdict | None) -> None:
        if live.verdict == verdict:
            return
        live.verdict = verdict
        table, grant = tables.attempts, live.grant

        def write(connection: Connection) -> None:
            connection.execute(
                update(table)
                .where(
                    table.c.session_uid == grant.session_uid,
                    table.c.number == grant.attempt,
                    table.c.pod_uid == grant.pod_uid,
                    # The controller has decided on what it read at the close.
                    table.c.closed_at.is_(None),
                )
                .values(
                    verdict=verdict.reason.value if verdict else None,
                    verdict_area=verdict.area if verdict else None,
                    verdict_message=verdict.message if verdict else "",
                )
            )

        self._store.post(write, "a verdict")
