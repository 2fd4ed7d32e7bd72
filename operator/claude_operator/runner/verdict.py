"""How a run ended: from what the CLI said and did to one reason. Pure.

The CLI's `subtype` lies ("success" for a refused key), its exit code alone is silent about why; the
pair of `is_error` and exit code decides whether, `terminal_reason` and the API's status decide why.
Table and marks: the CLI's behaviour as measured with version 2.1.330.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.stop import REASONS, Cause

if TYPE_CHECKING:
    from pydantic import JsonValue

    from claude_operator.runner.forwarder import Refusal
    from claude_operator.runner.stream import Result


_NO_SCHEMA = "--json-schema is "
"""How the CLI (2.1.330) begins its complaint of a schema that it cannot use, a remote reference for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is known once the CLI has ended."""

    result: Result | None
    """The last turn's; None when the CLI ended without one."""
    said: str = ""
    """The agent's last words, before the CLI had to remind it of structured output."""
    reminded: bool = False
    """The CLI had to."""
    exit_code: int | None
    """Negative for a signal; None when the runner had to end it after a result."""
    cause: Cause | None = None
    """Who ended it, if it did not end by itself."""
    cause_message: str = ""
    api_error: str = ""
    """The last error of the model's API, as the CLI names it (`authentication_failed`, ...)."""
    refusal: Refusal | None = None
    """Why the gateway refused the last request to the model, in its own words."""
    stderr: str = ""
    """The end of what the CLI wrote there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The runner's word on the run."""

    reason: Reason
    message: str
    summary: str = ""
    turns: int = 0
    exit_code: int = 0
    structured_output: dict[str, JsonValue] | None = None

    @property
    def completed(self) -> bool:
        """Whether the agent has done its work."""
        return self.reason is Reason.COMPLETED


def judge(ending: Ending) -> Verdict:
    """The reason that `ending` amounts to."""
    result = ending.result
    reason, message = _why(ending)
    return Verdict(
        reason=reason,
        message=message,
        summary=_summary(ending),
        turns=result.turns if result is not None else 0,
        exit_code=ending.exit_code or 0,
        structured_output=result.structured_output if result is not None and not result.is_error else None,
    )


def _summary(ending: Ending) -> str:
    """What the session is remembered by, and what sessions that build on it are told.

    A session that was asked for structured output has it in the CLI's result, as JSON, or else its answer to
    the CLI's reminder ("I have nothing to add."). Its own `summary` in there is meant for this.
    """
    result = ending.result
    if result is None or (result.is_error and not _gave_up_on_structure(result)):
        return ""  # an error's text is no summary of work
    output = result.structured_output
    if output is not None and isinstance(summary := output.get("summary"), str) and summary.strip():
        return summary
    if output is not None or ending.reminded or result.is_error:
        return ending.said or result.text
    return result.text


def _gave_up_on_structure(result: Result) -> bool:
    """The work is done and answered for; only the answer's form was wrong, five times."""
    return result.terminal_reason == "structured_output_retry_exhausted"


def _why(ending: Ending) -> tuple[Reason, str]:
    refusal = ending.refusal
    if ending.cause is Cause.MODEL_AUTH and refusal is not None:
        return refusal.reason, refusal.message
    if ending.cause is not None:
        return REASONS[ending.cause], ending.cause_message
    result = ending.result
    if result is None:
        return _without_result(ending)
    if _gave_up_on_structure(result):
        return Reason.COMPLETED, ""
    if result.is_error and refusal is not None and result.terminal_reason == "api_error":
        # The CLI shows a cap, a wrong key and a fence alike as 403; the gateway knows which it was.
        return refusal.reason, refusal.message
    if result.is_error:
        return _error(result, ending.api_error)
    if result.stop_reason == "refusal":
        return Reason.MODEL_REFUSED, "the model refused the task"
    if ending.exit_code not in {0, None}:
        return Reason.AGENT_ERROR, _with_stderr(f"the CLI ended with exit code {ending.exit_code}", ending)
    return Reason.COMPLETED, ""


def _without_result(ending: Ending) -> tuple[Reason, str]:
    code = ending.exit_code
    if _NO_SCHEMA in ending.stderr:
        return Reason.INVALID_SPEC, f"spec.outputSchema: {ending.stderr.partition(_NO_SCHEMA)[2]}"
    if code is not None and code < 0:
        return Reason.AGENT_LOST, _with_stderr(f"the CLI was killed by signal {-code}", ending)
    return Reason.AGENT_ERROR, _with_stderr(f"the CLI ended without a result, exit code {code}", ending)


def _error(result: Result, api_error: str) -> tuple[Reason, str]:
    said = result.text or "; ".join(result.errors)
    match result.terminal_reason:
        case "max_turns":
            return Reason.MAX_TURNS, said or "the limit of turns was reached"
        case "budget_exhausted":
            return Reason.BUDGET_EXCEEDED, said or "the limit of cost was reached"
        case "api_error" | "image_error":
            return _api(result.api_status, api_error), said or "the model's API refused"
        case other:
            return Reason.AGENT_ERROR, said or f"the agent ended with an error ({other or result.subtype})"


def _api(status: int | None, error: str) -> Reason:
    if status == 401 or error == "authentication_failed":  # noqa: PLR2004 - Unauthorized
        return Reason.MODEL_AUTH_FAILED
    if status is None or status == 429 or status >= 500:  # noqa: PLR2004 - rate limits, overload, trouble there
        return Reason.MODEL_OVERLOADED
    return Reason.MODEL_REFUSED


def _with_stderr(text: str, ending: Ending) -> str:
    return f"{text}: {ending.stderr}" if ending.stderr else text


def stopped(cause: Cause | None, message: str) -> Verdict:
    """The verdict on a run that was ended before its agent had a say."""
    assert cause is not None, "a run is stopped only when somebody wants its end"
    return Verdict(reason=REASONS[cause], message=message)
