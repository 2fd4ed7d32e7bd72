"""The CRDs on a real API server: what is defaulted, what is refused and in which words, what is immutable."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from claude_operator.resources.lifecycle import FINAL_PHASES, Phase
from claude_operator.resources.session import MUTABLE_FIELDS, SessionSpec
from claude_operator.resources.session_status import SessionStatus, initial_status
from tests.cluster.controlplane import ControlPlane
from tests.integration.witness import Object, Witness, refused

pytestmark = pytest.mark.controlplane

API_VERSION = "claude-operator.dev/v1alpha1"
CRDS = Path(__file__).parents[2] / "crds"
LABEL = "use lower-case letters, digits and inner dashes"
GIT_REF = "use letters, digits, _ + @ - and single inner dots, in parts joined by /; no part ends in .lock"
REPOSITORY = "write owner/repo or host/owner/repo, without https://, .git and .. in it"
HOST = "write host or host:port, in lower case, without scheme and path"
MODEL = "write the name as the API of the model does, without spaces"
QUANTITY = "write a quantity, as 500m, 2 or 1.5Gi"
URL = "write https://host/path, without user, query and fragment"

_number = count(1)


@pytest.fixture(scope="module")
def witness(plane: ControlPlane) -> Witness:
    plane.kubectl.run("apply", "--server-side", "-f", str(CRDS))
    plane.kubectl.run("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    return Witness(plane.kubeconfig)


def session(name: str | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "ClaudeSession",
        "metadata": {"name": name or f"session-{next(_number)}", "namespace": "default"},
        "spec": {"repository": "demo/greeter", "requirements": "Greet.", **spec},
    }


def project(name: str | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "ClaudeProject",
        "metadata": {"name": name or f"project-{next(_number)}", "namespace": "default"},
        "spec": {"repositoryHosts": [{"host": "github.com"}], **spec},
    }


FULL: Object = {
    "type": "review",
    "project": "team",
    "branch": "release/1.2",
    "context": "Background.",
    "dependencies": [{"name": "first"}, {"name": "second", "when": "Finished"}],
    "resumeFrom": "earlier",
    "suspend": True,
    "priority": -5,
    "timeoutSeconds": 60,
    "startDeadlineSeconds": 30,
    "ttlSecondsAfterFinished": 0,
    "limits": {"maxTurns": 10, "maxCostUSD": 0.5, "maxTokens": 1_000_000},
    "retry": {"limit": 2, "on": ["OOMKilled", "AgentError"]},
    "model": "claude-sonnet-5-5",
    "systemPrompt": "Be brief.",
    "tools": ["Bash", "mcp__files__read"],
    "mcpServers": [
        {"name": "local", "command": "server", "args": ["--port=0"], "env": {"LEVEL": "debug"}},
        {"name": "remote", "url": "https://mcp.example.com/sse"},
    ],
    "outputSchema": '{"type": "object", "properties": {"greeting": {"type": "string"}}}',
    "publish": {"branch": "team/greet", "pullRequest": {"title": "Greet", "base": "release/1.2"}},
    "readOnly": False,
    "artifacts": ["reports/**/*.xml"],
    "notify": {"url": "https://hooks.example.com/x?y=1", "secretRef": {"name": "hook"}},
    "pod": {
        "image": "registry.example.com/session:1",
        "resources": {"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"cpu": "500m"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [
            {"key": "dedicated", "value": "agents", "effect": "NoSchedule"},
            {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
        ],
        "runtimeClassName": "gvisor",
    },
}
"""Every field of a session but `cancel`."""


# ── What is accepted ─────────────────────────────────────────────────────────────────────────────


def test_a_fresh_session_shows_its_defaults_and_its_status_before_anybody_wrote_it(witness: Witness) -> None:
    written = session()
    for seen in (witness.apply(written), witness.get(written)):
        assert seen["spec"] == {
            "type": "implementation",
            "project": "default",
            "repository": "demo/greeter",
            "requirements": "Greet.",
            "suspend": False,
            "cancel": False,
            "priority": 0,
            "readOnly": False,
            "timeoutSeconds": 1800,
            "startDeadlineSeconds": 600,
        }
        assert seen["status"] == initial_status()


def test_a_project_of_one_line_is_complete_and_not_yet_ready(witness: Witness) -> None:
    seen = witness.apply(project())
    assert seen["spec"]["model"] == {
        "upstreamURL": "https://api.anthropic.com",
        "credentialsSecret": "anthropic",
        "default": "claude-sonnet-5-5",
        "serverTools": False,
    }
    assert seen["spec"]["paused"] is False
    [ready] = seen["status"]["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "Pending")


def test_every_field_is_stored_as_it_was_written_and_read_back_by_the_model(witness: Witness) -> None:
    assert {"repository", "requirements", "cancel", *FULL} == {
        field.alias for field in SessionSpec.model_fields.values()
    }
    written = session(**FULL)
    stored = witness.apply(written)["spec"]
    assert {name: stored[name] for name in ("publish", "pod", "mcpServers", "notify")}.items() >= {
        "mcpServers": FULL["mcpServers"],
        "notify": FULL["notify"],
    }.items()
    assert stored["pod"]["resources"] == FULL["pod"]["resources"]
    read = SessionSpec.model_validate(stored)
    assert read.pod is not None
    assert read.pod.resources is not None
    assert read.pod.resources.requests == {"cpu": "1", "memory": "1.5Gi"}
    # What the model sends is what the server has: nothing is pruned, nothing is spelled otherwise.
    again = witness.apply(session(**read.to_api()))["spec"]
    assert SessionSpec.model_validate(again) == read


def test_requirements_of_200_000_characters_are_stored_byte_for_byte(witness: Witness) -> None:
    odd = "Ärger 🤖 \"quotes\" 'single' $(touch /tmp/x) `id` \\n \t%s {{x}}\n\u0007---\n"
    text = (odd * (200_000 // len(odd) + 1))[:200_000]
    assert len(text) == 200_000
    assert len(text.encode()) > 210_000
    written = session(requirements=text)
    witness.apply(written)
    assert witness.get(written)["spec"]["requirements"] == text
    with refused() as refusal:
        witness.apply(session(requirements=text + "🤖"))
    assert "spec.requirements: Too long: may not be more than 200000 bytes" in refusal.message


def test_status_as_the_model_writes_it_is_accepted(witness: Witness) -> None:
    written = session()
    witness.apply(written)
    moment = "2026-01-01T00:00:00Z"
    status = SessionStatus.model_validate(
        initial_status()
        | {
            "phase": "Running",
            "attempts": [{"number": 1, "job": "x-1", "startTime": moment, "reason": "OOMKilled"}],
            "usage": {"inputTokens": 1, "costUSD": 0.000001, "turns": 1},
            "result": {"branch": "claude/x", "pullRequest": {"url": "https://x/1", "number": 1}},
            "waitingFor": [{"name": "first", "phase": "Absent"}],
            "artifacts": [{"path": "a", "size": 3_000_000_000, "sha256": "0" * 64}],
        }
    ).to_api()
    assert witness.merge(written, {"status": status}, subresource="status")["status"] == status


# ── What is refused, and in which words ──────────────────────────────────────────────────────────

REFUSED_SESSIONS: dict[str, tuple[Object, str]] = {
    "an output schema that is no object": (
        {"outputSchema": "[]"},
        'Invalid value: "[]": write a JSON Schema as text, an object with "type": "object"',
    ),
    "an output schema that is too long": (
        {"outputSchema": '{"type": "object"}' + " " * 20_000},
        "spec.outputSchema: Too long: may not be more than 20000 bytes",
    ),
    "a branch for what pushes nothing": (
        {"readOnly": True, "publish": {"branch": "team/x"}},
        "readOnly publishes nothing",
    ),
    "no repository": ({"repository": None}, "spec.repository: Required value"),
    "repository as URL": (
        {"repository": "https://github.com/demo/greeter"},
        f'spec.repository: Invalid value: "https://github.com/demo/greeter": {REPOSITORY}',
    ),
    "repository with .git": ({"repository": "demo/greeter.git"}, REPOSITORY),
    "repository with ..": ({"repository": "demo/a..b"}, REPOSITORY),
    "repository without owner": ({"repository": "greeter"}, REPOSITORY),
    "blank requirements": (
        {"requirements": " \n\t"},
        'spec.requirements: Invalid value: " \\n\\t": it is blank, say what is to be done',
    ),
    "unknown type": ({"type": "refactoring"}, 'spec.type: Unsupported value: "refactoring": supported'),
    "project": ({"project": "My_Team"}, f'spec.project: Invalid value: "My_Team": {LABEL}'),
    "branch with ..": ({"branch": "a..b"}, f'spec.branch: Invalid value: "a..b": {GIT_REF}'),
    "branch with leading dash": ({"branch": "-f"}, GIT_REF),
    "branch with a dash after a slash": ({"branch": "a/-f"}, GIT_REF),
    "branch with leading dot": ({"branch": ".a"}, GIT_REF),
    "branch ends in a dot": ({"branch": "a."}, GIT_REF),
    "branch ends in .lock": ({"branch": "a.lock"}, GIT_REF),
    "branch with .lock inside": ({"branch": "a.lock/b"}, GIT_REF),
    "branch with @{": ({"branch": "a@{1}"}, GIT_REF),
    "branch with colon": ({"branch": "a:b"}, GIT_REF),
    "branch with //": ({"branch": "a//b"}, GIT_REF),
    "branch with space": ({"branch": "a b"}, GIT_REF),
    "empty branch": ({"branch": ""}, f'spec.branch: Invalid value: "": {GIT_REF}'),
    "dependency twice": (
        {"dependencies": [{"name": "a"}, {"name": "a", "when": "Failed"}]},
        "spec.dependencies[1]: Duplicate value:",
    ),
    "dependency with a bad name": (
        {"dependencies": [{"name": "A"}]},
        f'spec.dependencies[0].name: Invalid value: "A": {LABEL}',
    ),
    "when": (
        {"dependencies": [{"name": "a", "when": "Done"}]},
        'spec.dependencies[0].when: Unsupported value: "Done": supported values: "Succeeded",',
    ),
    "51 dependencies": (
        {"dependencies": [{"name": f"s{n}"} for n in range(51)]},
        "spec.dependencies: Too many: 51: must have at most 50 items",
    ),
    "priority": (
        {"priority": 1001},
        "spec.priority: Invalid value: 1001: spec.priority in body should be less than or equal to 1000",
    ),
    "timeoutSeconds": (
        {"timeoutSeconds": 9},
        "spec.timeoutSeconds in body should be greater than or equal to 10",
    ),
    "startDeadlineSeconds": (
        {"startDeadlineSeconds": 86_401},
        "spec.startDeadlineSeconds in body should be less than or equal to 86400",
    ),
    "ttlSecondsAfterFinished": (
        {"ttlSecondsAfterFinished": -1},
        "spec.ttlSecondsAfterFinished in body should be greater than or equal to 0",
    ),
    "maxTurns": (
        {"limits": {"maxTurns": 0}},
        "spec.limits.maxTurns in body should be greater than or equal to 1",
    ),
    "maxCostUSD": (
        {"limits": {"maxCostUSD": 0}},
        "spec.limits.maxCostUSD: Invalid value: 0: must be at least 0.01",
    ),
    "retry.limit": ({"retry": {"limit": 11}}, "spec.retry.limit in body should be less than or equal to 10"),
    "retry.on a success": (
        {"retry": {"on": ["Completed"]}},
        'spec.retry.on[0]: Unsupported value: "Completed"',
    ),
    "model": ({"model": "two words"}, f'spec.model: Invalid value: "two words": {MODEL}'),
    "tool": (
        {"tools": ["--allow"]},
        'spec.tools[0]: Invalid value: "--allow": the name of a tool begins with a letter',
    ),
    "MCP server name": (
        {"mcpServers": [{"name": "a b", "command": "x"}]},
        'spec.mcpServers[0].name: Invalid value: "a b": use letters, digits, _ and -',
    ),
    "MCP server twice": (
        {"mcpServers": [{"name": "a", "command": "x"}, {"name": "a", "command": "y"}]},
        "spec.mcpServers[1]: Duplicate value",
    ),
    "MCP server without a way": (
        {"mcpServers": [{"name": "a"}]},
        "spec.mcpServers[0]: Invalid value: give exactly one of command and url",
    ),
    "MCP server with two ways": (
        {"mcpServers": [{"name": "a", "command": "x", "url": "https://x"}]},
        "spec.mcpServers[0]: Invalid value: give exactly one of command and url",
    ),
    "MCP URL with args": (
        {"mcpServers": [{"name": "a", "url": "https://x", "args": ["y"]}]},
        "spec.mcpServers[0]: Invalid value: args and env belong to command: remove them or url",
    ),
    "MCP URL": (
        {"mcpServers": [{"name": "a", "url": "file:///etc/passwd"}]},
        'spec.mcpServers[0].url: Invalid value: "file:///etc/passwd": begin with https:// or http',
    ),
    "publish to the base": (
        {"branch": "main", "publish": {"branch": "main"}},
        "spec.publish.branch: Invalid value: publish.branch must differ from branch: a session never",
    ),
    "publish.branch": (
        {"publish": {"branch": "a b"}},
        f'spec.publish.branch: Invalid value: "a b": {GIT_REF}',
    ),
    "pull request into itself": (
        {"publish": {"branch": "x", "pullRequest": {"base": "x"}}},
        "spec.publish: Invalid value: pullRequest.base must differ from branch",
    ),
    "artifact outside": (
        {"artifacts": ["../secret"]},
        'spec.artifacts[0]: Invalid value: "../secret": a glob relative to the repository\'s root',
    ),
    "artifact absolute": (
        {"artifacts": ["/etc/*"]},
        "a glob relative to the repository's root, without '..'",
    ),
    "notify.url": (
        {"notify": {"url": "ftp://x"}},
        'spec.notify.url: Invalid value: "ftp://x": begin with https://',
    ),
    "quantity": (
        {"pod": {"resources": {"limits": {"memory": "1 GB"}}}},
        f'spec.pod.resources.limits[memory]: Invalid value: "1 GB": {QUANTITY}',
    ),
    "toleration Equal without key": (
        {"pod": {"tolerations": [{"value": "x"}]}},
        "spec.pod.tolerations[0]: Invalid value: Equal needs a key, Exists takes no value",
    ),
    "toleration Exists with value": (
        {"pod": {"tolerations": [{"operator": "Exists", "key": "a", "value": "x"}]}},
        "Equal needs a key, Exists takes no value",
    ),
    "toleration effect": (
        {"pod": {"tolerations": [{"key": "a", "effect": "Never"}]}},
        'spec.pod.tolerations[0].effect: Unsupported value: "Never"',
    ),
    "tolerationSeconds": (
        {"pod": {"tolerations": [{"key": "a", "tolerationSeconds": 1}]}},
        "tolerationSeconds needs the effect NoExecute",
    ),
    "a string for a list": (
        {"tools": "Bash"},
        'spec.tools: Invalid value: "string": spec.tools in body must be of type array',
    ),
}


@pytest.mark.parametrize("case", REFUSED_SESSIONS)
def test_a_session_is_refused_with_words_that_help(witness: Witness, case: str) -> None:
    change, message = REFUSED_SESSIONS[case]
    with refused() as refusal:
        witness.create(session(**change))
    assert message in refusal.message


REFUSED_PROJECTS: dict[str, tuple[Object, str]] = {
    "no host": (
        {"repositoryHosts": []},
        "spec.repositoryHosts: Invalid value: 0: spec.repositoryHosts in body should have at least 1 items",
    ),
    "host with scheme": (
        {"repositoryHosts": [{"host": "https://github.com"}]},
        f'spec.repositoryHosts[0].host: Invalid value: "https://github.com": {HOST}',
    ),
    "host in upper case": ({"repositoryHosts": [{"host": "GitHub.com"}]}, HOST),
    "host twice": (
        {"repositoryHosts": [{"host": "a"}, {"host": "a"}]},
        "spec.repositoryHosts[1]: Duplicate value",
    ),
    "URL with credentials": (
        {"repositoryHosts": [{"host": "a", "url": "https://user:pw@a"}]},
        f'spec.repositoryHosts[0].url: Invalid value: "https://user:pw@a": {URL}',
    ),
    "upstream with query": (
        {"model": {"upstreamURL": "https://a/?x=1"}},
        f'spec.model.upstreamURL: Invalid value: "https://a/?x=1": {URL}',
    ),
    "default not allowed": (
        {"model": {"default": "a", "allowed": ["b"]}},
        "spec.model.default: Invalid value: default is not in allowed: add it there, or name another default",
    ),
    "model name": (
        {"model": {"allowed": ["two words"]}},
        f'spec.model.allowed[0]: Invalid value: "two words": {MODEL}',
    ),
    "price": (
        {"model": {"prices": [{"model": "a", "input": -1, "output": 1, "cacheRead": 1, "cacheWrite": 1}]}},
        "spec.model.prices[0].input in body should be greater than or equal to 0",
    ),
    "egress host with path": (
        {"egress": {"hosts": ["docs.example.com/simple"]}},
        f'spec.egress.hosts[0]: Invalid value: "docs.example.com/simple": {HOST}',
    ),
    "maximum": ({"pod": {"maxCpu": "lots"}}, f'spec.pod.maxCpu: Invalid value: "lots": {QUANTITY}'),
    "mention": (
        {"triggers": {"github": {"mention": "claude"}}},
        'spec.triggers.github.mention: Invalid value: "claude": write @ and a GitHub login',
    ),
    "default retry": (
        {"defaults": {"retry": {"on": ["Nonsense"]}}},
        'spec.defaults.retry.on[0]: Unsupported value: "Nonsense"',
    ),
}


@pytest.mark.parametrize("case", REFUSED_PROJECTS)
def test_a_project_is_refused_with_words_that_help(witness: Witness, case: str) -> None:
    change, message = REFUSED_PROJECTS[case]
    with refused() as refusal:
        witness.create(project(**change))
    assert message in refusal.message


@pytest.mark.parametrize("make", [session, project])
def test_a_name_is_a_label(witness: Witness, make: Any) -> None:
    witness.apply(make("a" * 63))
    with refused() as refusal:
        witness.apply(make("a" * 64))
    assert "metadata.name: Too long: may not be more than 63 bytes" in refusal.message
    with refused() as refusal:
        witness.apply(make("v1.2"))
    assert "metadata.name: Invalid value: the name of a Claude" in refusal.message
    assert "has no dots, because" in refusal.message


def test_a_session_does_not_refer_to_itself(witness: Witness) -> None:
    with refused() as refusal:
        witness.apply(session("ego", dependencies=[{"name": "alter"}, {"name": "ego"}]))
    assert "spec.dependencies: Invalid value: a session cannot depend on itself" in refusal.message
    with refused() as refusal:
        witness.apply(session("ego", resumeFrom="ego"))
    assert "spec.resumeFrom: Invalid value: a session cannot resume from itself" in refusal.message
    witness.apply(session("ego", dependencies=[{"name": "alter"}], resumeFrom="alter"))


def test_a_misspelled_field_is_named(plane: ControlPlane, witness: Witness) -> None:
    del witness  # the CRDs are there
    with pytest.raises(
        RuntimeError, match=r"spec\.requirement\b.*field not declared in schema|unknown field"
    ):
        plane.kubectl.apply([session(requirement="x")])


# ── What stays as it was ─────────────────────────────────────────────────────────────────────────

OTHER: Object = {
    "type": "analysis",
    "project": "other",
    "repository": "demo/other",
    "branch": "other",
    "requirements": "Something else.",
    "context": "Other.",
    "dependencies": [{"name": "first"}],
    "resumeFrom": "other",
    "timeoutSeconds": 61,
    "startDeadlineSeconds": 31,
    "retry": {"limit": 3},
    "model": "other",
    "systemPrompt": "Other.",
    "tools": ["Bash"],
    "mcpServers": [{"name": "local", "command": "other"}],
    "outputSchema": '{"type": "object"}',
    "publish": {"branch": "team/other"},
    "readOnly": True,
    "artifacts": ["other"],
    "notify": {"url": "https://other.example.com"},
    "pod": {"image": "other"},
}
IMMUTABLE = sorted({str(field.alias) for field in SessionSpec.model_fields.values()} - MUTABLE_FIELDS)
DEFAULTED_OR_REQUIRED = {
    "type",
    "project",
    "repository",
    "requirements",
    "timeoutSeconds",
    "startDeadlineSeconds",
    "readOnly",
}


@pytest.fixture(scope="module")
def full(witness: Witness) -> Object:
    written = session("full", **FULL)
    witness.apply(written)
    return written


@pytest.fixture(scope="module")
def bare(witness: Witness) -> Object:
    written = session("bare")
    witness.apply(written)
    return written


def _immutable(field: str) -> str:
    return f"spec: Invalid value: {field} is immutable: create another session"


@pytest.mark.parametrize("field", IMMUTABLE)
def test_a_field_cannot_be_changed(witness: Witness, full: Object, field: str) -> None:
    with refused() as refusal:
        witness.merge(full, {"spec": {field: OTHER[field]}})
    assert _immutable(field) in refusal.message


@pytest.mark.parametrize("field", sorted(set(IMMUTABLE) - DEFAULTED_OR_REQUIRED))
def test_an_optional_field_can_be_neither_added_nor_removed(
    witness: Witness, full: Object, bare: Object, field: str
) -> None:
    with refused() as refusal:
        witness.merge(bare, {"spec": {field: OTHER[field]}})
    assert _immutable(field) in refusal.message
    with refused() as refusal:
        witness.merge(full, {"spec": {field: None}})
    assert _immutable(field) in refusal.message


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": False},
        {"priority": 7},
        {"limits": {"maxTurns": 20}},
        {"limits": None},
        {"ttlSecondsAfterFinished": 60},
        {"ttlSecondsAfterFinished": None},
    ],
)
def test_the_knobs_can_be_turned_in_every_phase(witness: Witness, change: Object) -> None:
    written = session(**FULL)
    witness.apply(written)
    witness.merge(written, {"spec": change})
    witness.merge(written, {"status": {"phase": "Succeeded"}}, subresource="status")
    witness.merge(written, {"spec": change})


def test_cancel_is_a_one_way_street(witness: Witness) -> None:
    written = session()
    witness.apply(written)
    assert witness.merge(written, {"spec": {"cancel": True}})["spec"]["cancel"] is True
    for back in (False, None):  # null would bring the default back
        with refused() as refusal:
            witness.merge(written, {"spec": {"cancel": back}})
        assert "spec: Invalid value: cancel cannot be taken back: create another session" in refusal.message


@pytest.mark.parametrize("final", sorted(FINAL_PHASES))
def test_a_final_phase_is_final_whoever_writes(witness: Witness, final: Phase) -> None:
    written = session()
    witness.apply(written)
    witness.merge(written, {"status": {"phase": final.value}}, subresource="status")
    other = Phase.CANCELLED if final is not Phase.CANCELLED else Phase.FAILED
    for status in ({"phase": "Running"}, {"phase": other.value}, None):
        with refused() as refusal:
            witness.merge(written, {"status": status}, subresource="status")
        assert "status: Invalid value: a final phase never changes" in refusal.message
    # What does not touch the phase goes through, and the main resource cannot touch the status at all.
    witness.merge(written, {"status": {"result": {"branch": "x"}}}, subresource="status")
    assert witness.merge(written, {"status": {"phase": "Running"}})["status"]["phase"] == final.value


def test_an_unknown_phase_is_refused(witness: Witness, bare: Object) -> None:
    with refused() as refusal:
        witness.merge(bare, {"status": {"phase": "Done"}}, subresource="status")
    assert 'status.phase: Unsupported value: "Done"' in refusal.message


def test_a_reason_of_a_newer_operator_is_accepted(witness: Witness, bare: Object) -> None:
    attempt = {"number": 1, "job": "bare-1", "reason": "NotYetInvented"}
    witness.merge(bare, {"status": {"attempts": [attempt]}}, subresource="status")


# ── How it is found and shown ────────────────────────────────────────────────────────────────────


def test_sessions_are_selected_by_phase_and_project_even_if_nobody_wrote_their_status(
    witness: Witness,
) -> None:
    untouched, running, done = (
        session("untouched", project="sel"),
        session("running", project="sel"),
        session("done", project="sel"),
    )
    for written in (untouched, running, done):
        witness.apply(written)
    witness.merge(running, {"status": {"phase": "Running"}}, subresource="status")
    witness.merge(done, {"status": {"phase": "Failed"}}, subresource="status")

    def select(selector: str) -> set[str]:
        return witness.names(API_VERSION, "ClaudeSession", field_selector=f"spec.project=sel,{selector}")

    assert select("status.phase=Pending") == {"untouched"}
    assert select("status.phase=Failed") == {"done"}
    unfinished = ",".join(f"status.phase!={phase}" for phase in sorted(FINAL_PHASES))
    assert select(unfinished) == {"untouched", "running"}


def test_kubectl_get_shows_what_a_person_looks_for(plane: ControlPlane, witness: Witness) -> None:
    written = session("shown", type="testing")
    witness.apply(written)
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "AgentError",
        "message": "it gave up",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {
        "phase": "Failed",
        "conditions": [ready],
        "attempts": [{"number": 1, "job": "shown-1"}, {"number": 2, "job": "shown-2"}],
        "model": "claude-sonnet-5-5",
        "usage": {"costUSD": 0.123456, "turns": 7},
        "result": {"branch": "claude/shown"},
    }
    witness.merge(written, {"status": status}, subresource="status")
    header, row = plane.kubectl.run("get", "csess", "shown").splitlines()
    assert header.split() == ["NAME", "TYPE", "PHASE", "REASON", "BRANCH", "COST", "AGE"]
    assert row.split()[:-1] == ["shown", "testing", "Failed", "AgentError", "claude/shown", "0.123456"]
    header, row = plane.kubectl.run("get", "csess", "shown", "-o", "wide").splitlines()
    assert header.split()[7:] == ["PROJECT", "MODEL", "ATTEMPTS", "TURNS", "MESSAGE"]
    assert row.split()[7:] == ["default", "claude-sonnet-5-5", "2", "7", "it", "gave", "up"]
    witness.apply(project("shown", maxConcurrentSessions=3))
    header, row = plane.kubectl.run("get", "cproj", "shown").splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "MODEL", "CONCURRENT", "PAUSED", "AGE"]
    assert row.split()[:-1] == ["shown", "False", "Pending", "claude-sonnet-5-5", "3", "false"]
    both = plane.kubectl.run("get", "claude", "-o", "name")
    assert "claudesession.claude-operator.dev/shown" in both
    assert "claudeproject.claude-operator.dev/shown" in both


def test_kubectl_explain_documents_every_field_of_a_spec(plane: ControlPlane, witness: Witness) -> None:
    del witness  # the CRDs are there
    text = plane.kubectl.run("explain", "csess.spec")
    for field in SessionSpec.model_fields.values():
        name = str(field.alias)
        _, _, rest = text.partition(f"\n  {name}\t")
        words = rest.split("\n\n", 1)[0].split("\n", 1)
        assert len(words) == 2, f"{name} has no description"
    assert "The task; it reaches the prompt byte for byte." in text
    nested = plane.kubectl.run("explain", "csess.spec.dependencies.when")
    assert "How it must have ended." in nested
    assert "pydantic" not in text + nested
