"""Parsing and rendering: nothing coerced, nothing lost, and answers are what the OpenAPI document says."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.resources.lifecycle import Phase
from claude_operator.shim.core.directory import Directory, Thread
from claude_operator.shim.core.errors import RefusedError
from claude_operator.shim.core.output import Artifact
from claude_operator.shim.core.report import Output
from claude_operator.shim.core.sessions import Texts
from claude_operator.shim.dialects.claude_hub import openapi, parse, render, responses
from claude_operator.shim.dialects.claude_hub.requests import MODELS, SessionCreate, dependency_ids
from claude_operator.shim.settings import ErrorStatus, Settings
from tests.unit.shim.views import view

A = "550e8400-e29b-41d4-a716-446655440000"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
nearly = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["session.create", "session.start", "session.list", "session.retry", "orchestrate"]
        )
    },
    optional={
        "session": json_values
        | st.fixed_dictionaries(
            {"project": st.fixed_dictionaries({"repository": st.just("a/b"), "requirements": st.just("x")})},
            optional={
                "id": json_values,
                "type": json_values,
                "dependencies": json_values,
                "metadata": json_values,
                "options": json_values,
            },
        ),
        "sessionId": json_values,
        "options": json_values,
        "limit": json_values,
        "project": json_values,
    },
)


@given(json_values | nearly)
def test_any_json_is_a_request_or_is_refused(body: Any) -> None:
    with contextlib.suppress(RefusedError):
        decoded = parse.decode(json.dumps(body).encode(), "application/json")
        asked = parse.request(decoded)
        if isinstance(asked, SessionCreate):
            parse.created(asked, private_callbacks=False)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    with contextlib.suppress(RefusedError):
        parse.decode(body, "application/json")


def test_dependencies_leave_out_what_says_none() -> None:
    ids, wrong = dependency_ids([A.upper(), "", " ", "none", "None", " none ", "python3"])
    assert (ids, wrong) == ([A], [" none ", "python3"])


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("final_output", [False, True])
def test_every_session_is_rendered_as_the_models_say(phase: Phase, final_output: bool) -> None:
    shown_view = view(
        A,
        status={
            "phase": phase.value,
            "result": {
                "summary": "s",
                "branch": "b",
                "commit": "c",
                "pullRequest": {"url": "u", "number": 1},
            },
            "usage": {"costUSD": 0.25, "turns": 3},
        },
    )
    output = Output(log=("a",), artifacts=(Artifact("file", path="p"),), seconds=1.5, cpu_seconds=2.0)
    shown = render.session(
        Thread((shown_view,)), Texts("r", None), Directory(), output=output if final_output else None
    )
    responses.Session.model_validate(shown)
    body = json.loads(render.success("session.get", "Session found", render.session_data(shown, None)))
    answer = responses.Answer[responses.SessionData].model_validate(body)
    assert answer.results[0].data == answer.data
    responses.Answer[responses.OutputData].model_validate(
        json.loads(render.success("session.output", "m", render.output_data(shown)))
    )
    responses.Answer[responses.OrchestrationData].model_validate(
        json.loads(render.success("orchestrate", "m", render.orchestration_data(shown)))
    )
    responses.ErrorAnswer.model_validate(json.loads(render.failure("session.get", "wrong")))
    responses.ErrorAnswer.model_validate(json.loads(render.bare_failure("wrong", "why")))


def test_the_openapi_document_has_every_operation() -> None:
    document = openapi.document(Settings(gateway_internal_url="x", error_status=ErrorStatus.LEGACY))
    operation = document["paths"]["/api/webhooks/claude"]["post"]
    mapping = operation["requestBody"]["content"]["application/json"]["schema"]["discriminator"]["mapping"]
    assert mapping.keys() == MODELS.keys()
    schemas = document["components"]["schemas"]
    assert all(one.rpartition("/")[2] in schemas for one in mapping.values())
    assert "207" in operation["responses"]
