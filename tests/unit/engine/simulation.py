"""A world for the engine: API server, Job controller, kubelet, gateway and two controllers, as data.

It keeps the real systems' promises and no more: writes are guarded by resourceVersion, Job names are
unique, a pod lives by the gateway's claim. Controllers may see stale views and die between any two steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from claude_operator.engine.decide import decide
from claude_operator.engine.decision import CloseAttempt, Decision, ReportOutcome, TellCancel
from claude_operator.engine.observation import (
    GatewayFacts,
    Job,
    JobEnd,
    Observed,
    Pod,
    Proposal,
    Session,
    Terminated,
)
from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.session_status import SessionStatus, Usage
from claude_operator.wire.internal import AttemptRecord, Outcome, SessionRecord
from claude_operator.wire.session import Termination
from tests.unit.engine.objects import CONFIG, NOW, UID, project, session

TOKENS_PER_ATTEMPT = 100


class CrashError(Exception):
    """The controller process dies here."""


@dataclass
class Gateway:
    """The claim transaction, as the last word on what may run."""

    closed: int = 0
    live: tuple[int, str] | None = None
    """(attempt, pod uid) that may use the model."""
    outcome: Outcome | None = None
    cancelled: bool = False
    spent: dict[int, int] = field(default_factory=dict)
    reported: dict[int, Reason] = field(default_factory=dict)
    ran_after_end: bool = False

    def claim(self, attempt: int, pod: str) -> bool:
        if self.outcome is not None or self.cancelled or attempt <= self.closed:
            return False
        if self.live is not None and self.live[0] > attempt:
            return False
        self.live = (attempt, pod)
        self.spent[attempt] = TOKENS_PER_ATTEMPT
        return True

    def close(self, attempt: int) -> SessionRecord:
        self.closed = max(self.closed, attempt)
        if self.live is not None and self.live[0] <= self.closed:
            self.live = None
        return self.record()

    def record(self) -> SessionRecord:
        return SessionRecord(
            uid=UID,
            namespace="default",
            name="first",
            usage=Usage(output_tokens=sum(self.spent.values())),
            attempts=[
                AttemptRecord(number=n, pod_uid="p", claimed_at="t", usage=Usage(output_tokens=tokens))
                for n, tokens in self.spent.items()
            ],
        )

    def report(self, outcome: Outcome) -> Outcome:
        self.outcome = self.outcome or outcome
        self.live = None
        return self.outcome


@dataclass
class World:
    """Everything outside the controllers."""

    now: datetime = NOW
    session: Session = field(default_factory=session)
    version: int = 10
    jobs: dict[str, Job] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    gateway: Gateway = field(default_factory=Gateway)
    serial: int = 0
    phases: list[Phase] = field(default_factory=lambda: [Phase.PENDING])
    writes: int = 0

    def write_status(self, status: SessionStatus, version: str) -> bool:
        if version != self.session.resource_version:
            return False
        old = self.session.status
        if old.phase.final:
            assert status.phase is old.phase, "a final phase was left"
        self._update(status=status)
        self.phases.append(status.phase)
        self.writes += 1
        return True

    def change_intent(self, **changes: Any) -> None:
        assert self.session.intent is not None
        self._update(intent=replace(self.session.intent, **changes), generation=self.session.generation + 1)

    def _update(self, **changes: Any) -> None:
        self.version += 1
        self.session = replace(self.session, resource_version=str(self.version), **changes)

    def create_job(self, name: str, attempt: int) -> Job:
        if name not in self.jobs:
            self.serial += 1
            uid = f"job-{self.serial}"
            self.jobs[name] = Job(
                name=name,
                uid=uid,
                owner_uid=UID,
                attempt=attempt,
                created=self.now,
                deleting=False,
                end=None,
                end_reason="",
                end_message="",
            )
            pod = f"pod-{self.serial}"
            self.pods[pod] = Pod(
                name=pod,
                uid=pod,
                job_uid=uid,
                attempt=attempt,
                created=self.now,
                phase="Pending",
                reason="",
                message="",
                deleting_since=None,
                grace_seconds=0,
                disruption="",
                unschedulable="",
                waiting_reason="",
                waiting_message="",
                ready_since=None,
                terminated=None,
            )
            self.writes += 1
        return self.jobs[name]

    def delete_job(self, name: str) -> None:
        job = self.jobs.pop(name, None)
        for pod in [each for each in self.pods.values() if job is not None and each.job_uid == job.uid]:
            self.end_pod(pod.name, Reason.AGENT_LOST, exit_code=143)
            del self.pods[pod.name]

    def start_pod(self, name: str) -> None:
        pod = self.pods[name]
        if pod.phase != "Pending":
            return
        if not self.gateway.claim(pod.attempt, pod.uid):
            self.end_pod(name, Reason.CLAIM_REFUSED, exit_code=1)
            return
        self.pods[name] = replace(pod, phase="Running", ready_since=self.now)

    def end_pod(self, name: str, reason: Reason, *, exit_code: int) -> None:
        pod = self.pods[name]
        if pod.phase not in ("Pending", "Running"):
            return
        if self.gateway.live == (pod.attempt, pod.uid):
            self.gateway.live = None
        end = Terminated(
            exit_code=exit_code,
            reason="Completed" if exit_code == 0 else "Error",
            message=Termination(reason=reason, message="").model_dump_json(by_alias=True),
            started=pod.ready_since,
            finished=self.now,
        )
        self.pods[name] = replace(
            pod, phase="Succeeded" if exit_code == 0 else "Failed", ready_since=None, terminated=end
        )
        for job in list(self.jobs.values()):
            if job.uid == pod.job_uid:
                result = JobEnd.SUCCEEDED if exit_code == 0 else JobEnd.FAILED
                self.jobs[job.name] = replace(job, end=result, end_reason="BackoffLimitExceeded")


@dataclass
class Controller:
    """One controller process: a view of the world, memory, and the order of carrying a decision out."""

    world: World
    view: World = field(init=False)
    gateway: GatewayFacts = field(default_factory=GatewayFacts)
    proposal: Proposal | None = None
    wake_at: datetime | None = None

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        world = self.world
        self.view = World(session=world.session, jobs=dict(world.jobs), pods=dict(world.pods))

    def restart(self) -> None:
        self.gateway, self.proposal = GatewayFacts(), None
        self.refresh()

    def decision(self) -> Decision:
        seen = Observed(
            session=self.view.session,
            project=project(),
            jobs=tuple(self.view.jobs.values()),
            pods=tuple(self.view.pods.values()),
            gateway=self.gateway,
            proposal=self.proposal,
        )
        return decide(seen, now=self.world.now, config=CONFIG)

    def step(self, *, crash_after: int | None = None) -> None:
        """Decide and carry out until nothing more is asked; `crash_after` counts outside effects."""
        budget = [crash_after]
        try:
            for _ in range(10):
                if not self._carry_out(self.decision(), budget):
                    return
        except CrashError:
            self.restart()

    def _effect(self, budget: list[int | None]) -> None:
        if budget[0] is None:
            return
        if budget[0] == 0:
            raise CrashError
        budget[0] -= 1

    def _carry_out(self, decision: Decision, budget: list[int | None]) -> bool:
        """True when the engine must decide again at once."""
        gateway = self.world.gateway
        self.proposal, self.wake_at = decision.proposal, decision.wake_at
        match decision.ask:
            case CloseAttempt(number=number):
                self.gateway = replace(self.gateway, record=gateway.close(number), closed=number)
            case TellCancel():
                gateway.cancelled, gateway.live = True, None
                self.gateway = replace(self.gateway, cancel_told_at=self.world.now)
            case ReportOutcome(outcome=outcome):
                self.gateway = replace(self.gateway, outcome=gateway.report(outcome))
            case None:
                pass
        if decision.ask is not None:
            self._effect(budget)
            return True
        if decision.create_job is not None:
            plan = decision.create_job
            job = self.world.create_job(plan.name, plan.attempt)
            self._effect(budget)
            self.view.jobs[job.name] = job
            return True
        if decision.status is not None:
            written = self.world.write_status(decision.status, self.view.session.resource_version)
            self._effect(budget)
            if not written:
                self.refresh()
                return True
            self.view.session = self.world.session
        if decision.delete_job is not None:
            self.world.delete_job(decision.delete_job.name)
            self._effect(budget)
            self.refresh()
        return decision.status is not None or decision.delete_job is not None


def settle(world: World, controller: Controller, *, rounds: int = 400) -> None:
    """Let the world run on fairly: pods start and end, time passes, until the session stands still."""
    for _ in range(rounds):
        controller.refresh()
        controller.step()
        phase = world.session.status.phase
        if phase.final or phase is Phase.PAUSED:
            return
        for name, pod in list(world.pods.items()):
            if pod.phase == "Pending":
                world.start_pod(name)
            elif pod.phase == "Running":
                world.end_pod(name, Reason.COMPLETED, exit_code=0)
        world.now += timedelta(seconds=5)
    message = f"the session never became final: {world.session.status.phase}, {controller.decision()}"
    raise AssertionError(message)
