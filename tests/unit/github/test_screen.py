"""Who may start what: each rule on every event, accepted and refused."""

from typing import Any

import pytest

from claude_operator.resources.project import GitHubTask
from claude_operator.shim.dialects.github.screen import OURS, Asked, Ignored, screen
from tests.unit.github.deliveries import EVENTS, event, triggers

TASKS = {"issues": GitHubTask.TRIAGE, "check_suite": GitHubTask.CHECKED_REVIEW}


def judged(kind: str, *, given: dict[str, Any] | None = None, **more: Any) -> Asked | Ignored:
    name = "issue_comment" if kind == "pull_request_comment" else kind
    found = screen(name, event(kind, **more), triggers(**(given or {})))
    if found.ignored is not None:
        assert not found.asked
        return found.ignored
    [asked] = found.asked
    return asked


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("user", ["alice", "ALICE", "helper[bot]"])
def test_those_who_are_listed_may(kind: str, user: str) -> None:
    asked = judged(kind, user=user)
    assert isinstance(asked, Asked)
    assert (asked.number, asked.by, asked.task) == (5, user, TASKS.get(kind, GitHubTask.COMMAND))


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("user", ["mallory", "alice2", "alice[bot]", "helper", "other[bot]", "", None])
def test_nobody_else_may(kind: str, user: str | None) -> None:
    ignored = judged(kind, user=user)
    assert isinstance(ignored, Ignored)
    assert "may not start sessions" in ignored.why


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("sender", ["mallory", "some-app[bot]"])
def test_a_sender_who_may_not_spoils_an_author_who_may(kind: str, sender: str) -> None:
    assert isinstance(judged(kind, user="alice", sender=sender), Ignored)
    assert isinstance(judged(kind, user=sender, sender="alice"), Ignored)


@pytest.mark.parametrize("kind", EVENTS)
def test_without_a_list_nobody_may(kind: str) -> None:
    assert isinstance(judged(kind, given={"users": [], "bots": []}), Ignored)


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("own", ["claude-bot", "Claude-Bot[bot]"])
def test_the_bot_never_starts_itself(kind: str, own: str) -> None:
    given = {"users": ["claude-bot"], "bots": ["claude-bot", "claude-bot[bot]"]}
    assert isinstance(judged(kind, user=own, given=given), Ignored)


@pytest.mark.parametrize("kind", EVENTS[1:])
def test_what_we_write_starts_nothing_whoever_posts_it(kind: str) -> None:
    payload = event(kind)
    said = payload.review or payload.comment
    assert said is not None
    ours = said.model_copy(update={"body": f"{OURS}session=x -->\n@claude-bot go"})
    changed = payload.model_copy(update={"review" if payload.review else "comment": ours})
    found = screen(kind, changed, triggers())
    assert found.ignored is not None
    assert "one of ours" in found.ignored.why


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("issues", "Triage"),
        ("issue_comment", "Command"),
        ("pull_request_comment", "Command"),
        ("check_suite", "CheckedReview"),
    ],
)
def test_a_task_can_be_off(kind: str, task: str) -> None:
    others = [one.value for one in GitHubTask if one.value != task]
    assert isinstance(judged(kind, given={"tasks": [task]}), Asked)
    assert isinstance(judged(kind, given={"tasks": others}), Ignored)


@pytest.mark.parametrize("text", ["review", "REVIEW", "review.", "review!"])
@pytest.mark.parametrize(
    "kind", ["pull_request_comment", "pull_request_review_comment", "pull_request_review"]
)
def test_review_on_a_pull_request_is_a_review(kind: str, text: str) -> None:
    asked = judged(kind, text=text)
    assert isinstance(asked, Asked)
    assert asked.task is GitHubTask.REVIEW


@pytest.mark.parametrize(
    ("kind", "text"), [("issue_comment", "review"), ("pull_request_comment", "review the docs")]
)
def test_all_else_is_a_command(kind: str, text: str) -> None:
    asked = judged(kind, text=text)
    assert isinstance(asked, Asked)
    assert (asked.task, asked.command) == (GitHubTask.COMMAND, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("go", "Unauthorized user - command ignored"),
        ("review", "Unauthorized user - review request ignored"),
    ],
)
def test_the_refused_are_told_in_the_originals_words(text: str, message: str) -> None:
    ignored = judged("pull_request_comment", user="mallory", text=text)
    assert isinstance(ignored, Ignored)
    assert ignored.message == message


def test_a_mention_without_a_command_starts_nothing() -> None:
    assert isinstance(judged("issue_comment", text=""), Ignored)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conclusion": "failure"}, "Check suite not successful"),
        ({"conclusion": None}, "Check suite not successful"),
        ({"pull_requests": []}, "No pull requests associated with check suite"),
    ],
)
def test_checks_that_start_nothing(changes: dict[str, object], message: str) -> None:
    payload = event("check_suite")
    assert payload.check_suite is not None
    changed = payload.model_copy(update={"check_suite": payload.check_suite.model_copy(update=changes)})
    found = screen("check_suite", changed, triggers())
    assert found.ignored is not None
    assert found.ignored.message == message


def test_who_ran_the_checks_does_not_matter() -> None:
    assert isinstance(judged("check_suite", user="ci[bot]"), Asked)
