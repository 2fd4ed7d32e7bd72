"""One run for one session: observe, decide, carry out, until there is nothing left to do.

Level-triggered: it does not matter what woke the key. The three special cases at the top are sessions that
are not in the watch any more, that were never in it, and whose view is known to be overtaken.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from claude_operator.controller.act import Creation
from claude_operator.controller.memory import Memory
from claude_operator.controller.queue import Again
from claude_operator.engine.attempt import next_attempt, open_attempt, unstopped
from claude_operator.engine.decide import callback_of, decide
from claude_operator.engine.decision import CloseAttempt, ReportOutcome
from claude_operator.engine.views import format_time, session_view
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import SESSIONS
from claude_operator.record.gateway import GatewayUnavailable
from claude_operator.resources.lifecycle import Phase
from claude_operator.resources.session import SessionType
from claude_operator.wire.internal import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_operator.controller.act import Actor
    from claude_operator.controller.cache import Cache
    from claude_operator.controller.observe import Observer
    from claude_operator.engine.config import EngineConfig
    from claude_operator.engine.decision import Decision, JobPlan
    from claude_operator.engine.observation import Observed, Session
    from claude_operator.kube.client import KubeClient
    from claude_operator.record.gateway import Gateway
    from claude_operator.wire.internal import Callback

log = logging.getLogger(__name__)

MAX_STEPS: Final = 12
"""Decisions in one run. The longest chain (ask, ask, write, delete, nothing) has five; more is a bug in
the engine, and the key comes back later instead of spinning."""
_CLOCK_SKEW: Final = timedelta(seconds=1)


class Sources(Protocol):
    """What the reconciler has to know about the watches, and about itself."""

    @property
    def leading(self) -> bool:
        """No other replica can be at work."""

    @property
    def projects_synced(self) -> bool:
        """Every project is in the cache."""

    @property
    def sessions_synced(self) -> bool:
        """Every unfinished session is in the cache."""

    @property
    def jobs_synced(self) -> bool:
        """Every Job and Pod is in the cache."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconciler works with."""

    cache: Cache
    client: KubeClient
    gateway: Gateway
    observer: Observer
    actor: Actor
    sources: Sources
    config: Callable[[], EngineConfig]
    """The settings as they are now: the gateway's CA can be renewed."""
    come_back: Callable[[str, float], None]
    """Look at a key again in so many seconds."""
    expire: Callable[[Session], None]
    """A session has finished: its time to live begins."""


