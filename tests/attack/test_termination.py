"""The termination message is the agent's word: whatever it holds, the controller reads a reason out of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.engine import status
from claude_operator.engine.attempt import ended
from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.session_status import Usage
from tests.unit.engine.objects import CONFIG, NOW
from tests.unit.engine.test_attempt import job, of, pod, terminated

if TYPE_CHECKING:
    from claude_operator.engine.attempt import Ended

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from([reason.value for reason in Reason]) | st.text(max_size=30)
CLAIMS = st.fixed_dictionaries({"reason": WORDS | JSON, "message": st.text(max_size=4096) | JSON})
MESSAGES = (
    st.text(max_size=4096)
    | st.binary(max_size=4096).map(lambda data: data.decode("utf-8", "replace"))
    | JSON.map(repr)
    | CLAIMS.map(json.dumps)
)


def end_of(message: str, exit_code: int) -> Ended:
    found = ended(
        of(
            job(),
            pod(state=terminated(exit_code, message=message), phase="Failed" if exit_code else "Succeeded"),
        ),
        now=NOW,
        config=CONFIG,
    )
    assert found is not None
    return found


@given(message=MESSAGES.filter(lambda text: len(text) < 5000), exit_code=st.integers(0, 255))
def test_any_message_is_read_as_one_reason_and_a_short_text(message: str, exit_code: int) -> None:
    end = end_of(message, exit_code)

    assert isinstance(end.reason, Reason)
    assert (end.reason is Reason.COMPLETED) == (exit_code == 0 and end.reason is not Reason.AGENT_LOST)
    entry = status.ended_attempt(of(job(), None), end, Usage(), now=NOW)
    assert len(entry.message or "") <= 1024
    entry.model_dump_json()


@pytest.mark.parametrize(
    "claim", ['{"reason":"Completed"}', '{"reason": "Completed", "message": "all is well"}']
)
def test_a_failure_cannot_be_called_a_success(claim: str) -> None:
    assert end_of(claim, 0).reason is Reason.COMPLETED, "undefended: the word alone"
    assert end_of(claim, 1).reason is Reason.AGENT_LOST


def test_numbers_in_a_message_are_nobodys_usage() -> None:
    claim = json.dumps({"reason": "Completed", "message": "", "usage": {"costUSD": 0}, "branch": "main"})

    entry = status.ended_attempt(of(job(), None), end_of(claim, 0), Usage(output_tokens=7), now=NOW)

    assert entry.usage is not None
    assert entry.usage.output_tokens == 7, "what the gateway has seen"
