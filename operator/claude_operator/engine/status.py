"""Building statuses: conditions that move only when they change, attempts, results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_operator.engine.views import format_time
from claude_operator.resources.condition import EPOCH, Condition, ConditionStatus, ConditionType
from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.session_status import Attempt, Result, SessionStatus, Usage

if TYPE_CHECKING:
    from datetime import datetime

    from claude_operator.engine.attempt import Ended, OpenAttempt
    from claude_operator.engine.observation import Session
    from claude_operator.wire.internal import SessionRecord

SUMMARY_BYTES = 1024
"""Longest summary in status; the whole one is in the gateway's record."""
ATTEMPT_MESSAGE = 1024
CONDITION_MESSAGE = 4096
MAX_ATTEMPTS = 20
"""Entries kept in status, the latest ones; the gateway's record has them all."""


def standing(session: Session, phase: Phase, reason: Reason, message: str, *, now: datetime) -> SessionStatus:
    """The seen status moved to a phase and reason; everything else as it was."""
    old = session.status
    return old.model_copy(
        update={
            "phase": phase,
            "observed_generation": session.generation,
            "conditions": _conditions(session, phase, reason, message[:CONDITION_MESSAGE], now=now),
            "waiting_for": [],
        }
    )


def _conditions(
    session: Session, phase: Phase, reason: Reason, message: str, *, now: datetime
) -> list[Condition]:
    succeeded = ConditionStatus.TRUE if phase is Phase.SUCCEEDED else ConditionStatus.FALSE
    wanted = {
        ConditionType.READY: succeeded,
        ConditionType.FINISHED: ConditionStatus.TRUE if phase.final else ConditionStatus.FALSE,
        ConditionType.SUCCEEDED: succeeded if phase.final else ConditionStatus.UNKNOWN,
    }
    before = {condition.type: condition for condition in session.status.conditions}
    conditions = []
    for kind, status in wanted.items():
        old = before.get(kind)
        # The CRD's default says that nobody has looked yet: nobody is to read its 1970 as a time of anything.
        moved = old is None or old.status != status or old.last_transition_time == EPOCH
        conditions.append(
            Condition(
                type=kind,
                status=status,
                observed_generation=session.generation,
                last_transition_time=format_time(now) if moved or old is None else old.last_transition_time,
                reason=reason,
                message=message,
            )
        )
    return conditions


def current_reason(status: SessionStatus) -> str:
    """The reason of the Ready condition: the session's reason in every phase."""
    return next((c.reason for c in status.conditions if c.type == ConditionType.READY), "")


def with_attempt(status: SessionStatus, entry: Attempt) -> SessionStatus:
    """The status with this attempt's entry put in or replaced."""
    others = [attempt for attempt in status.attempts if attempt.number != entry.number]
    ordered = sorted([*others, entry], key=lambda each: each.number)
    return status.model_copy(update={"attempts": ordered[-MAX_ATTEMPTS:]})


def running_attempt(attempt: OpenAttempt) -> Attempt:
    """The entry of an attempt that goes on."""
    pod = attempt.pod
    started = pod.ready_since if pod is not None else None
    base = attempt.recorded or Attempt(number=attempt.number, job=attempt.job_name)
    return base.model_copy(
        update={
            "pod": pod.name if pod is not None else base.pod,
            "start_time": base.start_time or (format_time(started) if started is not None else None),
        }
    )


def ended_attempt(attempt: OpenAttempt, end: Ended, usage: Usage | None, *, now: datetime) -> Attempt:
    """The entry of an attempt that has ended."""
    entry = running_attempt(attempt)
    started = entry.start_time or (format_time(end.started) if end.started is not None else None)
    return entry.model_copy(
        update={
            "start_time": started,
            "completion_time": format_time(end.at or now),
            "reason": end.reason,
            "message": end.message[:ATTEMPT_MESSAGE] or None,
            "exit_code": end.exit_code,
            "usage": usage,
        }
    )


def with_record(status: SessionStatus, record: SessionRecord | None) -> SessionStatus:
    """The status with what the gateway metered and saw."""
    if record is None:
        return status
    return status.model_copy(
        update={
            "usage": record.usage,
            "claude_session_id": record.claude_session_id or status.claude_session_id,
            "result": _result(record),
            "artifacts": record.artifacts[:100],
        }
    )


def _result(record: SessionRecord) -> Result | None:
    result = Result(
        summary=cut(summary_of(record), SUMMARY_BYTES) or None,
        branch=record.published.branch if record.published else None,
        commit=record.published.commit if record.published else None,
        pull_request=record.pull_request,
    )
    return None if result == Result() else result


def summary_of(record: SessionRecord | None) -> str:
    """The agent's last words of the last attempt that left any."""
    for attempt in reversed(record.attempts if record is not None else []):
        if attempt.reported is not None and attempt.reported.summary:
            return attempt.reported.summary
    return ""


def cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, never half a character."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    ellipsis = "…"
    return raw[: limit - len(ellipsis.encode())].decode(errors="ignore") + ellipsis
