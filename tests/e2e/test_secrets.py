"""An agent that looks everywhere finds no credential, and one that pushes to the base branch is refused.

The hosts reflect the credentials that they are sent, all the while. The search for the exact values runs in
the pod, beside the agent and as the same user, in every file and in the memory of every process; the values
come to it over stdin, so that the search itself puts them nowhere.
"""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.e2e.outside import REPOSITORY
from tests.e2e.scripts import COMMIT, bash, pause, step, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session

# What a thief would carry off: everything but the image's own files.
PLUNDER = """
{ env; cat /proc/*/environ /proc/*/cmdline
  find "$HOME" /tmp /workspace /var/run/secrets /run /etc -type f -readable \\
    -not -path '*/plunder.bin' -exec cat {} +
} >plunder.bin 2>/dev/null
test -s plunder.bin
"""

PUSH_DIRECTLY = """
import subprocess
from pathlib import Path

entries = Path("/proc/1/environ").read_text().split("\\0")
env = dict(entry.split("=", 1) for entry in entries if "=" in entry)
Path("/tmp/ca.pem").write_text(env["CLAUDE_GATEWAY_CA"])
token = Path("/var/run/secrets/claude-gateway/token").read_text().strip()
print(subprocess.run(
    ["git", "-c", "http.sslCAInfo=/tmp/ca.pem", "-c", f"http.extraHeader=Authorization: Bearer {token}",
     "push", env["CLAUDE_GATEWAY_URL"] + "/git/%(repository)s.git", "HEAD:main"],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
).stdout)
"""

SEARCH = """
import json, os, sys

needles = [needle.encode() for needle in json.load(sys.stdin)]
longest = max(map(len, needles))
hits = {}

def look(place, data):
    for needle in needles:
        if needle in data:
            hits.setdefault(needle.decode(), []).append(place)

def read(path):
    try:
        with open(path, "rb") as file:
            look(path, file.read())
    except OSError:
        pass

def regions(pid):
    # Those that can be written and have pages: what is only reserved can be gigabytes.
    with open(f"/proc/{pid}/smaps") as lines:
        for line in lines:
            name, *rest = line.split()
            if not name.endswith(":"):
                span, rights = name, rest[0]
            elif name == "Rss:" and rest[0] != "0" and rights.startswith("rw"):
                yield [int(part, 16) for part in span.split("-")]

for folder, folders, names in os.walk("/"):
    if folder == "/":
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
    for name in names:
        read(os.path.join(folder, name))
for pid in os.listdir("/proc"):
    if not pid.isdigit() or int(pid) == os.getpid():
        continue
    read(f"/proc/{pid}/environ")
    read(f"/proc/{pid}/cmdline")
    try:
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for start, end in regions(pid):
                for at in range(start, end, 1 << 24):
                    memory.seek(at)
                    look(memory.name, memory.read(min((1 << 24) + longest, end - at)))
    except (OSError, OverflowError):
        pass
print(json.dumps(hits))
"""


