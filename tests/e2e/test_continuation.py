"""A finished session goes on under its id, over HTTP: with a further task, or with its own once more."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.e2e.scripts import COMMIT, bash, conclude, pause, prompt, step, write

if TYPE_CHECKING:
    from tests.e2e.api import Api
    from tests.e2e.outside import OutsideView

RUN = secrets.token_hex(3)


@pytest.fixture(scope="module")
def ids(api: Api) -> dict[str, str]:
    """One that will be continued, one that is cancelled in the middle of its work and will be retried."""
    first = api.create(
        "implementation",
        f"{RUN}.continued",
        step(write("poem.txt", "Roses are red,\n"), bash(f"{COMMIT} 'Begin a poem'")),
        step(conclude("A poem has begun.", "End it")),
        text="Begin a poem.",
    )
    second = api.create(
        "implementation",
        f"{RUN}.retried",
        step(write("kept.txt", "committed\n"), bash(f"{COMMIT} 'Half of it'")),
        step(write("loose.txt", "not committed\n")),
        step(pause()),
        step(bash("cat kept.txt loose.txt; git status --porcelain")),
        step(conclude("All of it.")),
        text="Do all of it.",
    )
    return {"continued": first, "retried": second}


@pytest.fixture(scope="module")
def further(api: Api, ids: dict[str, str]) -> str:
    """The branch of the first one, which then got a further task and has done it."""
    before = api.completed(ids["continued"])
    branch = next(one["metadata"]["branch"] for one in before["output"]["artifacts"])
    task = prompt(
        "End the poem.",
        f"{RUN}.further",
        (
            step(bash("echo 'violets are blue.' >> poem.txt && cat poem.txt")),
            step(conclude("The poem is whole.")),
        ),
    )
    api.ask("session.continue", sessionId=ids["continued"], requirements=task)
    api.completed(ids["continued"])
    return str(branch)


@pytest.fixture(scope="module")
def retried(api: Api, ids: dict[str, str], further: str) -> str:
    """The second one: stopped at its pause, taken up again, done."""
    assert further, "it ran meanwhile"
    api.resource(ids["retried"]).paused()
    api.ask("session.cancel", sessionId=ids["retried"])
    assert api.ended(ids["retried"])["status"] == "cancelled"
    api.ask("session.retry", sessionId=ids["retried"])
    api.completed(ids["retried"])
    return ids["retried"]


def test_the_conversation_goes_on_with_the_further_task(further: str, outside: OutsideView) -> None:
    assert further
    messages = outside.model_requests(f"{RUN}.further")[0]["body"]["messages"]
    told = str(messages)

    assert told.index("Begin a poem.") < told.index("A poem has begun.") < told.index("End the poem.")


def test_the_working_tree_goes_on_too(
    api: Api, ids: dict[str, str], further: str, outside: OutsideView
) -> None:
    [poem] = outside.tool_results(f"{RUN}.further")[-1:]
    [commit] = [one for one in api.output(ids["continued"])["artifacts"] if one["type"] == "commit"]

    assert poem == "Roses are red,\nviolets are blue."
    assert outside.git("show", f"{commit['sha']}:poem.txt") == poem
    # On a branch of its own, on top of what the first one had published.
    assert commit["metadata"]["branch"] != further
    assert outside.git("merge-base", commit["sha"], further) == outside.branches()[further]


def test_the_answer_goes_on_under_the_first_id(api: Api, ids: dict[str, str], further: str) -> None:
    assert further
    session = api.get(ids["continued"])
    output = api.output(ids["continued"])

    assert (session["id"], session["status"]) == (ids["continued"], "completed")
    assert (output["summary"], output["nextSteps"]) == ("The poem is whole.", [])
    listed = api.ask("session.list", limit=100)["sessions"]
    assert [one["id"] for one in listed].count(ids["continued"]) == 1


def test_a_retry_takes_up_the_same_task_where_it_was_stopped(
    api: Api, retried: str, outside: OutsideView
) -> None:
    requests = outside.model_requests(f"{RUN}.retried")
    results = outside.tool_results(f"{RUN}.retried")

    # Committed and uncommitted work are back as what they were.
    assert results[-1] == "committed\nnot committed\n?? loose.txt"
    # No step was played twice: before the pause two, the pause, and two after it.
    assert [one["step"] for one in requests] == [0, 1, 2, 3, 4]
    assert "go on now on another one" in str(requests[3]["body"]["messages"])
    output = api.output(retried)
    assert output["summary"] == "All of it."
    [commit] = [one for one in output["artifacts"] if one["type"] == "commit"]
    assert outside.git("show", f"{commit['sha']}:loose.txt") == "not committed"
