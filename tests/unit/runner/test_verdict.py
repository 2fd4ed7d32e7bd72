"""Every way in which the CLI was seen to end has one reason."""

from __future__ import annotations

import pytest

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.forwarder import Refusal
from claude_operator.runner.stop import Cause
from claude_operator.runner.stream import Result
from claude_operator.runner.verdict import Ending, judge


def result(**changes: object) -> Result:
    given: dict[str, object] = {
        "subtype": "success",
        "is_error": False,
        "text": "",
        "errors": (),
        "turns": 1,
        "terminal_reason": "completed",
        "stop_reason": "end_turn",
        "api_status": None,
        "structured_output": None,
    }
    return Result(**(given | changes))  # type: ignore[arg-type]


def failed(status: int | None) -> Result:
    return result(is_error=True, terminal_reason="api_error", api_status=status, text="API Error")


EXHAUSTED = result(
    is_error=True,
    subtype="error_max_structured_output_retries",
    terminal_reason="structured_output_retry_exhausted",
    errors=("Failed to provide valid structured output after 5 attempts",),
)
NO_SCHEMA = "Error: --json-schema is not a valid JSON Schema: can't resolve reference https://x/s.json"


@pytest.mark.parametrize(
    ("ending", "summary"),
    [
        (Ending(result=result(text="Last."), said="Before.", exit_code=0), "Last."),
        (Ending(result=result(text="{}", structured_output={"summary": "Short."}), exit_code=0), "Short."),
        (
            Ending(result=result(text="{}", structured_output={"summary": " "}), said="Mine.", exit_code=0),
            "Mine.",
        ),
        (
            Ending(result=result(text="{}", structured_output={"summary": 7}), said="Mine.", exit_code=0),
            "Mine.",
        ),
        (Ending(result=result(text='{"a":1}', structured_output={"a": 1}), exit_code=0), '{"a":1}'),
        (Ending(result=result(text="Nothing to add."), said="Mine.", reminded=True, exit_code=0), "Mine."),
        (Ending(result=EXHAUSTED, said="Mine.", exit_code=1), "Mine."),
        (Ending(result=failed(500), said="Mine.", exit_code=1), ""),
    ],
)
def test_the_summary_is_in_the_agents_own_words(ending: Ending, summary: str) -> None:
    assert judge(ending).summary == summary


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        # The work is done; only the form of the answer is not what was asked for.
        (Ending(result=EXHAUSTED, exit_code=1), Reason.COMPLETED),
        (Ending(result=None, exit_code=1, stderr=NO_SCHEMA), Reason.INVALID_SPEC),
        (Ending(result=result(), exit_code=0), Reason.COMPLETED),
        (Ending(result=result(), exit_code=None), Reason.COMPLETED),
        (Ending(result=result(), exit_code=1), Reason.AGENT_ERROR),
        (Ending(result=result(stop_reason="refusal"), exit_code=0), Reason.MODEL_REFUSED),
        # subtype says success, is_error says the truth
        (Ending(result=failed(401), exit_code=1), Reason.MODEL_AUTH_FAILED),
        (Ending(result=failed(400), exit_code=1), Reason.MODEL_REFUSED),
        (Ending(result=failed(404), exit_code=1), Reason.MODEL_REFUSED),
        (Ending(result=failed(429), exit_code=1), Reason.MODEL_OVERLOADED),
        (Ending(result=failed(500), exit_code=1), Reason.MODEL_OVERLOADED),
        (Ending(result=failed(529), exit_code=1), Reason.MODEL_OVERLOADED),
        (Ending(result=failed(None), exit_code=1), Reason.MODEL_OVERLOADED),
        (Ending(result=failed(403), exit_code=1), Reason.MODEL_REFUSED),
        (
            Ending(result=failed(403), exit_code=1, api_error="authentication_failed"),
            Reason.MODEL_AUTH_FAILED,
        ),
        (
            Ending(
                result=failed(403),
                exit_code=1,
                api_error="authentication_failed",
                refusal=Refusal(Reason.BUDGET_EXCEEDED, "cap"),
            ),
            Reason.BUDGET_EXCEEDED,
        ),
        (
            Ending(result=result(is_error=True, terminal_reason="image_error", api_status=413), exit_code=1),
            Reason.MODEL_REFUSED,
        ),
        (
            Ending(
                result=result(is_error=True, subtype="error_max_turns", terminal_reason="max_turns"),
                exit_code=1,
            ),
            Reason.MAX_TURNS,
        ),
        (
            Ending(result=result(is_error=True, terminal_reason="budget_exhausted"), exit_code=1),
            Reason.BUDGET_EXCEEDED,
        ),
        (Ending(result=result(is_error=True, terminal_reason="new"), exit_code=1), Reason.AGENT_ERROR),
        (Ending(result=None, exit_code=1, stderr="bad flag"), Reason.AGENT_ERROR),
        (Ending(result=None, exit_code=0), Reason.AGENT_ERROR),
        (Ending(result=None, exit_code=-9), Reason.AGENT_LOST),
        (Ending(result=result(), exit_code=0, cause=Cause.CANCEL), Reason.CANCELLED),
        (Ending(result=None, exit_code=-9, cause=Cause.TIMEOUT), Reason.TIMEOUT),
        (Ending(result=None, exit_code=0, cause=Cause.FENCED), Reason.CLAIM_REFUSED),
        (
            Ending(
                result=failed(401),
                exit_code=1,
                cause=Cause.MODEL_AUTH,
                refusal=Refusal(Reason.CLAIM_REFUSED, "fenced"),
            ),
            Reason.CLAIM_REFUSED,
        ),
    ],
)
def test_the_reason(ending: Ending, reason: Reason) -> None:
    verdict = judge(ending)
    assert verdict.reason is reason
    assert verdict.completed is (reason is Reason.COMPLETED)
    assert verdict.message or reason in {
        Reason.COMPLETED,
        Reason.CANCELLED,
        Reason.TIMEOUT,
        Reason.CLAIM_REFUSED,
    }


def test_an_error_is_no_summary_and_stderr_is_told() -> None:
    assert judge(Ending(result=failed(400), exit_code=1)).summary == ""
    assert judge(Ending(result=result(text="Done."), exit_code=0)).summary == "Done."
    assert "bad flag" in judge(Ending(result=None, exit_code=1, stderr="bad flag")).message
