"""What is made of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.shim.dialects.github.decide import Make, decide
from claude_operator.shim.dialects.github.screen import Ignored, screen
from claude_operator.wire.github import Form
from tests.unit.github.deliveries import SHA, event, facts, kept, pull

PULLS = ("pull_request_comment", "pull_request_review_comment", "pull_request_review")


def made(kind: str, *, text: str = "go", given: dict[str, Any] | None = None, **known: Any) -> Make | Ignored:
    payload = event(kind, text=text)
    delivery = kept(kind, payload, **(given or {}))
    [asked] = screen(delivery.event, payload, delivery.triggers).asked
    return decide(asked, payload, delivery, facts(**known))


def session(kind: str, **more: Any) -> Make:
    found = made(kind, **more)
    assert isinstance(found, Make), found
    return found


def test_a_command_on_an_issue_may_open_a_pull_request() -> None:
    found = session("issue_comment", pull=None)
    spec = found.draft.spec
    assert spec.publish is not None
    assert spec.publish.pull_request is not None
    assert (spec.branch, spec.read_only, spec.publish.branch) == (None, False, None)
    assert (found.answer.form, found.answer.status_comment, found.answer.number) == (Form.COMMENT, True, 5)


@pytest.mark.parametrize("kind", PULLS)
def test_a_command_on_a_pull_request_works_from_its_head_on_a_branch_of_its_own(kind: str) -> None:
    spec = session(kind).draft.spec
    assert spec.publish is not None
    assert (spec.branch, spec.publish.branch, spec.read_only) == ("topic", None, False)


@pytest.mark.parametrize("kind", PULLS)
@pytest.mark.parametrize(
    "changes",
    [
        {"head_repository": "mallory/webapp"},
        {"head_repository": None},
        {"head_repository": "mallory/webapp", "head_ref": "main"},
        {"open": False},
        {"head_ref": "-x;$(id)"},
        {"head_ref": "refs/heads/main"},
    ],
)
def test_what_is_not_the_repositorys_own_is_read_only(kind: str, changes: dict[str, Any]) -> None:
    spec = session(kind, pull=pull(**changes)).draft.spec
    assert (spec.branch, spec.read_only, spec.publish) == ("refs/pull/5/head", True, None)


def test_a_fork_of_the_same_name_in_other_case_is_the_repository() -> None:
    assert not session("pull_request_comment", pull=pull(head_repository="ACME/WebApp")).draft.spec.read_only


@pytest.mark.parametrize("kind", [*PULLS, "check_suite"])
def test_a_review_pushes_nothing_and_names_its_commit(kind: str) -> None:
    found = session(kind, text="review")
    spec = found.draft.spec
    assert (spec.read_only, spec.publish, spec.branch) == (True, None, "refs/pull/5/head")
    assert (found.answer.form, found.answer.commit) == (Form.REVIEW, SHA)
    assert found.answer.status_comment is (kind != "check_suite")
    assert SHA in spec.requirements
    assert json.loads(spec.output_schema or "")["properties"]["event"]["enum"] == [
        "COMMENT",
        "REQUEST_CHANGES",
    ]


def test_a_triage_offers_the_repositorys_labels() -> None:
    found = session("issues")
    assert (found.answer.form, found.answer.status_comment) == (Form.LABELS, False)
    assert found.draft.spec.read_only
    assert '- "bug"\n- "question"' in found.draft.spec.requirements


def test_a_triage_offers_only_what_the_project_allows() -> None:
    text = session("issues", given={"labels": ["BUG", "secret"]}).draft.spec.requirements
    assert '"bug"' in text
    assert "question" not in text
    assert "secret" not in text


def test_a_triage_without_labels_is_none() -> None:
    assert isinstance(made("issues", given={"labels": ["secret"]}), Ignored)
    assert isinstance(made("issues", labels=[]), Ignored)


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"pull": pull(author="mallory")}, "mallory, the pull request's author, may not"),
        ({"pull": pull(author="dependabot[bot]", author_is_bot=True)}, "may not"),
        ({"pull": pull(author="alice", author_is_bot=True)}, "may not"),
        ({"pull": pull(open=False)}, "is closed"),
        ({"pull": pull(draft=True)}, "is a draft"),
        ({"pull": pull(head_sha="b" * 40)}, "has a newer head"),
        ({"pull": None}, "does not exist"),
        ({"reviewed": True}, "was reviewed at this commit before"),
        (
            {"suites": [{"id": 1, "app": "ci", "status": "in_progress", "runs": 1}]},
            "not all checks are green: ci",
        ),
        (
            {"suites": [{"id": 1, "app": "ci", "status": "completed", "conclusion": "failure", "runs": 1}]},
            "not all checks are green: ci",
        ),
        ({"suites": [{"id": 1, "app": "ci", "status": "completed", "conclusion": None}]}, "not all checks"),
    ],
)
def test_checks_that_are_no_reason_for_a_review(known: dict[str, Any], why: str) -> None:
    found = made("check_suite", **known)
    assert isinstance(found, Ignored)
    assert why in found.why


@pytest.mark.parametrize(
    "suite",
    [
        {"id": 9, "status": "in_progress", "runs": 1},
        {"id": 1, "status": "completed", "conclusion": "skipped", "runs": 1},
        {"id": 1, "status": "completed", "conclusion": "neutral", "runs": 1},
        {"id": 1, "status": "queued", "runs": 0},
    ],
)
def test_checks_that_are_green(suite: dict[str, Any]) -> None:
    """The suite that the event is about; what is skipped; what an unused App never began."""
    session("check_suite", suites=[suite])


def test_one_review_for_each_commit_whatever_delivery_tells_of_it() -> None:
    first = session("check_suite")
    again = session("check_suite", suites=[{"id": 8, "status": "completed", "conclusion": "success"}])
    assert first.name == again.name
    assert first.name.startswith("webapp-5-review-")
    assert first.name != session("pull_request_comment", text="review").name


def test_the_limits_are_the_projects() -> None:
    limits = session("issues", given={"limits": {"maxTurns": 7}}).draft.spec.limits
    assert limits is not None
    assert limits.max_turns == 7


HOSTILE = st.text(st.sampled_from("<>/ctxrequimnsab-|\n`!\u200b\u202e\U000e0041"), max_size=200)


@given(HOSTILE, HOSTILE, st.lists(HOSTILE, max_size=3))
def test_what_others_wrote_never_leaves_its_block(title: str, body: str, remarks: list[str]) -> None:
    found = session(
        "pull_request_comment",
        pull=pull(title=title, body=body, author=title[:50]),
        thread=[{"author": one[:50], "body": one} for one in remarks],
    )
    context = found.draft.spec.context or ""
    for line in context.split("\n"):
        assert not line or line.startswith(("| ", "--- BEGIN DATA ", "--- END DATA "))
    assert context.count("--- BEGIN DATA ") >= 1
    begins = [line for line in context.split("\n") if line.startswith("--- BEGIN DATA ")]
    assert len(begins) == 1 + len(remarks)
    assert "</context" not in context.lower()
    assert "\u200b" not in context


def test_a_thread_of_any_length_fits() -> None:
    remarks = [{"author": "bob", "body": "\n" * 65_000} for _ in range(120)]
    payload = {"pull": pull(body="\n" * 65_000), "thread": remarks}
    found = session("pull_request_review_comment", **payload)
    assert len(found.draft.spec.context or "") <= 200_000


def test_the_order_itself_and_our_own_comments_are_not_repeated_as_data() -> None:
    thread = [
        {"id": 77, "author": "alice", "body": "@claude-bot go, the order"},
        {"id": 78, "author": "claude-bot", "body": "<!-- claude-operator:session=x -->\nAccepted"},
        {"id": 79, "author": "bob", "body": "Another thought"},
    ]
    context = session("issue_comment", pull=None, thread=thread).draft.spec.context or ""
    assert "Another thought" in context
    assert "the order" not in context
    assert "Accepted" not in context
