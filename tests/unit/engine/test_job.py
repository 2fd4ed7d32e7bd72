"""The Job that is built, against the one that was agreed on."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.engine.decision import JobPlan
from claude_operator.engine.job import build, job_name
from tests.unit.engine.objects import CONFIG, UID, project, session

GOLDEN = Path(__file__).parent / "job.yaml"


def test_the_job_is_the_agreed_one() -> None:
    seen = session(
        requirements="a secret task that must not be stored twice",
        timeoutSeconds=600,
        startDeadlineSeconds=120,
        pod={"nodeSelector": {"pool": "agents"}},
    )
    plan = JobPlan(attempt=2, name=job_name(seen.name, seen.uid, 2))
    built = build(seen, project(), plan, CONFIG)
    assert built == yaml.safe_load(GOLDEN.read_text())
    assert "secret task" not in str(built)


@given(name=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True), attempt=st.integers(1, 999))
def test_job_names_are_labels_and_unique_per_session_and_attempt(name: str, attempt: int) -> None:
    made = job_name(name, UID, attempt)
    assert len(made) <= 63
    assert made[0].isalnum()
    assert made[-1].isalnum()
    assert made != job_name(name, UID, attempt + 1)
    assert made != job_name(name, "another-uid", attempt)
