"""The claim: from a verified token to the one live pod of a session.

Each link is looked up and its uid compared, since names are reused and labels can be written by whoever may
create pods: token -> pod -> Job (controller reference) -> ClaudeSession (controller reference). Then one
transaction decides (`claims`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from claude_operator.gateway import claims, records
from claude_operator.gateway.checkpoint import latest
from claude_operator.gateway.claims import ensure_session
from claude_operator.gateway.clock import utc_now
from claude_operator.gateway.cluster import ClusterUnavailableError
from claude_operator.gateway.errors import Refusal, claim_refused, unavailable
from claude_operator.gateway.github import answers
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.live import Grant
from claude_operator.gateway.model.accounts import spent_by_session
from claude_operator.gateway.scope import caps_of, model_of, publish_branch_of, repository_of
from claude_operator.gateway.store import tables
from claude_operator.resources.identity import LABEL_ATTEMPT, LABEL_SESSION_UID, SESSION_KIND, session_id_of
from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.assignment import Assigner
    from claude_operator.gateway.cluster import Cluster, Owned, Session
    from claude_operator.gateway.identity import PodIdentity
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import LiveAttempts
    from claude_operator.gateway.model.meter import Meter
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.store.database import Store
    from claude_operator.resources.project import ProjectSpec
    from claude_operator.wire.session import Assignment


@dataclass(frozen=True, slots=True)
class _Claimant:
    """A pod whose links to its session hold."""

    session: Session
    attempt: int


@dataclass(frozen=True, slots=True)
class Claimer:
    """Decides about claims."""

    cluster: Cluster
    store: Store
    projects: Projects
    live: LiveAttempts
    meter: Meter
    assigner: Assigner
    journal: Journal

    async def claim(self, pod: PodIdentity) -> Assignment:
        """Make a pod the live one of its session; repeatable by that pod.

        Raises:
            Refusal: 409, it may not run; 503, something can't be asked now.
        """
        try:
            claimant = await self._claimant(pod)
            try:
                return await self._grant(pod, claimant)
            except Refusal as refused:
                await self._note_refused(claimant, pod, refused)
                raise
        except ClusterUnavailableError as error:
            raise unavailable(f"the Kubernetes API can't be asked now: {error}") from error

    async def _claimant(self, identity: PodIdentity) -> _Claimant:
        pod = await self.cluster.pod(identity.namespace, identity.pod_name)
        if pod is None or pod.uid != identity.pod_uid:
            raise claim_refused("the pod of this token is gone", status=409)
        if pod.deleting:
            raise claim_refused("the pod is being deleted", status=409)
        owner = pod.owner
        if owner is None or owner.kind != "Job":
            raise claim_refused("the pod belongs to no Job", status=409)
        job = await self.cluster.job(identity.namespace, owner.name)
        if job is None or job.uid != owner.uid:
            raise claim_refused(f"Job {owner.name} of the pod is gone", status=409)
        if job.deleting:
            raise claim_refused(f"Job {owner.name} is being deleted", status=409)
        session = await self._session(job)
        attempt = job.labels.get(LABEL_ATTEMPT, "")
        for what in (pod, job):
            if what.labels.get(LABEL_SESSION_UID) != session.uid or what.labels.get(LABEL_ATTEMPT) != attempt:
                raise claim_refused(
                    f"the labels of {what.name} do not belong to session {session.name}", status=409
                )
        if not attempt.isdecimal() or not 1 <= int(attempt) < 10_000:  # noqa: PLR2004 - bounds a label
            raise claim_refused(f"Job {job.name} has no valid label {LABEL_ATTEMPT}", status=409)
        return _Claimant(session, int(attempt))

    async def _session(self, job: Owned) -> Session:
        owner = job.owner
        if owner is None or owner.kind != SESSION_KIND:
            raise claim_refused(f"Job {job.name} belongs to no ClaudeSession", status=409)
        session = await self.cluster.session(job.namespace, owner.name)
        if session is None or session.uid != owner.uid:
            raise claim_refused(f"ClaudeSession {owner.name} is gone", status=409)
        if session.deleting:
            raise claim_refused(f"ClaudeSession {owner.name} is being deleted", status=409)
        if session.status.phase.final:
            raise claim_refused(f"ClaudeSession {owner.name} is {session.status.phase}", status=409)
        if session.spec.cancel:
            raise Refusal(409, Reason.CANCELLED, f"ClaudeSession {owner.name} is cancelled")
        return session

    async def _grant(self, pod: PodIdentity, claimant: _Claimant) -> Assignment:
        session = claimant.session
        rules = await self.projects.require_ready(session.namespace, session.spec.project)
        spent = await self.store.read(lambda connection: spent_by_session(connection, session.uid))
        gauge = self.meter.refusal(caps_of(session.spec, rules), spent)
        gauge = gauge or await self.meter.budget_refusal(
            session.namespace, session.spec.project, rules.budgets
        )
        if gauge is not None:
            raise Refusal(409, gauge.reason, gauge.message)
        grant = await self._wanted(pod, claimant, rules)
        told = entry("claimed", {"pod": pod.pod_name, "podUID": pod.pod_uid, "attempt": grant.attempt})

        def write(connection: Connection) -> Grant:
            claimed = claims.claim(connection, grant, rules.max_concurrent_sessions)
            if claimed.first:
                append(connection, session.uid, grant.attempt, "gateway", [told])
                answers.owe(connection, session.uid, utc_now())
            return claimed.grant

        standing = await self.store.write(write)
        self.live.admit(standing)
        return await self.assigner.assignment(standing, rules, spent)

    async def _wanted(self, pod: PodIdentity, claimant: _Claimant, rules: ProjectSpec) -> Grant:
        session = claimant.session
        spec = session.spec
        model_of(spec, rules)
        repository = repository_of(spec, rules)
        resume_uid, conversation = await self._resume(session)
        return Grant(
            namespace=session.namespace,
            name=session.name,
            session_uid=session.uid,
            attempt=claimant.attempt,
            pod_uid=pod.pod_uid,
            pod_name=pod.pod_name,
            project=spec.project,
            spec=spec,
            claude_session_id=conversation,
            host=repository.host,
            repository=repository.path,
            publish_branch=publish_branch_of(session.name, session.uid, spec, rules),
            session_id=session_id_of(session.name, session.uid, session.labels),
            resume_uid=resume_uid,
        )

    async def _resume(self, session: Session) -> tuple[str | None, str]:
        """Whose checkpoint to go on from, and the id of the conversation.

        A conversation begins under the session's own uid, which is a UUID as the CLI demands; one that is
        continued keeps the id that its transcript bears.
        """
        name = session.spec.resume_from
        source = await self.cluster.session(session.namespace, name) if name else None

        def look(connection: Connection) -> tuple[str | None, str]:
            own = select(tables.sessions.c.claude_session_id)
            known = connection.execute(own.where(tables.sessions.c.uid == session.uid)).scalar()
            if latest(connection, session.uid) is not None:
                return session.uid, known or session.uid
            uid = source.uid if source else None
            if name and uid is None:
                outcome = records.latest_outcome(connection, session.namespace, name)
                uid = outcome.uid if outcome else None
            if name and (uid is None or latest(connection, uid) is None):
                raise claim_refused(
                    f"spec.resumeFrom: session {name} has left no checkpoint to go on from", status=409
                )
            if uid is None:
                return None, session.uid
            theirs = connection.execute(own.where(tables.sessions.c.uid == uid)).scalar()
            return uid, theirs or uid

        return await self.store.read(look)

    async def _note_refused(self, claimant: _Claimant, pod: PodIdentity, refused: Refusal) -> None:
        session = claimant.session
        data = {"reason": refused.reason, "message": refused.message, "pod": pod.pod_name}

        def write(connection: Connection) -> None:
            ensure_session(connection, session.uid, session.namespace, session.name, session.spec.project)
            told = entry("claim_refused", data)
            append(connection, session.uid, claimant.attempt, "gateway", [told])

        await self.store.write(write)
