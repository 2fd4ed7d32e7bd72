"""The attempts that may act now: who claimed, who was fenced.

The database has the last word at the claim; from then on this process, being the only one that claims and
fences, knows it too, and a request costs no query. After a restart an attempt is loaded again when its pod
first asks for something.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from claude_operator.gateway.clock import parse, utc_now
from claude_operator.gateway.errors import Refusal, claim_refused
from claude_operator.gateway.store import tables
from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.session import SessionSpec

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from claude_operator.gateway.identity import PodIdentity
    from claude_operator.gateway.store.database import Store

CONCURRENT_MODEL_REQUESTS = 8


class Grant(BaseModel):
    """What a claim has granted; stored with it."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    name: str
    session_uid: str
    attempt: int
    pod_uid: str
    pod_name: str
    project: str
    spec: SessionSpec
    claude_session_id: str
    host: str
    repository: str
    """`owner/repo`."""
    publish_branch: str
    session_id: str = ""
    """As HTTP clients know the session."""
    resume_uid: str | None = None
    """The session whose checkpoint the attempt goes on from."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the gateway itself stopped or failed an attempt."""

    area: str
    """model, fetch, push: a later success in the same area takes it back."""
    reason: Reason
    message: str


@dataclass(slots=True, eq=False)
class Live:
    """One live attempt and its state in this process."""

    grant: Grant
    fenced: str = ""
    """Why it may no longer act; empty while it may."""
    cancel_deadline: datetime | None = None
    """Set when it is being cancelled: the model is refused at once, pushes after this."""
    verdict: Verdict | None = None
    model_slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(CONCURRENT_MODEL_REQUESTS)
    )
    model_waiting: int = 0
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)
    """Model responses that are being read."""
    refusals: int = 0
    """How often it asked for what it may not have; see `journal`."""
    event_credit: float = 0.0
    event_time: float = float("-inf")

    def require(self) -> None:
        """Raise Refusal unless it may act."""
        if self.fenced:
            raise claim_refused(self.fenced)

    def require_model(self) -> None:
        """Raise Refusal unless it may call the model."""
        self.require()
        if self.cancel_deadline is not None:
            raise Refusal(403, Reason.CANCELLED, "the session is cancelled: the model is refused")

    def require_push(self) -> None:
        """Raise Refusal unless it may push, keep files and open pull requests."""
        self.require()
        if self.cancel_deadline is not None and utc_now() > self.cancel_deadline:
            raise Refusal(403, Reason.CANCELLED, "the session is cancelled and its grace is over")


class LiveAttempts:
    """All live attempts, by pod uid."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pods: dict[str, Live] = {}
        self._changes = 0
        """Counts fences and claims: what was read before one may be out of date after it."""

    async def of(self, identity: PodIdentity) -> Live:
        """The attempt of a pod.

        Raises:
            Refusal: 403 ClaimRefused; it has not claimed, or was fenced.
        """
        while True:
            live = self._pods.get(identity.pod_uid)
            if live is None:
                seen = self._changes
                loaded = await self._store.read(lambda connection: _load(connection, identity.pod_uid))
                if seen != self._changes:
                    continue  # a fence may have come between the look and this line: look again
                live = self._pods.setdefault(identity.pod_uid, loaded)
            live.require()
            return live

    def admit(self, grant: Grant) -> Live:
        """Take a successful claim into account: every other pod of the session is fenced."""
        self._changes += 1
        for live in self.of_session(grant.session_uid):
            if live.grant.pod_uid != grant.pod_uid:
                live.fenced = f"attempt {grant.attempt} has been claimed by pod {grant.pod_name}"
                self._pods.pop(live.grant.pod_uid, None)
        live = self._pods.get(grant.pod_uid) or Live(grant)
        self._pods[grant.pod_uid] = live
        return live

    def of_session(self, session_uid: str) -> list[Live]:
        """The attempts of a session that this process knows."""
        return [live for live in self._pods.values() if live.grant.session_uid == session_uid]

    def cancel(self, session_uid: str, deadline: datetime) -> None:
        """The session is being cancelled; on record already."""
        self._changes += 1
        for live in self.of_session(session_uid):
            live.cancel_deadline = deadline

    def fence(self, session_uid: str, why: str, *, attempt: int | None = None) -> list[Live]:
        """Stop a session's pods, or those up to `attempt`; the ones that were known are returned.

        Called before the end is written, so that nothing new begins, and once more after it: a pod that
        asks in between is found open in the database.
        """
        self._changes += 1
        fenced = []
        for live in self.of_session(session_uid):
            if attempt is None or live.grant.attempt <= attempt:
                live.fenced = why
                self._pods.pop(live.grant.pod_uid, None)
                fenced.append(live)
        return fenced


def _load(connection: Connection, pod_uid: str) -> Live:
    """An attempt as the database knows it."""
    attempts, sessions, outcomes, fenced = (
        tables.attempts,
        tables.sessions,
        tables.outcomes,
        tables.fenced_pods,
    )
    row = connection.execute(
        select(attempts, sessions.c.cancel_deadline, outcomes.c.uid.label("outcome"))
        .join(sessions, sessions.c.uid == attempts.c.session_uid)
        .outerjoin(outcomes, outcomes.c.uid == attempts.c.session_uid)
        .where(attempts.c.pod_uid == pod_uid)
    ).one_or_none()
    if row is None:
        why = connection.execute(select(fenced.c.why).where(fenced.c.pod_uid == pod_uid)).scalar()
        raise claim_refused(why or "this pod has not claimed its session: POST /v1/session/claim first")
    if row.outcome is not None:
        raise claim_refused("the session is finished: its tokens are void")
    if row.closed_at is not None:
        raise claim_refused(f"attempt {row.number} is closed")
    live = Live(Grant.model_validate_json(row.grant))
    live.cancel_deadline = parse(row.cancel_deadline) if row.cancel_deadline else None
    if row.verdict:
        live.verdict = Verdict(row.verdict_area or "", Reason(row.verdict), row.verdict_message)
    return live