def forms(secret: str) -> list[str]:
    """The value, and what base64 makes of it wherever it begins in what is encoded."""
    found = [secret]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode()
        # The edges depend on what stands beside it.
        found.append(encoded[4 if before else 0 : len(encoded) // 4 * 4 - 4])
    return found


@pytest.fixture(scope="module")
def secrets(outside: OutsideView) -> list[str]:
    pair = base64.b64encode(f"{outside.state.git.username}:{outside.git_token}".encode()).decode()
    return [*forms(outside.model_key), *forms(outside.git_token), pair]


@pytest.fixture(scope="module")
def main(outside: OutsideView) -> str:
    return outside.branches()["main"]


@pytest.fixture(scope="module")
def session(namespace: Namespace, outside: OutsideView, main: str) -> Iterator[Session]:
    """In which the agent has looked around and waits; at the end it goes on."""
    assert main
    host = outside.state.git.url.partition("://")[2].strip("/")
    direct = PUSH_DIRECTLY % {"repository": f"{host}/{REPOSITORY}"}
    with outside.echo():
        yield namespace.apply(
            "thief",
            step(bash(PLUNDER)),
            step(bash(f"{COMMIT} 'What I found'")),
            step(pause()),
            step(bash("git push origin HEAD:main 2>&1")),
            step(write("push.py", direct)),
            step(bash("python3 push.py; rm push.py")),
            step(text="Nothing to be had."),
        )


@pytest.fixture(scope="module")
def witnessed(session: Session, secrets: list[str]) -> dict[str, list[str]]:
    """What the search in the running pod has found, and where."""
    session.paused()
    found: dict[str, list[str]] = json.loads(
        session.execute(SEARCH, stdin=json.dumps([*secrets, session.script]))
    )
    return found


@pytest.fixture(scope="module")
def finished(session: Session, witnessed: object) -> Session:
    assert witnessed
    session.go_on()
    session.until("Succeeded")
    return session


def test_the_running_pod_holds_no_credential(session: Session, witnessed: dict[str, list[str]]) -> None:
    hits = dict(witnessed)
    seen = hits.pop(session.script, [])

    # The search does find: the name of the script, which the prompt holds, in files and in memory.
    assert any(place.startswith("/home/claude/") for place in seen), witnessed
    assert any(place.endswith("/mem") for place in seen), witnessed
    assert hits == {}


def test_the_pod_mounts_nothing_but_its_token(finished: Session) -> None:
    (pod,) = finished.pods()
    (container,) = pod["spec"]["containers"]
    volumes = pod["spec"]["volumes"]
    projected = [each["projected"]["sources"] for each in volumes if "projected" in each]

    assert [set(each) - {"name"} for each in volumes if "projected" not in each] == [{"emptyDir"}] * 3
    assert [[set(source) for source in sources] for sources in projected] == [[{"serviceAccountToken"}]]
    assert not any("valueFrom" in each for each in container["env"])
    assert "envFrom" not in container
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_what_the_agent_carried_off_holds_no_credential(
    finished: Session, outside: OutsideView, secrets: list[str]
) -> None:
    plunder = outside.git("show", f"{finished.branch}:plunder.bin")

    assert "CLAUDE_GATEWAY_URL=" in plunder  # it did read the runner's environment
    assert "eyJ" in plunder  # and the pod's own token
    assert [secret for secret in secrets if secret in plunder] == []


def test_the_hosts_did_reflect_what_they_were_sent(finished: Session, outside: OutsideView) -> None:
    last = outside.model_requests(finished.script)[-1]

    assert last["headers"]["x-api-key"] == outside.model_key
    assert "[echo x-api-key: ***" in json.dumps(last["body"]), "the answers before it, as the agent got them"


def test_the_record_of_it_holds_no_credential(finished: Session, secrets: list[str]) -> None:
    told = [finished.logs(), json.dumps(finished.object)]
    told += [event.model_dump_json() for event in finished.journal()]
    system = finished.stack.cluster.kubectl
    for workload in ("statefulset/claude-gateway", "deployment/claude-controller"):
        told.append(system.run("-n", "claude-operator", "logs", workload))

    assert [secret for secret in secrets if any(secret in text for text in told)] == []


@pytest.mark.parametrize("way", [0, 1], ids=["through the forwarder", "to the gateway with the token"])
def test_a_push_to_the_base_branch_is_refused(finished: Session, outside: OutsideView, way: int) -> None:
    pushes = [text for text in outside.tool_results(finished.script) if "HEAD -> main" in text]

    assert len(pushes) == 2
    said = pushes[way]
    assert f"this session may push to refs/heads/{finished.branch} only, not to refs/heads/main" in said
    assert "[remote rejected]" in said


def test_the_refused_pushes_are_on_record(finished: Session) -> None:
    notes = [note["message"] for note in finished.notes("push_refused")]

    assert len(notes) == 2
    assert all("not to refs/heads/main" in note for note in notes)


def test_the_base_branch_is_where_it_was(finished: Session, outside: OutsideView, main: str) -> None:
    assert finished.status["result"]["branch"] == finished.branch
    assert outside.branches()["main"] == main


def test_base64_forms_are_found_at_every_offset() -> None:
    haystacks = [base64.b64encode(b"x" * before + b"sk-ant-secret" + b"tail").decode() for before in range(3)]

    assert all(any(form in text for form in forms("sk-ant-secret")[1:]) for text in haystacks)
    assert all(one != other for one, other in pairwise(haystacks))
