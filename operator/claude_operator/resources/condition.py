"""Standard conditions: Ready (what kstatus reads), Finished (what `kubectl wait` waits for), Succeeded."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.model import ApiModel, Timestamp


class ConditionType(StrEnum):
    """The conditions of a session."""

    READY = "Ready"
    """True once the session has succeeded; its reason is the session's reason in every phase."""
    FINISHED = "Finished"
    """True in every final phase."""
    SUCCEEDED = "Succeeded"
    """True or False in a final phase, Unknown before."""


class ConditionStatus(StrEnum):
    """True, False or Unknown."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One aspect of the state, for `kubectl wait` and kstatus; fields as in metav1.Condition."""

    type: Annotated[str, Field(max_length=63)]
    """Ready, Finished or Succeeded."""
    status: ConditionStatus
    observed_generation: int | None = None
    """The metadata.generation that this was decided on."""
    last_transition_time: Timestamp
    reason: Annotated[str, Field(min_length=1, max_length=63)]
    message: Annotated[str, Field(max_length=4096)] = ""


EPOCH = "1970-01-01T00:00:00Z"
"""Transition time of the defaulted condition: nothing has been observed yet (Gateway API does the same)."""


def initial_conditions(message: str = "not yet seen by the controller") -> list[Condition]:
    """What holds before the one who writes the status has looked."""
    return [
        Condition(
            type=ConditionType.READY,
            status=ConditionStatus.FALSE,
            last_transition_time=EPOCH,
            reason=Reason.PENDING,
            message=message,
        )
    ]
