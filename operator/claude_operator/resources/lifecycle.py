"""The closed lists of phases and reasons.

A phase says where a session stands, a reason says why. Both are API: clients switch on them, so a
reason is never reworded and a new one is added here before it can appear in a status.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


class Phase(StrEnum):
    """Where a session stands."""

    PENDING = "Pending"
    """Just seen, or suspended."""
    WAITING = "Waiting"
    """For dependencies, or for its project to become ready."""
    QUEUED = "Queued"
    """Ready to start; a concurrency limit holds it back."""
    STARTING = "Starting"
    """Its Job exists: scheduling, image, clone."""
    RUNNING = "Running"
    """The agent has started."""
    PAUSED = "Paused"
    """A cap was reached; state is kept, no pod runs, raising the cap starts the next attempt."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SKIPPED = "Skipped"
    """A dependency's `when` can no longer hold."""

    @property
    def final(self) -> bool:
        """Whether the session can never leave this phase."""
        return self in FINAL_PHASES


FINAL_PHASES = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED, Phase.SKIPPED})

Ended = Literal["completed", "failed", "cancelled"]
ENDED_AS: Mapping[Phase, Ended] = {
    Phase.SUCCEEDED: "completed",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "cancelled",
    Phase.SKIPPED: "cancelled",
}
"""Each final phase in the words of the HTTP APIs and callbacks."""


class Reason(StrEnum):
    """Why a session, or one of its attempts, stands where it stands."""

    # Nothing wrong.
    PENDING = "Pending"
    SUSPENDED = "Suspended"
    WAITING_FOR_DEPENDENCIES = "WaitingForDependencies"
    PROJECT_NOT_READY = "ProjectNotReady"
    PROJECT_PAUSED = "ProjectPaused"
    CONCURRENCY_LIMIT = "ConcurrencyLimit"
    STARTING = "Starting"
    RUNNING = "Running"
    CANCELLING = "Cancelling"
    RETRYING = "Retrying"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    DEPENDENCY_NOT_MET = "DependencyNotMet"

    # The session itself.
    INVALID_SPEC = "InvalidSpec"
    DEPENDENCY_FAILED = "DependencyFailed"
    DEPENDENCY_CYCLE = "DependencyCycle"

    # The pod and what carries it.
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    UNSCHEDULABLE = "Unschedulable"
    POD_REFUSED = "PodRefused"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    JOB_LOST = "JobLost"
    JOB_CONFLICT = "JobConflict"
    CLAIM_REFUSED = "ClaimRefused"
    GATEWAY_UNAVAILABLE = "GatewayUnavailable"

    # The work.
    CLONE_FAILED = "CloneFailed"
    AGENT_ERROR = "AgentError"
    AGENT_LOST = "AgentLost"
    MODEL_AUTH_FAILED = "ModelAuthFailed"
    MODEL_OVERLOADED = "ModelOverloaded"
    MODEL_REFUSED = "ModelRefused"
    BUDGET_EXCEEDED = "BudgetExceeded"
    MAX_TURNS = "MaxTurns"
    TIMEOUT = "Timeout"
    PUBLISH_REJECTED = "PublishRejected"


ATTEMPT_REASONS = tuple(Reason)[list(Reason).index(Reason.IMAGE_PULL_BACK_OFF) :]
"""Why an attempt can fail, by the groups of the list above: what `retry.on` may name."""


class ProjectReason(StrEnum):
    """Why a project is ready, or not."""

    READY = "Ready"
    PENDING = "Pending"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    SECRET_INVALID = "SecretInvalid"  # noqa: S105 - a reason, not a secret
    SECRET_FORBIDDEN = "SecretForbidden"  # noqa: S105 - a reason, not a secret
    INVALID_SPEC = "InvalidSpec"
