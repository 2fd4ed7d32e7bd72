"""One orchestration over HTTP: analysis, two implementations at once, tests, review; by dependencies alone.

The sessions are those of the tutorial in docs/api-claude-hub.md.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cluster.places import REPOSITORY
from tests.e2e.scripts import COMMIT, bash, conclude, pause, step, write

if TYPE_CHECKING:
    from tests.e2e.api import Api, Json
    from tests.e2e.outside import OutsideView

ANALYSIS = "The greetings need a table:\n\n- one line a language, “déjà vu” and $(quotes) included."
FRENCH = "French greets with Bonjour. 🥐"
SPANISH = "Spanish greets with Hola."
TESTED = "Both languages are on one branch and tested."
REVIEW = "Fine, but for the accents."
CHAIN_SECONDS = 120
"""For what is left of it, one session after the other."""


@dataclass(frozen=True, slots=True)
class Orchestration:
    """Five sessions, all completed."""

    batch: str
    ids: dict[str, str]
    sessions: dict[str, Json]
    outputs: dict[str, Json]

    def script(self, name: str) -> str:
        return f"{self.batch}.{name}"

    def commit(self, name: str) -> Json:
        """The commit that it has published."""
        (found,) = (one for one in self.outputs[name]["artifacts"] if one["type"] == "commit")
        assert isinstance(found, dict)
        return found

    def branch(self, name: str) -> str:
        """Where."""
        return str(self.commit(name)["metadata"]["branch"])


@pytest.fixture(scope="module")
def orchestration(api: Api) -> Orchestration:
    batch = f"languages-{secrets.token_hex(3)}"
    # A session may be named before it exists: the review is created before the tests that it waits for.
    ids = {"tests": str(uuid.uuid4())}
    shared: Json = {"metadata": {"batchId": batch}}

    def implementation(name: str, summary: str) -> str:
        return api.create(
            "implementation",
            f"{batch}.{name}",
            step(write(f"{name}.py", f"# {name}\n")),
            step(pause()),
            step(bash(f"{COMMIT} 'Greet in {name}'")),
            step(conclude(summary, f"Test {name}", "Document it"), text="That is it."),
            text=f"Greet in {name}.",
            dependencies=[ids["analysis"]],
            **shared,
        )

    ids["analysis"] = api.create(
        "analysis",
        f"{batch}.analysis",
        step(bash("git ls-files")),
        step(conclude(ANALYSIS, "Write the table")),
        text="What has to change?",
        **shared,
    )
    ids["french"], ids["spanish"] = implementation("french", FRENCH), implementation("spanish", SPANISH)
    ids["review"] = api.create(
        "review",
        f"{batch}.review",
        step(bash("git log --oneline -3")),
        step(text=REVIEW),
        step(text="I have nothing to add."),
        text="Review the result.",
        dependencies=[ids["tests"]],
        **shared,
    )
    both = [api.resource(ids[name]) for name in ("french", "spanish")]
    # Each is in the middle of its work while the other one is: they run at the same time.
    for session in both:
        session.paused(seconds=CHAIN_SECONDS)
    for session in both:
        session.go_on()
    for session in both:
        api.completed(session.name)
    french, spanish = (_published(api, session.name) for session in both)
    api.create(
        "testing",
        f"{batch}.tests",
        step(bash(f"git fetch -q origin {spanish} && git merge -q --no-edit FETCH_HEAD")),
        step(write("test_languages.py", "# tests\n"), bash(f"{COMMIT} 'Test both languages'")),
        step(conclude(TESTED), text="All pass."),
        text="Bring both branches together and test them.",
        id=ids["tests"],
        branch=french,
        dependencies=[ids["french"], ids["spanish"]],
        **shared,
    )
    sessions = {name: api.completed(one, seconds=CHAIN_SECONDS) for name, one in ids.items()}
    return Orchestration(batch, ids, sessions, {name: api.output(one) for name, one in ids.items()})


def _published(api: Api, session_id: str) -> str:
    """The branch, as a client reads it before it asks for a session on top of it."""
    artifacts = api.output(session_id)["artifacts"]
    return next(str(one["metadata"]["branch"]) for one in artifacts if one["type"] == "commit")


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("french", {"analysis": ANALYSIS}),
        ("spanish", {"analysis": ANALYSIS}),
        ("tests", {"french": FRENCH, "spanish": SPANISH}),
        ("review", {"tests": TESTED}),
    ],
)
def test_each_prompt_holds_the_results_of_its_dependencies(
    orchestration: Orchestration, outside: OutsideView, name: str, of: dict[str, str]
) -> None:
    prompt = outside.prompt(orchestration.script(name))

    for other, summary in of.items():
        result = prompt.partition(f'<session name="{orchestration.ids[other]}"')[2].partition("</session>")[0]
        assert summary in result
        if other != "analysis":
            commit = orchestration.commit(other)
            branch = commit["metadata"]["branch"]
            assert f"Branch: {branch} at {commit['sha']} (git fetch origin {branch})" in result
    assert prompt.count("<session name=") == len(of)


def test_the_order_is_that_of_the_dependencies(orchestration: Orchestration) -> None:
    at = orchestration.sessions

    for name, *of in (
        ("french", "analysis"),
        ("spanish", "analysis"),
        ("tests", "french", "spanish"),
        ("review", "tests"),
    ):
        assert at[name]["dependencies"] == [orchestration.ids[one] for one in of]
        assert all(at[name]["startedAt"] >= at[one]["completedAt"] for one in of)


def test_the_branch_of_one_is_the_base_of_the_next(
    orchestration: Orchestration, outside: OutsideView
) -> None:
    tested, french = orchestration.commit("tests")["sha"], orchestration.commit("french")["sha"]

    assert orchestration.sessions["tests"]["project"]["branch"] == orchestration.branch("french")
    assert outside.git("merge-base", tested, french) == french
    files = outside.git("ls-tree", "--name-only", tested).splitlines()
    assert {"french.py", "spanish.py", "test_languages.py"} <= set(files)
    assert outside.branches()[orchestration.branch("french")] == french, "the base itself stays"


def test_the_example_says_the_same_as_custom_resources(orchestration: Orchestration) -> None:
    objects = list(yaml.safe_load_all((REPOSITORY / "manifests/examples/02-dependencies.yaml").read_text()))
    example = {
        one["metadata"]["name"].removeprefix("languages-"): (
            one["spec"]["type"],
            [each["name"].removeprefix("languages-") for each in one["spec"].get("dependencies", [])],
        )
        for one in objects
    }
    names = {session_id: name for name, session_id in orchestration.ids.items()}

    assert example == {
        name: (session["type"], [names[one] for one in session["dependencies"]])
        for name, session in orchestration.sessions.items()
    }


def test_all_are_listed_by_their_batch(api: Api, orchestration: Orchestration) -> None:
    listed = api.ask("session.list", orchestrationId=orchestration.batch)["sessions"]

    assert {one["id"] for one in listed} == set(orchestration.ids.values())
    assert {one["status"] for one in listed} == {"completed"}
    assert {one["metadata"]["batchId"] for one in listed} == {orchestration.batch}


@pytest.mark.parametrize(
    ("name", "summary", "next_steps"),
    [
        ("analysis", ANALYSIS, ["Write the table"]),
        ("french", FRENCH, ["Test french", "Document it"]),
        ("spanish", SPANISH, ["Test spanish", "Document it"]),
        ("tests", TESTED, []),
        # It gave no structured answer, was asked once more and still gave none: its own last words stand.
        ("review", REVIEW, []),
    ],
)
def test_outputs_are_complete(
    orchestration: Orchestration, name: str, summary: str, next_steps: list[str]
) -> None:
    output = orchestration.outputs[name]

    assert (output["summary"], output["nextSteps"]) == (summary, next_steps)
    assert any(line.startswith("> Bash ") for line in output["logs"])
    assert "* finished: Completed" in output["logs"]
    assert 0 < output["executionTime"] < CHAIN_SECONDS
    assert output["resourceUsage"]["cpuTime"] > 0
    assert int(output["resourceUsage"]["memoryPeak"].removesuffix("MB")) > 50


def test_artifacts_are_what_was_written_and_published(orchestration: Orchestration) -> None:
    kinds = {
        name: sorted(one["type"] for one in output["artifacts"])
        for name, output in orchestration.outputs.items()
    }
    assert kinds == {
        "analysis": [],
        "french": ["commit", "file"],
        "spanish": ["commit", "file"],
        "tests": ["commit", "file"],
        "review": [],
    }
    (file,) = (one for one in orchestration.outputs["french"]["artifacts"] if one["type"] == "file")
    assert (file["path"], file["content"]) == ("french.py", "# french\n")
    assert file["url"].endswith(f"/{orchestration.branch('french')}/french.py")
