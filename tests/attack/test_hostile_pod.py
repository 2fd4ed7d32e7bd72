"""An agent that turns on its surroundings: every attack works on the bare hosts, and none from its pod.

One pod runs them all and keeps what it was told as an artifact; the same program, run beside the tests, shows
what the same requests do where nothing stands between.
"""

from __future__ import annotations

import base64
import json
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.attack import hostile
from tests.attack.hostile import METADATA, Way
from tests.e2e.scripts import bash, step, write
from tests.world.repositories import Commit, File, Repositories, Seed

if TYPE_CHECKING:
    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session
    from tests.stack.stack import Stack

pytestmark = pytest.mark.timeout(240)
ATTACK = Path(hostile.__file__)
SEED = Seed(
    commits=(Commit(message="One", files={"attack.py": File(content=ATTACK.read_text())}),),
    branches={"doomed": 1, "gzipped": 1, "certified": 1, "claude/theirs": 1},
)
PUSHES = (
    "another session's branch",
    "a tag",
    "two at once",
    "push options",
    "main",
    "a delete",
    "notes",
    "a push to another repository",
    "a gzipped delete",
    "a push certificate",
)
MODEL = (
    "web search",
    "web fetch",
    "code execution",
    "an MCP connector",
    "a container",
    "an unlisted model",
    "a URL source",
    "a URL source in a tool's result",
    "a file source",
    "a priority tier",
    "a beta feature",
)


@dataclass
class Raid:
    """What came of the attacks from the pod."""

    session: Session
    victim: Session
    fenced: str
    told: dict[str, dict[str, Any]]
    before: dict[str, str]
    """The refs of the repository before."""

    @property
    def notes(self) -> list[str]:
        """Everything that the gateway itself has put on record, as text."""
        return [
            json.dumps(event.data) for event in self.session.journal() if event.type.startswith("gateway.")
        ]


def create(outside: OutsideView, name: str) -> None:
    Repositories(outside.state.git.repositories).create(name, SEED)


def refs(outside: OutsideView, repository: str) -> dict[str, str]:
    listed = outside.git("for-each-ref", "--format=%(refname) %(objectname)", repository=repository)
    return dict(pair.split() for pair in listed.splitlines())


@pytest.fixture(scope="module")
def unfenced(outside: OutsideView, owner: str) -> tuple[Way, dict[str, str], dict[str, str]]:
    """The attacks on the bare hosts, with the credentials that the gateway holds; refs before and after."""
    for name in ("open", "other-open"):
        create(outside, f"{owner}/{name}")
    state = outside.state
    login = base64.b64encode(f"{state.git.username}:{outside.git_token}".encode()).decode()
    way = Way(
        git=state.git.url.rstrip("/"),
        model=state.model.url.rstrip("/"),
        git_headers={"Authorization": f"Basic {login}"},
        model_headers={"x-api-key": outside.model_key},
        repository=f"{owner}/open",
        other=f"{owner}/other-open",
    )
    before = refs(outside, way.repository)
    hostile.push_attacks(way)
    hostile.model_attacks(way)
    return way, before, refs(outside, way.repository)


@pytest.fixture(scope="module")
def raid(namespace: Namespace, outside: OutsideView, owner: str) -> Raid:
    """From a pod: beside a victim that has finished and left an artifact."""
    victim = namespace.apply(
        "victim", step(write("secret.txt", "theirs alone\n")), step(text="Done."), artifacts=["secret.txt"]
    )
    for name in ("fenced", "other"):
        create(outside, f"{owner}/{name}")
    victim.until("Succeeded")
    [artifact] = stack_get(victim, "/artifacts")
    loot = {
        "uid": victim.uid,
        "sha256": artifact["sha256"],
        "size": str(artifact["size"]),
        "host": outside.state.git.url.partition("://")[2].strip("/"),
        "namespace": namespace.name,
        "gateway": "claude-gateway.claude-operator.svc",
        "repository": f"{owner}/fenced",
        "other": f"{owner}/other",
        "theirs": "claude/theirs",
    }
    before = refs(outside, f"{owner}/fenced")
    session = namespace.apply(
        "thief",
        step(
            bash(
                f"python3 attack.py {shlex.quote(json.dumps(loot))} && rm attack.py && git checkout attack.py"
            )
        ),
        step(text="Nothing to be had."),
        repository=f"{owner}/fenced",
        artifacts=["loot.json"],
    )
    session.until("Succeeded", seconds=150)
    told = json.loads(stack_get(session, "/artifacts/loot.json", raw=True))
    return Raid(session, victim, f"{owner}/fenced", told, before)


