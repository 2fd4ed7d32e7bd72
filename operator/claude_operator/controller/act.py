"""One function for each thing that a decision can ask for.

Every one of them can be repeated after a crash at any point: names are deterministic, writes are guarded,
and the gateway's calls answer a repetition like the first time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from claude_operator.controller.queue import Again
from claude_operator.engine import job as jobs
from claude_operator.engine.decision import CloseAttempt, ReportOutcome, TellCancel
from claude_operator.engine.views import controller_uid, job_view, session_view
from claude_operator.kube import mergepatch
from claude_operator.kube.errors import ApiError
from claude_operator.kube.events import About
from claude_operator.kube.kinds import JOBS, SESSIONS
from claude_operator.record.gateway import GatewayUnavailable
from claude_operator.wire.internal import CancelRequest, CloseRequest

if TYPE_CHECKING:
    from typing import Any

    from claude_operator.controller.cache import Cache
    from claude_operator.controller.memory import Memory
    from claude_operator.engine.config import EngineConfig
    from claude_operator.engine.decision import Ask, JobPlan, SessionEvent
    from claude_operator.engine.observation import Job, Project, Session
    from claude_operator.kube.client import KubeClient
    from claude_operator.kube.events import EventRecorder
    from claude_operator.record.gateway import Gateway
    from claude_operator.resources.session_status import SessionStatus


class Creation(Enum):
    """What became of a create."""

    OURS = auto()
    """The Job is there and in the cache, whoever created it."""
    FOREIGN = auto()
    """Somebody else's Job has the name."""


class Actor:
    """Carries out single steps; the reconciler puts them in order."""

    def __init__(
        self, *, client: KubeClient, gateway: Gateway, cache: Cache, recorder: EventRecorder
    ) -> None:
        self._client = client
        self._gateway = gateway
        self._cache = cache
        self._recorder = recorder

    async def ask(self, session: Session, ask: Ask, memory: Memory) -> bool:
        """Put one question to the gateway; whether it answered. Answer or failure go into `memory`."""
        facts = memory.gateway
        try:
            match ask:
                case CloseAttempt(number):
                    closing = CloseRequest(namespace=session.namespace, name=session.name)
                    record = await self._gateway.close_attempt(session.uid, number, closing)
                    facts = replace(facts, closed=number, record=record)
                case TellCancel(grace_seconds):
                    request = CancelRequest(
                        namespace=session.namespace, name=session.name, grace_seconds=grace_seconds
                    )
                    await self._gateway.cancel(session.uid, request)
                    facts = replace(facts, cancel_told_at=datetime.now(UTC))
                case ReportOutcome(outcome):
                    facts = replace(facts, outcome=await self._gateway.report(outcome))
        except GatewayUnavailable as error:
            memory.gateway = replace(facts, unavailable=str(error))
            return False
        memory.gateway = replace(facts, unavailable="")
        return True

    async def create_job(
        self, session: Session, project: Project, plan: JobPlan, config: EngineConfig
    ) -> Creation:
        """Create the Job of an attempt, or find that it exists.

        Raises:
            Again: its predecessor of the same name is still being deleted.
            ApiError: the API server refuses it.
        """
        body = jobs.build(session, project, plan, config)
        try:
            created = await self._client.create(JOBS, body, namespace=session.namespace)
        except ApiError as error:
            if not error.already_exists:
                raise
            created = await self._existing(session, plan)
        if controller_uid(created["metadata"]) != session.uid:
            return Creation.FOREIGN
        if "deletionTimestamp" in created["metadata"]:
            raise Again(f"the Job {plan.name} is still being deleted")
        self._see_job(session, created)
        return Creation.OURS

    async def _existing(self, session: Session, plan: JobPlan) -> dict[str, Any]:
        # An earlier create of ours whose answer was lost, another leader's, a foreign one, or one that
        # is going: reading it tells.
        try:
            return await self._client.get(JOBS, plan.name, namespace=session.namespace)
        except ApiError as error:
            if error.not_found:
                raise Again(f"the Job {plan.name} was just deleted") from error
            raise

    def _see_job(self, session: Session, created: dict[str, Any]) -> None:
        view = job_view(created)
        if view is None:
            raise Again(f"the Job {created['metadata']['name']} has lost our labels; delete it")
        home = (session.namespace, session.name)
        self._cache.see_job(session.uid, home, created["metadata"]["resourceVersion"], view)

    async def look_for_job(self, session: Session, attempt: int) -> bool:
        """Read the Job of an attempt that the cache does not have; whether it is there after all.

        The watches of sessions and of Jobs are two: what another leader did can arrive by the one before the
        other, and an attempt must not be given up for that.
        """
        recorded = {each.number: each.job for each in session.status.attempts}
        name = recorded.get(attempt) or jobs.job_name(session.name, session.uid, attempt)
        try:
            found = await self._client.get(JOBS, name, namespace=session.namespace)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        if controller_uid(found["metadata"]) != session.uid or job_view(found) is None:
            return False
        self._see_job(session, found)
        return True

    async def write_status(self, session: Session, status: SessionStatus) -> Session:
        """Write it, if nobody has written since; the session as it is then, which the cache holds too.

        Raises:
            Again: somebody has; a newer view is on its way.
            ApiError: `not_found`: the session is gone.
        """
        change = mergepatch.diff(session.status.to_api(), status.to_api())
        patch = {"metadata": {"resourceVersion": session.resource_version}, "status": change}
        try:
            answer = await self._client.patch(
                SESSIONS, session.name, patch, namespace=session.namespace, subresource="status"
            )
        except ApiError as error:
            if not (error.conflict or error.status == 422):  # noqa: PLR2004 - HTTP
                raise
            # 409: the view is overtaken, or this very write was done and its answer lost. 422: a rule,
            # most likely "a final phase never changes". Both are decided anew on a newer view.
            self._cache.mark_stale(session)
            raise Again(f"the status was decided on an older view: {error.message}") from error
        view = session_view(answer)
        self._cache.see_session(view)
        return view

    async def delete_job(self, session: Session, job: Job) -> None:
        """Delete this very Job and, in the background, its pod; one that is gone is fine.

        Raises:
            Again: a conflict. Another Job has its name, which the watch will tell; or it was changed at the
                same time, and then it still runs.
        """
        try:
            await self._client.delete(JOBS, job.name, namespace=session.namespace, uid=job.uid)
        except ApiError as error:
            if error.conflict:
                raise Again(f"the deletion of the Job {job.name} met a conflict: {error.message}") from error
            if not error.not_found:
                raise
            self._cache.lose_job(session.uid, job.uid)
        else:
            self._cache.job_deleting(session.uid, job.uid)

    def tell(self, session: Session, event: SessionEvent) -> None:
        """Tell people, in the background."""
        about = About(SESSIONS, session.namespace, session.name, session.uid)
        self._recorder.record(about, warning=event.warning, reason=event.reason, message=event.message)
