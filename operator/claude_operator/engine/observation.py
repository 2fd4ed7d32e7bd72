"""What a decision is made on: frozen copies of the few fields that matter.

The texts of a session (requirements, context, prompts) are left out: the engine never needs them, and
ten thousand of them would be the controller's memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from claude_operator.resources.lifecycle import Phase, Reason
    from claude_operator.resources.pod import PodSpec
    from claude_operator.resources.project import ProjectSpec
    from claude_operator.resources.session import Limits, Retry, SessionType, When
    from claude_operator.resources.session_status import SessionStatus
    from claude_operator.wire.internal import Outcome, SessionRecord


@dataclass(frozen=True, slots=True)
class DependencyIntent:
    """One entry of spec.dependencies."""

    name: str
    when: When


@dataclass(frozen=True, slots=True)
class Intent:
    """What the spec asks for, without its texts."""

    type: SessionType
    project: str
    repository: str
    branch: str | None
    dependencies: tuple[DependencyIntent, ...]
    resume_from: str | None
    suspend: bool
    cancel: bool
    priority: int
    timeout_seconds: int
    start_deadline_seconds: int
    ttl_seconds_after_finished: int | None
    limits: Limits | None
    retry: Retry | None
    model: str | None
    publish_branch: str | None
    pod: PodSpec | None


@dataclass(frozen=True, slots=True)
class NotifyIntent:
    """spec.notify, with what else the gateway must know to act on it."""

    url: str
    secret: str | None
    session_id: str
    """As HTTP clients know the session."""
    project: str


@dataclass(frozen=True, slots=True)
class Session:
    """A ClaudeSession as last seen."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: datetime
    deleting: bool
    intent: Intent | None
    """None: the spec cannot be read, see `spec_error`."""
    spec_error: str
    status: SessionStatus
    notify: NotifyIntent | None = None
    """Read apart from the rest of the spec: whoever waits is told of a spec that cannot be read, too."""


@dataclass(frozen=True, slots=True)
class Project:
    """A ClaudeProject as last seen."""

    name: str
    spec: ProjectSpec | None
    """None: the spec cannot be read."""
    ready: bool
    """The gateway said so of this generation."""
    message: str
    """Why it is not ready."""


class JobEnd(StrEnum):
    """How the Job controller ended a Job."""

    SUCCEEDED = "Succeeded"
    """Complete or SuccessCriteriaMet."""
    FAILED = "Failed"
    """Failed or FailureTarget."""


@dataclass(frozen=True, slots=True)
class Job:
    """A Job with our label, as last seen."""

    name: str
    uid: str
    owner_uid: str
    """uid of the controlling owner: the session's, or the Job is not ours."""
    attempt: int
    created: datetime
    deleting: bool
    end: JobEnd | None
    end_reason: str
    """The condition's reason, such as DeadlineExceeded or BackoffLimitExceeded."""
    end_message: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """The end of the session container."""

    exit_code: int
    reason: str
    """Kubelet's word: Completed, Error, OOMKilled, ContainerCannotRun, ..."""
    message: str
    """The termination message: what the runner wrote, or the agent forged."""
    started: datetime | None
    finished: datetime | None


@dataclass(frozen=True, slots=True)
class Pod:
    """A Pod with our label, as last seen."""

    name: str
    uid: str
    job_uid: str
    attempt: int
    created: datetime
    phase: str
    """core/v1's: Pending, Running, Succeeded, Failed, Unknown."""
    reason: str
    """status.reason: Evicted, NodeLost, DeadlineExceeded, ...; empty mostly."""
    message: str
    deleting_since: datetime | None
    """The deletionTimestamp less the grace period: when its deletion was asked for."""
    grace_seconds: int
    disruption: str
    """Reason of the DisruptionTarget condition when true, such as TerminationByKubelet; else empty."""
    unschedulable: str
    """Message of PodScheduled=False with reason Unschedulable; else empty."""
    waiting_reason: str
    """Reason of the session container's waiting state: ImagePullBackOff, ...; else empty."""
    waiting_message: str
    ready_since: datetime | None
    """When its startup probe saw that the agent has started; None while it has not."""
    terminated: Terminated | None


@dataclass(frozen=True, slots=True)
class DependencyState:
    """A dependency as the cluster or the gateway's archive knows it."""

    name: str
    phase: Phase | None
    """None: absent; it was deleted unfinished, or does not exist yet."""
    reason: Reason | None = None
    message: str = ""
    cycle: tuple[str, ...] = ()
    """When the dependency leads back to the session: the names on the way, first and last the same."""


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """What the gateway has answered for this session so far, in this process."""

    record: SessionRecord | None = None
    """Its record after the attempt `closed` was closed."""
    closed: int = 0
    """The highest attempt that it has closed for us: fenced, numbers final."""
    cancel_told_at: datetime | None = None
    """When it took our TellCancel; the runner's grace counts from then (anew after a restart of ours)."""
    outcome: Outcome | None = None
    """The outcome that stands."""
    unavailable: str = ""
    """Why the last call failed, when it did."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A status that waits to be written: what lasts under 2 s costs no write."""

    phase: Phase
    reason: Reason
    since: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one decision sees."""

    session: Session
    project: Project | None
    dependencies: tuple[DependencyState, ...] = ()
    """In the order of spec.dependencies."""
    jobs: tuple[Job, ...] = ()
    """All that carry the session's uid label, ours or forged."""
    pods: tuple[Pod, ...] = ()
    gateway: GatewayFacts = field(default_factory=GatewayFacts)
    proposal: Proposal | None = None
    """The last decision's, handed back."""
    job_conflict: str = ""
    """Name of a foreign Job that stands where ours should be created; else empty."""
    job_refused: str = ""
    """What the API server said when it just refused our Job (quota, admission, a namespace that ends); else
    empty. It is tried again after a pause."""