def stack_get(session: Session, path: str, *, raw: bool = False) -> Any:
    """What the internal port tells somebody who may ask."""
    with session.stack.gateway._open(f"/internal/v1/sessions/{session.uid}{path}") as answer:
        body = answer.read()
    return body if raw else json.loads(body)


@pytest.mark.parametrize("attack", PUSHES)
def test_undefended_every_push_is_taken(unfenced: tuple[Way, Any, Any], attack: str) -> None:
    told = unfenced[0].told[f"git: {attack}"]

    assert told["status"] in (0, 200), told
    assert "rejected" not in str(told["said"]), told
    assert "ng refs" not in str(told["said"]), told


def test_undefended_the_repository_is_no_longer_what_it_was(
    unfenced: tuple[Way, dict[str, str], dict[str, str]],
) -> None:
    _, before, after = unfenced

    assert after["refs/heads/main"] != before["refs/heads/main"]
    assert after["refs/heads/claude/theirs"] != before["refs/heads/claude/theirs"]
    assert {"refs/tags/v9", "refs/heads/second", "refs/notes/x"} <= set(after)
    assert {"refs/heads/doomed", "refs/heads/gzipped", "refs/heads/certified"} & set(after) == set()


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        ("another session's branch", "this session may push to refs/heads/claude/thief-"),
        ("a tag", "not to refs/tags/v9"),
        ("two at once", "one ref at a time: this push has 2 commands"),
        ("push options", "push options are not allowed"),
        ("main", "not to refs/heads/main"),
        ("a delete", "not to refs/heads/doomed"),
        ("notes", "not to refs/notes/x"),
        ("a push to another repository", "is not this session's repository"),
        ("another repository", "is not this session's repository"),
        ("a gzipped delete", "a push must not be compressed"),
        ("a push certificate", "signed pushes (push certificates) are not allowed"),
    ],
)
def test_a_push_to_anything_but_the_own_branch_is_refused_and_on_record(
    raid: Raid, attack: str, says: str
) -> None:
    told = raid.told[f"git: {attack}"]

    assert told["status"] in (1, 128, 403, 415), told
    assert says in str(told["said"]), told
    assert any(says in note for note in raid.notes)


def test_the_repository_is_what_it_was_but_for_the_own_branch(raid: Raid, outside: OutsideView) -> None:
    assert raid.told["git: clone"]["status"] == 0
    after = refs(outside, raid.fenced)

    assert {name: commit for name, commit in after.items() if name in raid.before} == raid.before
    assert {*after} - {*raid.before} <= {f"refs/heads/{raid.session.branch}"}


@pytest.mark.parametrize("attack", MODEL)
def test_undefended_the_model_takes_every_request(unfenced: tuple[Way, Any, Any], attack: str) -> None:
    assert unfenced[0].told[f"model: {attack}"]["status"] == 200


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        ("web search", "'web_search_20250305' runs at the provider"),
        ("web fetch", "'web_fetch_20250910' runs at the provider"),
        ("code execution", "'code_execution_20250825' runs at the provider"),
        ("an MCP connector", "mcp_servers: runs at the provider"),
        ("a container", "container: runs at the provider"),
        ("an unlisted model", "'claude-opus-4-1' is not allowed in this project"),
        ("a URL source", "'url' is fetched by the provider"),
        ("a URL source in a tool's result", "'url' is fetched by the provider"),
        ("a file source", "'file' is fetched by the provider"),
        ("a priority tier", "service_tier: not a field that the pinned Claude Code sends"),
        ("a beta feature", "files-api-2025-04-14 is not a value"),
    ],
)
def test_what_carries_data_out_at_the_provider_is_refused_and_on_record(
    raid: Raid, attack: str, says: str
) -> None:
    told = raid.told[f"model: {attack}"]

    assert told["status"] == 403, told
    assert says in json.loads(told["said"])["error"]["message"]
    assert any(says in note for note in raid.notes)


def test_an_ordinary_request_is_not(raid: Raid) -> None:
    assert raid.told["model: an ordinary request"]["status"] == 200


