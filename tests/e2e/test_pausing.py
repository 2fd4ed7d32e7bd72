"""A cap stops a session without losing anything, and raising it goes on where it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.scripts import bash, step, tokens, write

if TYPE_CHECKING:
    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session

# 3000 tokens in are 0.006 dollars, 100 out 0.001: the second answer goes over 0.01.
USAGE = tokens(3000, 100)
FINISH = "echo 2 >two.txt; git add -A; git diff --cached --quiet || git commit -q -m 'One and two'"
STEPS = (
    step(write("one.txt", "1\n"), usage=USAGE),
    step(bash("true"), usage=USAGE),
    # Twice: at its own limit of cost the CLI may stop before a call is done; resumed, it says so in an answer
    # of its own, which the script counts as a step.
    step(bash(FINISH), usage=USAGE),
    step(bash(FINISH), usage=USAGE),
    step(text="One and two are there.", usage=USAGE),
)
CASES = {
    "cost": ("BudgetExceeded", {"maxCostUSD": 0.01}, {"maxCostUSD": 1}, "limits.maxCostUSD"),
    "turns": ("MaxTurns", {"maxTurns": 2}, {"maxTurns": 50}, "limits.maxTurns"),
    "tokens": ("BudgetExceeded", {"maxTokens": 5000}, {"maxTokens": 100_000}, "limits.maxTokens"),
}


@pytest.fixture(scope="module")
def sessions(namespace: Namespace) -> dict[str, Session]:
    return {name: namespace.apply(name, *STEPS, limits=case[1]) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_cap_pauses_and_raising_it_goes_on(
    sessions: dict[str, Session], outside: OutsideView, name: str
) -> None:
    session = sessions[name]
    reason, _, raised, words = CASES[name]
    session.until("Paused", reason)
    assert words in session.message
    assert "raise the limit" in session.message
    assert "completionTime" not in session.status
    assert session.status["usage"]["turns"] == 2

    session.change(limits=raised)
    session.until("Succeeded")

    first, second = session.status["attempts"]
    assert first["reason"] == reason
    assert second["reason"] == "Completed"
    commit = session.status["result"]["commit"]
    assert outside.git("show", f"{commit}:one.txt") == "1"
    assert outside.git("show", f"{commit}:two.txt") == "2"
    usage, sent = session.status["usage"], outside.sent(session.status["claudeSessionId"])
    assert usage["inputTokens"] == sent["input_tokens"]
    assert usage["outputTokens"] == sent["output_tokens"]
    # One conversation over both attempts: no step was played twice.
    steps = [each["step"] for each in outside.model_requests(session.script) if each["outcome"] == "answered"]
    assert len(steps) == len(set(steps)), steps
