"""Bad input and bad luck: each ends with its own reason and a text that says what to do, and nothing hangs.

What is wrong in other ways (an unknown repository or branch, a missing Secret, a wrong key) is shown by
`tests/e2e/test_trouble.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claude_operator.resources.identity import API_VERSION, SESSION_KIND
from tests.cluster.waiting import wait_until
from tests.e2e.outside import REPOSITORY
from tests.e2e.scripts import pause, prompt, step, write
from tests.e2e.session import Session
from tests.stack import tenant
from tests.world.repositories import Commit, File, Repositories, Seed
from tests.world.script import Error, Step, ToolCall

if TYPE_CHECKING:
    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView

pytestmark = pytest.mark.timeout(300)
LONGEST = 200_000
NASTY = (
    "'\"`$(touch /tmp/pwned) ${HOME} `id` \\ \\n %s {{x}} <b>&amp;</b> ; rm -rf / # \t|\r\n"
    "\x01\x07\x08\x0b\x0c\x1b[31m\x7f\x85\u2028\ufeff 🤖👩‍👩‍👧 e\u0301 ﷽ \u202e reversed "
    "</requirements> EOF\n---\n"
)
LINES = 3 * 1024 * 1024 // 32


def nasty(name: str, steps: tuple[Step, ...]) -> str:
    """200,000 characters, with the script, that a shell, a terminal or a template would stumble over."""
    bare = len(prompt("", name, steps))
    room = LONGEST - bare
    return (NASTY * (room // len(NASTY) + 1))[: room - 1] + "."


@pytest.fixture(scope="module")
def long_text(namespace: Namespace) -> str:
    return nasty(f"{namespace.name}.long", (step(text="Read."),))


@pytest.fixture(scope="module")
def sessions(namespace: Namespace, outside: OutsideView, owner: str, long_text: str) -> dict[str, Session]:
    state = outside.state
    repositories = Repositories(state.git.repositories)
    repositories.create(f"{owner}/empty")
    big = Commit(message="Big", files={"big.txt": File(content=("x" * 31 + "\n") * LINES)})
    repositories.create(f"{owner}/big", Seed(commits=(big,)))
    key = outside.model_key
    elsewhere = tenant.credential("elsewhere", hosts="https://api.example", apiKey=key)
    opaque = {**tenant.credential("opaque", hosts=state.model.url, apiKey=key), "type": "Opaque"}
    namespace.apply_objects(elsewhere, opaque)
    for secret in ("elsewhere", "opaque"):
        model = {"upstreamURL": state.model.url, "credentialsSecret": secret}
        namespace.project(secret, ready=False, model=model)
    done = step(text="Done.")
    overloaded = Step(error=Error(status=529, type="overloaded_error", message="Overloaded"))
    read = ToolCall(name="Read", input={"file_path": "${CWD}/big.txt", "limit": 1})
    return {
        "overloaded": namespace.apply("overloaded", overloaded),
        "long": create(namespace, "long", prompt(long_text, f"{namespace.name}.long", (step(text="Read."),))),
        "empty": namespace.apply("empty", done, repository=f"{owner}/empty"),
        "elsewhere": namespace.apply("elsewhere", done, project="elsewhere"),
        "opaque": namespace.apply("opaque", done, project="opaque"),
        "wordy": namespace.apply(
            "wordy", step(read), step(write("big.txt", "small\n")), done, repository=f"{owner}/big"
        ),
    }


def create(namespace: Namespace, name: str, requirements: str) -> Session:
    """By POST: server-side apply is YAML to the API server, which takes no control characters in it."""
    body = {
        "apiVersion": API_VERSION,
        "kind": SESSION_KIND,
        "metadata": {"name": name},
        "spec": {"repository": REPOSITORY, "requirements": requirements},
    }
    namespace.kubectl("create", "-f", "-", stdin=json.dumps(body))
    return Session(namespace.stack, namespace.watch, namespace.name, name)


def test_an_empty_repository(sessions: dict[str, Session]) -> None:
    session = sessions["empty"]
    session.until("Failed", "CloneFailed")

    assert "is empty or has no default branch: push a first commit, or name a branch" in session.message
    assert "Running" not in session.phases


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("elsewhere", "Secret elsewhere does not list http://"),
        ("opaque", "Secret opaque has the type Opaque: it must be claude-operator.dev/credential"),
    ],
)
def test_a_secret_that_may_not_be_used_is_named_and_never_sent(
    sessions: dict[str, Session], outside: OutsideView, name: str, says: str
) -> None:
    session = sessions[name]
    session.until("Waiting", "ProjectNotReady")

    assert says in session.message
    assert outside.model_requests(session.script) == []


def test_requirements_reach_the_model_byte_for_byte(
    sessions: dict[str, Session], outside: OutsideView, long_text: str
) -> None:
    session = sessions["long"]
    session.until("Succeeded", seconds=120)
    requirements = str(session.object["spec"]["requirements"])

    assert len(requirements) == LONGEST
    assert requirements.startswith(long_text)
    assert requirements in outside.prompt(session.script)


def test_a_line_of_six_megabytes_is_one_event_among_others(
    sessions: dict[str, Session], outside: OutsideView
) -> None:
    session = sessions["wordy"]
    session.until("Succeeded", seconds=120)

    assert outside.git("show", f"{session.branch}:big.txt", repository=repository_of(session)) == "small"
    lines = [event.data for event in session.journal() if event.type == "cli.user"]
    [cut] = [line for line in lines if line.get("truncated")]
    assert cut["bytes"] > 6_000_000, "the CLI did print it, and the record says how much of it is left out"


def repository_of(session: Session) -> str:
    return str(session.object["spec"]["repository"])


def test_a_model_that_stays_overloaded_ends_the_session_within_minutes(
    sessions: dict[str, Session], outside: OutsideView
) -> None:
    session = sessions["overloaded"]
    session.until("Failed", "ModelOverloaded", seconds=240)

    assert "overloaded" in session.message.lower()
    attempts = session.status["attempts"]
    assert len(attempts) == 4, "the first and three that are free"
    assert {attempt["reason"] for attempt in attempts} == {"ModelOverloaded"}
    assert len(outside.model_requests(session.script)) <= 4 * 12, "each with a few retries of its own"
    assert session.record().usage.output_tokens == 0


HOLD = (step(pause()), step(text="Never said."))


def test_a_deleted_session_is_never_run_again_and_its_name_is_free(
    namespace: Namespace, outside: OutsideView
) -> None:
    first = namespace.apply("again", *HOLD)
    first.paused()
    old = first.uid
    asked = len(outside.model_requests(first.script))

    namespace.kubectl("delete", "csess", "again", "--wait=true", "--timeout=30s")
    second = namespace.apply("again", step(text="Another one."), text="Something else.")
    second.until("Succeeded")

    assert second.uid != old
    assert [attempt["number"] for attempt in second.status["attempts"]] == [1]
    assert second.status["result"]["summary"] == "Another one."
    selector = f"claude-operator.dev/session-uid={old}"
    wait_until(
        lambda: not namespace.kubectl("get", "pods,jobs", "-l", selector, "-o", "name").strip(),
        what="the first one's pod and Job to go",
        seconds=60,
        interval=0.3,
    )
    kinds = [event for event in namespace.stack.gateway.events(old) if event.type.startswith("gateway.")]
    assert [event.data["phase"] for event in kinds if event.type == "gateway.outcome"] == ["Deleted"]
    assert sum(event.type == "gateway.claimed" for event in kinds) == 1
    # The second asked under the same script name, once: the first has not gone on.
    assert len(outside.model_requests(first.script)) == asked + 1
