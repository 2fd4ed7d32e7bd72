"""What an ended attempt means: success, a failure for good, a pause, or another attempt.

Here the pod's claim and the gateway's record meet. The gateway wins wherever it saw for itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from claude_operator.engine.attempt import Ended
    from claude_operator.engine.config import EngineConfig
    from claude_operator.engine.observation import Intent
    from claude_operator.resources.session import Limits
    from claude_operator.resources.session_status import Attempt, Usage
    from claude_operator.wire.internal import AttemptRecord, SessionRecord

INFRASTRUCTURE = frozenset(
    {
        Reason.EVICTED,
        Reason.NODE_LOST,
        Reason.JOB_LOST,
        Reason.MODEL_OVERLOADED,
        Reason.GATEWAY_UNAVAILABLE,
        Reason.CLAIM_REFUSED,
    }
)
"""Losses that are nobody's fault in the session: some attempts after them are free."""

CAPS = frozenset({Reason.BUDGET_EXCEEDED, Reason.MAX_TURNS})
"""A limit was reached: the session pauses, raising the limit goes on."""

NEVER_RETRIED = frozenset(
    {Reason.COMPLETED, Reason.CANCELLED, Reason.INVALID_SPEC, Reason.PUBLISH_REJECTED, *CAPS}
)
"""A new attempt could not mend these."""

_HARDWARE = frozenset({Reason.EVICTED, Reason.NODE_LOST, Reason.JOB_LOST, Reason.AGENT_LOST})
"""Ends that kept the pod from speaking: what the runner had reported before still stands."""

_STAND = frozenset({Reason.COMPLETED, Reason.OOM_KILLED, Reason.TIMEOUT, Reason.CLAIM_REFUSED})
"""Ends that the gateway's verdict does not explain better."""


def attempt_record(record: SessionRecord | None, number: int) -> AttemptRecord | None:
    """The gateway's record of one attempt; None when it never claimed."""
    return next((a for a in (record.attempts if record else []) if a.number == number), None)


def judge(end: Ended, record: AttemptRecord | None, *, cancel: bool) -> Ended:
    """The end with its true reason."""
    if record is not None and end.reason in _HARDWARE and record.reported is not None:
        end = replace(end, reason=record.reported.reason, message=record.reported.message)
    if end.reason is Reason.COMPLETED:
        return end
    if cancel:
        return replace(end, reason=Reason.CANCELLED, message="cancelled by spec.cancel")
    if end.reason is Reason.CANCELLED:
        return replace(
            end, reason=Reason.AGENT_ERROR, message=f"it says that it was cancelled, by nobody: {end.message}"
        )
    seen = record is not None and record.verdict is not None and end.reason not in _STAND | _HARDWARE
    if seen and record is not None and record.verdict is not None:
        return replace(end, reason=record.verdict, message=record.verdict_message or end.message)
    return end


def retry_at(
    attempts: list[Attempt], intent: Intent, config: EngineConfig, *, ended: datetime
) -> datetime | None:
    """When the next attempt may start after the last of `attempts`; None: never."""
    reason = attempts[-1].reason
    if reason is None or reason in NEVER_RETRIED:
        return None
    losses = sum(attempt.reason in INFRASTRUCTURE for attempt in attempts)
    if reason in INFRASTRUCTURE and losses <= config.free_attempts:
        return ended + timedelta(seconds=config.free_backoff_seconds * 2 ** (losses - 1))
    retry = intent.retry
    if retry is None or (retry.on and reason not in retry.on):
        return None
    free = min(losses, config.free_attempts)
    used = len(attempts) - free - sum(attempt.reason in CAPS for attempt in attempts)
    if used > retry.limit:
        return None
    return ended + timedelta(seconds=retry.backoff_seconds * 2 ** (used - 1))


def cap_reached(limits: Limits | None, usage: Usage | None) -> str:
    """Which cap the usage has reached, as a message; empty when none."""
    if limits is None or usage is None:
        return ""
    if limits.max_cost_usd is not None and usage.cost_usd >= limits.max_cost_usd:
        return f"limits.maxCostUSD: {usage.cost_usd:.4f} of {limits.max_cost_usd} US dollars are spent"
    tokens = (
        usage.input_tokens
        + usage.output_tokens
        + usage.cache_read_input_tokens
        + usage.cache_creation_input_tokens
    )
    if limits.max_tokens is not None and tokens >= limits.max_tokens:
        return f"limits.maxTokens: {tokens} of {limits.max_tokens} tokens are used"
    if limits.max_turns is not None and usage.turns >= limits.max_turns:
        return f"limits.maxTurns: {usage.turns} of {limits.max_turns} turns are used"
    return ""
