"""What has come of a ClaudeSession: a small, truthful summary that the controller alone writes.

Transcripts, events and artifacts live in the gateway.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from typing_extensions import override

from claude_operator.resources.condition import Condition, initial_conditions
from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.model import ApiModel, Timestamp, cel
from claude_operator.resources.session import Limits


class Usage(ApiModel):
    """What was spent, as the gateway metered it."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cost_usd: float = Field(default=0, alias="costUSD")
    """US dollars, to six decimals."""
    turns: int = 0
    """Answers of the model to the main conversation and its sub-agents."""
    estimated: bool = False
    """True when a response broke off and its reservation was booked instead."""


class Attempt(ApiModel):
    """One Job, one pod, one run of the agent."""

    number: int
    job: Annotated[str, Field(max_length=63)]
    pod: Annotated[str, Field(max_length=253)] | None = None
    start_time: Timestamp | None = None
    """When the agent started."""
    completion_time: Timestamp | None = None
    """When the attempt ended; absent while it is open."""
    reason: (
        Annotated[
            Reason,
            # No enum here: after an upgrade of the operator alone, an older CRD must not refuse a new reason.
            WithJsonSchema({"type": "string", "maxLength": 63}),
        ]
        | None
    ) = None
    message: Annotated[str, Field(max_length=1024)] | None = None
    exit_code: int | None = None
    usage: Usage | None = None


class WaitingFor(ApiModel):
    """A dependency that holds the session back."""

    name: Annotated[str, Field(max_length=63)]
    phase: Annotated[str, Field(max_length=20)]
    """The dependency's phase, or `Absent`."""


class PullRequestStatus(ApiModel):
    """The pull request that the platform opened."""

    url: Annotated[str, Field(max_length=2000)]
    number: int


class Result(ApiModel):
    """What came out, as the gateway saw it."""

    summary: Annotated[str, Field(max_length=1024)] | None = None
    """The agent's last words, cut to 1 KiB; the whole text is in the gateway's record."""
    branch: Annotated[str, Field(max_length=255)] | None = None
    commit: Annotated[str, Field(max_length=64)] | None = None
    pull_request: PullRequestStatus | None = None


class ArtifactStatus(ApiModel):
    """A file that the gateway keeps."""

    path: Annotated[str, Field(max_length=1024)]
    size: int
    """Bytes."""
    sha256: Annotated[str, Field(max_length=64)]


class SessionStatus(ApiModel):
    """Where it stands; written by the controller alone."""

    phase: Phase = Phase.PENDING
    """Where it stands."""
    observed_generation: int = -1
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    attempts: Annotated[list[Attempt], Field(max_length=20)] = []
    claude_session_id: Annotated[str, Field(max_length=64)] | None = None
    """The CLI's id of the conversation."""
    waiting_for: Annotated[list[WaitingFor], Field(max_length=50)] = []
    start_time: Timestamp | None = None
    """When the first attempt's agent started."""
    completion_time: Timestamp | None = None
    """When the final phase was decided."""
    model: Annotated[str, Field(max_length=100)] | None = None
    image: Annotated[str, Field(max_length=500)] | None = None
    limits: Limits | None = None
    usage: Usage | None = None
    result: Result | None = None
    artifacts: Annotated[list[ArtifactStatus], Field(max_length=100)] = []

    @classmethod
    @override
    def rules(cls) -> list[dict[str, str]]:
        """A final phase is final, whoever writes."""
        finals = ", ".join(f"'{phase}'" for phase in Phase if phase.final)
        return [
            cel(
                f"!(oldSelf.phase in [{finals}]) || self.phase == oldSelf.phase",
                "a final phase never changes: continue with a new session (resumeFrom)",
            )
        ]


def initial_status() -> dict[str, Any]:
    """The status that the CRD defaults to, so that `kubectl` and kstatus are right before the first write."""
    return {
        "phase": Phase.PENDING.value,
        "observedGeneration": -1,
        "conditions": [condition.to_api() for condition in initial_conditions()],
    }