def test_undefended_the_internal_port_tells_all_of_a_session(raid: Raid) -> None:
    assert stack_get(raid.victim, "/artifacts/secret.txt", raw=True) == b"theirs alone\n"
    assert any(event.type == "gateway.pushed" for event in raid.victim.journal())


@pytest.mark.parametrize(
    "place",
    ["the record", "the journal", "the artifacts", "the inbox", "a close", "a cancel", "an outcome"],
)
def test_a_pods_token_opens_nothing_at_the_internal_port(raid: Raid, place: str) -> None:
    told = raid.told[f"pod: {place} of another at the internal port"]

    assert told["status"] == 401, told
    assert "audience" in json.loads(told["said"])["message"].lower()
    assert sum("the internal port is not for pods" in note for note in raid.notes) == 7


@pytest.mark.parametrize(
    ("attack", "status", "says"),
    [
        ("another's blob", 404, "no such blob in this attempt's assignment"),
        ("another's blob as its own", 409, "send its chunks again"),
        ("the internal path at its own port", 404, "there is no such path on the session port"),
    ],
)
def test_another_sessions_data_cannot_be_had(raid: Raid, attack: str, status: int, says: str) -> None:
    told = raid.told[f"pod: {attack}"]

    assert told["status"] == status, told
    assert says in json.loads(told["said"])["message"]
    if status == 404:
        assert any(says in note for note in raid.notes)


def test_no_spelling_of_a_path_leads_elsewhere(raid: Raid) -> None:
    tricks = {name: told for name, told in raid.told.items() if name.startswith("pod: the path ")}

    assert len(tricks) == 6
    for name, told in tricks.items():
        assert told["status"] == 403, (name, told)
        assert "written plainly" in told["said"], (name, told)
        assert any(name.removeprefix("pod: the path ") in note for note in raid.notes), name


@pytest.mark.parametrize("spelled", METADATA)
def test_undefended_every_spelling_is_the_metadata_address(spelled: str) -> None:
    found = {entry[4][0] for entry in socket.getaddrinfo(spelled.strip("[]").rstrip("."), 80)}

    assert found & {"169.254.169.254", "::ffff:169.254.169.254"}


@pytest.mark.parametrize("spelled", METADATA)
@pytest.mark.parametrize("port", [80, 443])
def test_the_metadata_address_is_out_of_reach_in_every_spelling(raid: Raid, spelled: str, port: int) -> None:
    told = raid.told[f"proxy: CONNECT {spelled}:{port} HTTP/1.1"]

    assert told["status"] in (400, 403), told
    assert "egress" in told["said"], told
    assert any(
        f"{spelled.strip('[]').rstrip('.')}:{port} is not an egress host" in note for note in raid.notes
    )


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "kubernetes.default.svc",
        "localhost",
        "127.0.0.1",
        "claude-gateway.claude-operator.svc",
    ],
)
def test_no_other_host_is_connected_to(raid: Raid, host: str) -> None:
    told = raid.told[f"proxy: CONNECT {host}:443 HTTP/1.1"]

    assert told["status"] == 403, told
    assert f"{host}:443 is not an egress host of the project" in told["said"]
    assert any(f"{host}:443 is not an egress host" in note for note in raid.notes)


def test_the_proxy_fetches_nothing_itself(raid: Raid) -> None:
    plain = {name: told for name, told in raid.told.items() if name.startswith("proxy: GET ")}

    assert len(plain) == 2
    assert all(told["status"] == 405 and "CONNECT only" in told["said"] for told in plain.values()), plain
    assert sum("CONNECT only" in note for note in raid.notes) == 2


def test_the_kubernetes_api_does_not_know_the_token(raid: Raid, stack: Stack) -> None:
    asked = {name: told for name, told in raid.told.items() if name.startswith("kubernetes: ")}

    assert len(asked) == 3
    assert {told["status"] for told in asked.values()} <= {401}, asked
    token = stack.cluster.kubectl.run("create", "token", "default", "-n", "kube-system").strip()
    who = stack.cluster.kubectl.run(
        "auth", "whoami", f"--token={token}", "-o", "jsonpath={.status.userInfo.username}"
    )
    assert who.strip(), "undefended: a token of the API server's own audience is known to it"
