"""What a decision asks for.

The controller carries it out in this order:

1. `ask`: a call to the gateway; its answer is put into GatewayFacts and the engine decides again. When
   the call fails, the failure is put into GatewayFacts.unavailable, the rest of this decision is carried
   out, and the key comes back after its back-off.
2. `create_job`: POST; then the engine decides again on a cache that holds the new Job.
3. `status`: merge-patch on /status, guarded by the resourceVersion that was decided on.
4. `delete_job`: DELETE with propagationPolicy=Background and the Job's uid as precondition; only after
   the status was acknowledged.
5. `event`: a Kubernetes Event, after the status was acknowledged.
6. `wake_at`, `proposal`: remembered for the next decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from claude_operator.engine.observation import Job, Proposal
    from claude_operator.resources.session_status import SessionStatus
    from claude_operator.wire.internal import Outcome


@dataclass(frozen=True, slots=True)
class CloseAttempt:
    """Fence the attempt at the gateway and fetch its numbers."""

    number: int


@dataclass(frozen=True, slots=True)
class TellCancel:
    """Have the gateway refuse the model and tell the runner to stop."""

    grace_seconds: int


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """Put the end on record at the gateway, before it is in status; the answer is the one that stands."""

    outcome: Outcome


Ask = CloseAttempt | TellCancel | ReportOutcome


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """A Kubernetes Event on the session."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A Job to create; `engine.job.build` makes the object of it."""

    attempt: int
    name: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now; everything absent: nothing."""

    ask: Ask | None = None
    create_job: JobPlan | None = None
    status: SessionStatus | None = None
    """The complete status, when it differs from the one that was seen."""
    delete_job: Job | None = None
    event: SessionEvent | None = None
    wake_at: datetime | None = None
    proposal: Proposal | None = None
