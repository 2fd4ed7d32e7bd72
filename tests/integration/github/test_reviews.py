"""Reviews and labels: asked for, started by checks and issues, posted once."""

from typing import Any

import pytest

from tests.integration.github.stage import HEAD, Hub
from tests.world.github import Fault

pytestmark = pytest.mark.controlplane

OUTPUT: dict[str, Any] = {
    "body": "Looks risky.<!-- hidden --> cc @claude-bot",
    "event": "REQUEST_CHANGES",
    "comments": [{"path": "src/app.py", "line": 7, "body": "Off by one."}],
}


async def reviewed(hub: Hub, output: dict[str, Any] | None, summary: str = "A review.") -> None:
    session = await hub.session()
    await hub.claim(session)
    await hub.finish(session, summary, output=output)


async def review(hub: Hub) -> dict[str, Any]:
    """The only one on the pull request, once it is there."""
    found = await hub.until(lambda: hub.repo.reviews)
    assert len(found) == 1
    one: dict[str, Any] = found[0]
    return one


async def test_a_review_that_is_asked_for(hub: Hub) -> None:
    hub.repo.add_pull(5, sha=HEAD, user="bob")
    hub.repo.diff.add(("src/app.py", 7))
    _, said = await hub.deliver("issue_comment", hub.commented("@claude-bot review", number=5))
    assert (said["message"], said["context"]["pr"]) == ("Pull request review accepted", 5)
    await hub.comment("Accepted")
    await reviewed(hub, OUTPUT)
    made = await review(hub)
    assert (made["commit_id"], made["state"]) == (HEAD, "REQUEST_CHANGES")
    assert "Looks risky. " in made["body"]
    assert "hidden" not in made["body"]
    assert "@claude-bot" not in made["body"]
    assert made["comments"] == [{"path": "src/app.py", "line": 7, "side": "RIGHT", "body": "Off by one."}]
    final = await hub.comment("Review: https://git.example/acme/webapp/pull/5#pullrequestreview")
    assert "Looks risky" not in final


async def test_a_remark_on_a_line_outside_the_diff_does_not_lose_the_review(hub: Hub) -> None:
    hub.repo.add_pull(5, sha=HEAD, user="bob")
    await hub.deliver("issue_comment", hub.commented("@claude-bot review", number=5))
    await reviewed(hub, OUTPUT)
    made = await review(hub)
    assert made["comments"] == []
    assert "`src/app.py:7`: Off by one." in made["body"]


async def test_nobody_can_request_changes_of_their_own(hub: Hub) -> None:
    hub.repo.add_pull(5, sha=HEAD, user="claude-bot")
    await hub.deliver("issue_comment", hub.commented("@claude-bot review", number=5))
    await reviewed(hub, OUTPUT)
    assert (await review(hub))["state"] == "COMMENT"


@pytest.mark.parametrize(
    "output", [None, {"event": "APPROVE", "body": "Ship it."}, {"comments": "x", "body": 1}]
)
async def test_a_review_never_approves_and_is_never_empty(hub: Hub, output: dict[str, Any] | None) -> None:
    hub.repo.add_pull(5, sha=HEAD, user="bob")
    await hub.deliver("issue_comment", hub.commented("@claude-bot review", number=5))
    await reviewed(hub, output)
    made = await review(hub)
    assert made["state"] == "COMMENT"
    assert ("Ship it." if output and "event" in output else "A review.") in made["body"]


async def test_green_checks_are_reviewed_once_for_each_commit(hub: Hub) -> None:
    hub.repo.add_pull(5, sha=HEAD)
    body = hub.checked()
    running = hub.repo.add_suite(HEAD, status="in_progress", conclusion=None)
    await hub.deliver("check_suite", body)
    assert "not all checks are green" in await hub.verdict()
    running |= {"status": "completed", "conclusion": "success"}
    await hub.deliver("check_suite", hub.checked())
    session = await hub.session()
    await hub.verdict(2)
    # The same commit: a suite that is run again, and one more.
    for number in (3, 4):
        await hub.deliver("check_suite", hub.checked())
        assert "was reviewed at this commit before" in await hub.verdict(number)
    await hub.claim(session)
    await hub.finish(session, "Fine.", output={"body": "Fine.", "event": "COMMENT"})
    await review(hub)
    # Nobody asked, so nobody is told how it stands.
    assert hub.repo.comments == []
    # Another commit is another review.
    head = "b" * 40
    hub.repo.pulls[5]["head"]["sha"] = head
    await hub.deliver("check_suite", hub.checked(sha=head))
    await hub.verdict(5)
    assert len(await hub.sessions()) == 2


async def test_checks_of_somebody_elses_pull_request_start_nothing(hub: Hub) -> None:
    hub.repo.add_pull(5, sha=HEAD, user="mallory")
    await hub.deliver("check_suite", hub.checked(sender="alice"))
    assert "mallory, the pull request's author, may not start sessions" in await hub.verdict()
    assert await hub.sessions() == []


async def test_two_suites_that_end_at_once_make_one_review(hub: Hub) -> None:
    hub.repo.add_pull(5, sha=HEAD)
    first, second = hub.checked(), hub.checked()
    await hub.deliver("check_suite", first)
    await hub.deliver("check_suite", second)
    await hub.verdict(2)
    assert len(await hub.sessions()) == 1


async def test_an_opened_issue_gets_labels_that_exist_and_are_allowed(hub: Hub) -> None:
    hub.repo.labels |= {"security": "", "urgent": ""}
    hub.change_triggers(labels=["bug", "security", "made-up"])
    _, said = await hub.deliver("issues", hub.opened(title="It leaks", body="<b>keys</b>"))
    assert said["message"] == "Issue accepted for triage"
    session = await hub.session()
    assert '"urgent"' not in session["spec"]["requirements"]
    await hub.claim(session)
    await hub.finish(session, "", output={"labels": ["BUG", "urgent", "made-up", "nonsense", 7, "security"]})
    await hub.until(lambda: hub.repo.issues[12]["labels"])
    assert hub.repo.issues[12]["labels"] == ["bug", "security"]
    assert hub.repo.comments == []


async def test_a_post_whose_answer_is_lost_is_found_again(hub: Hub) -> None:
    hub.github.faults += [
        Fault("issues/create-comment", after=True),
        Fault("pulls/create-review", after=True),
    ]
    hub.repo.add_pull(5, sha=HEAD, user="bob")
    await hub.deliver("issue_comment", hub.commented("@claude-bot review", number=5))
    await hub.comment("Accepted")
    await reviewed(hub, {"body": "Fine.", "event": "COMMENT"})
    await hub.comment("Review: ")
    assert len(hub.repo.reviews) == 1
    assert len(hub.github.of("pulls/create-review")) == 1