class Reconciler:
    """`await reconciler(uid)` brings one session a step further, or finds that all is as it should be."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._memory: dict[str, Memory] = {}
        self._started = datetime.now(UTC)

    async def __call__(self, uid: str) -> None:
        """One run.

        Raises:
            Again: it can't go on now; come back after a pause.
            ApiError: the API server failed or refused; likewise.
        """
        cache = self._parts.cache
        session = cache.session(uid)
        if session is None:
            await self._without_session(uid)
        elif cache.departed(uid) is not None:
            await self._farewell(session)
        elif cache.is_stale(uid):
            await self._refresh(session)
        elif session.deleting:
            await self._report_deleted(session)
        elif self._ready_for(session):
            await self._drive(session)

    def _ready_for(self, session: Session) -> bool:
        """Whether enough has been listed to decide on it.

        Without the projects, what was resolved for a session would be missing in its status. Without the
        Jobs, an attempt looks lost and a new Job looks missing. A session that is younger than this process
        has no Job yet, so a restart does not make it wait for a long list.
        """
        sources = self._parts.sources
        young = session.created >= self._started - _CLOCK_SKEW and not session.status.attempts
        if sources.projects_synced and (sources.jobs_synced or young):
            return True
        self._parts.come_back(session.uid, 0.1)
        return False

    # The usual way.

    async def _drive(self, session: Session) -> None:
        """Decide and carry out until the engine wants nothing more."""
        parts, conflict, refused = self._parts, "", ""
        memory = self._memory.setdefault(session.uid, Memory())
        for _ in range(MAX_STEPS):
            if not parts.sources.leading:
                raise Again("the Lease was not renewed in time: what was seen may be long overtaken")
            sight = await parts.observer.observe(session, memory, job_conflict=conflict, job_refused=refused)
            decision = decide(sight.observed, now=datetime.now(UTC), config=parts.config())
            if await self._finds_job(sight.observed, decision, memory):
                continue
            if decision.ask is not None and await parts.actor.ask(session, decision.ask, memory):
                continue
            if decision.create_job is not None:
                conflict, refused = await self._create(session, sight.observed, decision.create_job)
                continue
            wrote = await self._write(session, decision, memory)
            if wrote is not None:
                session = wrote
                continue
            if decision.delete_job is not None:
                await parts.actor.delete_job(session, decision.delete_job)
                continue
            self._rest(session, decision, memory, missing=sight.missing or refused)
            return
        raise Again(f"{session.namespace}/{session.name}: no rest after {MAX_STEPS} decisions")

    async def _finds_job(self, observed: Observed, decision: Decision, memory: Memory) -> bool:
        """Before an attempt is given up, or a session ends without one: whether its Job exists after all."""
        match decision.ask:
            case CloseAttempt(number):
                pass
            case ReportOutcome() if open_attempt(observed) is None and not observed.job_conflict:
                number = next_attempt(observed)
            case _:
                return False
        if memory.lost >= number or any(job.attempt == number for job in observed.jobs):
            return False
        if await self._parts.actor.look_for_job(observed.session, number):
            return True
        memory.lost = number
        return False

    async def _create(self, session: Session, observed: Observed, plan: JobPlan) -> tuple[str, str]:
        """The Job; a foreign one's name and the API server's refusal, where it comes to that."""
        assert observed.project is not None, "the engine plans no Job without a project"
        try:
            created = await self._parts.actor.create_job(
                session, observed.project, plan, self._parts.config()
            )
        except ApiError as error:
            if error.transient:
                raise
            return "", error.message
        return (plan.name, "") if created is Creation.FOREIGN else ("", "")

    async def _write(self, session: Session, decision: Decision, memory: Memory) -> Session | None:
        """The status, and what may only follow it; the session as it is then, None if nothing was written."""
        if decision.status is None:
            if decision.event is not None:
                self._parts.actor.tell(session, decision.event)
            return None
        try:
            session = await self._parts.actor.write_status(session, decision.status)
        except ApiError as error:
            if not error.not_found:
                raise
            self._parts.cache.lose_session(session.uid)
            raise Again("the session is not there any more") from error
        memory.proposal = None
        if decision.event is not None:
            self._parts.actor.tell(session, decision.event)
        if decision.delete_job is not None:
            await self._parts.actor.delete_job(session, decision.delete_job)
        if session.status.phase.final:
            self._parts.expire(session)
        return session

    def _rest(self, session: Session, decision: Decision, memory: Memory, *, missing: str) -> None:
        """Nothing more to do now."""
        if session.status.phase.final:
            self._memory.pop(session.uid, None)
            return
        memory.proposal = decision.proposal
        if decision.wake_at is not None:
            pause = (decision.wake_at - datetime.now(UTC)).total_seconds()
            self._parts.come_back(session.uid, max(pause, 0.001))
        if decision.ask is not None:
            raise Again(f"the gateway is needed: {memory.gateway.unavailable}")
        if missing:
            raise Again(missing)

    # Views that can't be decided on.

    async def _refresh(self, session: Session) -> None:
        """A newer view was announced by a conflict, and did not come within the back-off: read it."""
        current = await self._read(session.namespace, session.name)
        if current is None or current.uid != session.uid:
            self._parts.cache.lose_session(session.uid)
            return
        if current.status.phase.final:
            await self._tidy(current)
            return
        self._parts.cache.see_session(current)
        if self._parts.cache.is_stale(session.uid):
            # The refusal was not about the view's age (a rule that we break, for instance).
            self._parts.cache.accept(session.uid)
            raise Again("the session has not changed since its status was refused")

    async def _farewell(self, session: Session) -> None:
        """It left the watch, and no final status of ours explains it: one read tells."""
        current = await self._read(session.namespace, session.name)
        if current is not None and current.uid == session.uid:
            if current.status.phase.final:
                await self._tidy(current)
            else:
                self._parts.cache.see_session(current)  # not gone at all
            return
        await self._report_deleted(session)
        self._parts.cache.forget_session(session.uid)
        self._memory.pop(session.uid, None)

    async def _tidy(self, session: Session) -> None:
        """Finished by another leader, or by a write of ours whose answer was lost: do what follows the write.

        Nothing else would: its Job may run on for hours without an event that wakes us.
        """
        self._parts.cache.see_session(session)
        self._parts.expire(session)
        await self._drive(session)

    async def _without_session(self, uid: str) -> None:
        """Jobs without a cached session: their session has finished, or was deleted unseen."""
        parts = self._parts
        self._memory.pop(uid, None)
        home = parts.cache.home(uid)
        jobs = parts.cache.jobs(uid)
        if home is None or parts.cache.is_gone(uid) or all(job.end or job.owner_uid != uid for job in jobs):
            return
        ended = parts.cache.ended(home)
        if ended is not None and ended.uid == uid and unstopped(uid, jobs, parts.cache.pods(uid)) is None:
            return  # what is left of a finished session is ending by itself
        if not (parts.sources.sessions_synced and parts.sources.jobs_synced):
            # Without its pod, a Job that is just ending by itself looks as if it ran on.
            parts.come_back(uid, 0.5)
            return
        current = await self._read(*home)
        if current is not None and current.uid == uid:
            if current.status.phase.final:
                await self._tidy(current)
            else:
                parts.cache.see_session(current)
            return
        # Deleted while nobody looked. The owner reference takes the Job away; its tokens are voided here.
        await self.void(home, uid, SessionType.IMPLEMENTATION)
        parts.cache.forget_session(uid)

    async def _read(self, namespace: str, name: str) -> Session | None:
        try:
            return session_view(await self._parts.client.get(SESSIONS, name, namespace=namespace))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def _report_deleted(self, session: Session) -> None:
        kind = session.intent.type if session.intent is not None else SessionType.IMPLEMENTATION
        await self.void((session.namespace, session.name), session.uid, kind, callback_of(session))

    async def void(
        self, name: tuple[str, str], uid: str, kind: SessionType, callback: Callback | None = None
    ) -> None:
        """A session was deleted unfinished: nothing of it may run or push any more."""
        outcome = Outcome(
            namespace=name[0],
            name=name[1],
            uid=uid,
            type=kind,
            phase="Deleted",
            message="the session was deleted before it was finished",
            finished_at=format_time(datetime.now(UTC)),
            callback=callback,
        )
        try:
            stands = await self._parts.gateway.report(outcome)
        except GatewayUnavailable as error:
            raise Again(f"the deletion can't be reported to the gateway: {error}") from error
        if stands.phase != "Deleted":
            log.info("%s/%s was deleted after it had ended as %s", *name, Phase(stands.phase))
