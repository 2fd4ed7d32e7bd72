"""What the models promise to their readers: lenient reading, camelCase names, a truthful first status."""

import pytest
from pydantic import ValidationError

from claude_operator.resources.lifecycle import ATTEMPT_REASONS, FINAL_PHASES, Phase, Reason
from claude_operator.resources.model import api_name
from claude_operator.resources.pod import PodSpec
from claude_operator.resources.project import ProjectSpec, ProjectStatus, initial_project_status
from claude_operator.resources.session import SessionSpec
from claude_operator.resources.session_status import SessionStatus, initial_status


@pytest.mark.parametrize(
    ("python", "api"),
    [
        ("max_cost_usd", "maxCostUSD"),
        ("upstream_url", "upstreamURL"),
        ("ttl_seconds_after_finished", "ttlSecondsAfterFinished"),
        ("mcp_servers", "mcpServers"),
    ],
)
def test_names_follow_the_kubernetes_conventions(python: str, api: str) -> None:
    assert api_name(python) == api


def test_a_field_of_a_newer_version_is_ignored() -> None:
    spec = SessionSpec.model_validate({"repository": "a/b", "requirements": "x", "inventedLater": {"y": 1}})
    assert spec.to_api().get("inventedLater") is None


def test_an_option_is_refused_as_a_branch() -> None:
    with pytest.raises(ValidationError, match="branch"):
        SessionSpec.model_validate({"repository": "a/b", "requirements": "x", "branch": "--upload-pack=x"})


def test_a_quantity_may_be_a_number() -> None:
    pod = PodSpec.model_validate({"resources": {"limits": {"cpu": 2, "memory": "1Gi"}}})
    assert pod.resources is not None
    assert pod.resources.limits == {"cpu": "2", "memory": "1Gi"}


def test_the_first_status_is_one_that_the_models_read() -> None:
    status = SessionStatus.model_validate(initial_status())
    assert (status.phase, status.observed_generation) == (Phase.PENDING, -1)
    assert ProjectStatus.model_validate(initial_project_status()).conditions[0].status == "False"


def test_a_project_needs_a_host_only() -> None:
    assert ProjectSpec.model_validate({"repositoryHosts": [{"host": "github.com"}]}).model.default


def test_only_failures_can_be_retried() -> None:
    assert {Reason.OOM_KILLED, Reason.AGENT_ERROR, Reason.CLONE_FAILED} <= set(ATTEMPT_REASONS)
    assert not {Reason.COMPLETED, Reason.CANCELLED, Reason.INVALID_SPEC} & set(ATTEMPT_REASONS)


def test_the_final_phases_are_the_four_of_the_api() -> None:
    assert {str(phase) for phase in FINAL_PHASES} == {"Succeeded", "Failed", "Cancelled", "Skipped"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"type": "object"', "is not JSON: EOF while parsing"),
        (
            '{"type": "array"}',
            'not the schema of an object; write a JSON Schema as text, an object with "type"',
        ),
        ('{"properties": {}}', "not the schema of an object"),
        (
            '{"type": "object", "a": ' + "[" * 32 + "]" * 32 + "}",
            "nested more than 32 levels deep: flatten it",
        ),
        ('{"a": ' * 2_000 + "1" + "}" * 2_000, "is not JSON: recursion limit exceeded"),
        ("{" + " " * 20_000 + "}", "at most 20000 characters"),
        ('"{}"', "string_pattern_mismatch"),
    ],
)
def test_an_output_schema_that_cannot_be_one_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValidationError, match=r"outputSchema") as refusal:
        SessionSpec.model_validate({"repository": "a/b", "requirements": "x", "outputSchema": text})
    assert fault in str(refusal.value)


def test_an_output_schema_stays_as_it_was_written() -> None:
    text = ' {"type": "object",\n "a": ' + "[" * 31 + "]" * 31 + "}\n"
    spec = SessionSpec.model_validate({"repository": "a/b", "requirements": "x", "outputSchema": text})
    assert spec.to_api()["outputSchema"] == text
