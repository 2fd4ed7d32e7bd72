"""What sessions over HTTP are asked for at their end, and what is made of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.session import SessionSpec, SessionType
from claude_operator.shim.core.conclusion import SCHEMA, next_steps
from claude_operator.shim.core.draft import Draft, fingerprint
from claude_operator.shim.dialects.claude_hub import parse
from claude_operator.shim.dialects.claude_hub.requests import Orchestrate, SessionCreate
from claude_operator.wire.session import RunResult

PROJECT = {"repository": "acme/greetings", "requirements": "Greet."}


@pytest.mark.parametrize("kind", list(SessionType))
def test_every_session_is_asked_for_a_summary_and_next_steps(kind: SessionType) -> None:
    asked = parse.request({"type": "session.create", "session": {"type": kind.value, "project": PROJECT}})
    assert isinstance(asked, SessionCreate)
    assert parse.created(asked, private_callbacks=False).spec.output_schema == SCHEMA


def test_so_is_an_orchestration() -> None:
    asked = parse.request({"type": "orchestrate", "project": PROJECT})
    assert isinstance(asked, Orchestrate)
    assert parse.orchestrated(asked, private_callbacks=False).spec.output_schema == SCHEMA


def test_a_request_is_the_same_whatever_a_version_asks_of_every_session() -> None:
    spec = SessionSpec(repository="a/b", requirements="x")
    with_schema = spec.model_copy(update={"output_schema": SCHEMA})
    assert fingerprint(Draft(spec=spec)) == fingerprint(Draft(spec=with_schema))
    assert fingerprint(Draft(spec=spec)) != fingerprint(Draft(spec=spec.model_copy(update={"context": "y"})))


@pytest.mark.parametrize(
    ("output", "steps"),
    [
        (None, ()),
        ({}, ()),
        ({"nextSteps": "Test it."}, ()),
        ({"nextSteps": [1, None, "Test it.", ["x"], {"a": "b"}]}, ("Test it.",)),
        ({"nextSteps": [str(number) for number in range(60)]}, tuple(str(number) for number in range(50))),
    ],
)
def test_next_steps_are_texts_and_not_too_many(output: dict[str, Any] | None, steps: tuple[str, ...]) -> None:
    assert next_steps(RunResult(reason=Reason.COMPLETED, structured_output=output)) == steps
