"""One session from nothing to its branch: what the agent did, what the status says of it, what it cost."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.cluster.kubectl import KubectlError
from tests.e2e.callbacks import KEY, Callbacks, receiving
from tests.e2e.scripts import COMMIT, bash, pause, step, tokens, write
from tests.integration.controller.audit import Audit, Entry
from tests.stack.installation import SYSTEM_NAMESPACE
from tests.stack.tenant import credential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.e2e.session import Session
    from tests.stack.stack import Stack

CONTROLLER = "system:serviceaccount:claude-operator:claude-controller"
SUMMARY = "There is a NOTES.md now, and the greeting shouts."
STEPS = (
    step(
        write("NOTES.md", "Greetings are friendly.\n"),
        text="First a note.",
        usage=tokens(412, 168, cache_creation=9180),
    ),
    step(
        bash("sed -i 's/Hello, {name}!/HELLO, {name}!/' greetings.py && printf '\\033[2J\\033]0;owned\\007'"),
        text="Then the code.",
        usage=tokens(6, 121, cache_read=9180, cache_creation=702),
    ),
    step(pause(), bash(f"{COMMIT} 'Shout'"), text="I commit.", usage=tokens(6, 88, cache_read=9882)),
    step(text=SUMMARY, usage=tokens(7, 43, cache_read=9900)),
)
# Claude Sonnet 5.5: 2 dollars per million tokens in, 10 out, 0.10 read from and 2.50 written to the cache.
COST = round(
    ((412 + 6 + 6 + 7) * 2 + (168 + 121 + 88 + 43) * 10 + (9180 + 9882 + 9900) * 0.1 + (9180 + 702) * 2.5)
    / 1e6,
    6,
)


@pytest.fixture(scope="module")
def audit(stack: Stack) -> Audit:
    log = getattr(stack.cluster.provider, "audit_log", None)
    if log is None:
        pytest.skip("only the native cluster's audit log can be read")
    return Audit(log, CONTROLLER)


@pytest.fixture(scope="module")
def base(outside: OutsideView) -> str:
    return outside.branches()["main"]


@pytest.fixture(scope="module")
def callbacks(outside: OutsideView) -> Iterator[Callbacks]:
    with receiving(outside) as found:
        yield found


@pytest.fixture(scope="module")
def session(namespace: Namespace, base: str, callbacks: Callbacks) -> Session:
    """Applied and finished."""
    assert base
    namespace.apply_objects(credential("hook", hosts=callbacks.url, signingKey=KEY))
    notify = {"url": f"{callbacks.url}/done", "secretRef": {"name": "hook"}}
    applied = namespace.apply("first", *STEPS, text="Let the greeting shout.", notify=notify)
    applied.paused()
    applied.go_on()
    applied.until("Succeeded", "Completed")
    return applied


def test_the_agents_commit_arrives_at_the_git_server_on_a_branch_of_its_own(
    session: Session, outside: OutsideView, base: str
) -> None:
    commit = outside.branches()[session.branch]

    assert session.status["result"]["branch"] == session.branch
    assert session.status["result"]["commit"] == commit
    assert outside.git("log", "--format=%s", f"{base}..{commit}") == "Shout"
    assert outside.git("show", f"{commit}:NOTES.md") == "Greetings are friendly."
    assert "HELLO, {name}!" in outside.git("show", f"{commit}:greetings.py")


def test_the_base_branch_is_untouched(session: Session, outside: OutsideView, base: str) -> None:
    assert session.status["phase"] == "Succeeded"
    assert outside.branches()["main"] == base


def test_the_phases_come_in_order(session: Session) -> None:
    assert session.phases in (
        ["Pending", "Running", "Succeeded"],
        ["Pending", "Starting", "Running", "Succeeded"],  # it took more than ten seconds to start
    )
    assert {each["type"]: each["status"] for each in session.status["conditions"]} == {
        "Ready": "True",
        "Finished": "True",
        "Succeeded": "True",
    }


def test_running_is_said_while_the_agent_runs(session: Session) -> None:
    (running, *_) = (each.object for each in session.versions if each.object["status"]["phase"] == "Running")
    (attempt,) = running["status"]["attempts"]

    assert attempt["number"] == 1
    assert "completionTime" not in attempt
    assert "completionTime" not in running["status"]


def test_there_was_one_attempt_and_one_pod(session: Session) -> None:
    (attempt,) = session.status["attempts"]

    assert attempt["reason"] == "Completed"
    assert attempt["exitCode"] == 0
    assert attempt["pod"] == session.pod()
    assert session.status["startTime"] <= session.status["completionTime"]


def test_the_summary_is_the_agents_last_word(session: Session) -> None:
    assert session.status["result"]["summary"] == SUMMARY


def test_usage_is_what_the_model_sent_to_the_token(session: Session, outside: OutsideView) -> None:
    usage = session.status["usage"]
    sent = outside.sent(session.status["claudeSessionId"])

    assert usage["inputTokens"] == sent["input_tokens"] == 431
    assert usage["outputTokens"] == sent["output_tokens"] == 420
    assert usage["cacheReadInputTokens"] == sent["cache_read_input_tokens"] == 28962
    assert usage["cacheCreationInputTokens"] == sent["cache_creation_input_tokens"] == 9882
    assert usage["turns"] == sent["requests"] == 4
    assert usage["costUSD"] == COST
    assert not usage.get("estimated", False)


def test_who_waits_for_its_end_is_called_back(session: Session, callbacks: Callbacks) -> None:
    headers, told = callbacks.first()
    ended = told["session"]

    assert headers["X-Claude-Operator-Signature"].startswith("sha256=")
    assert (ended["id"], ended["status"], ended["summary"]) == (session.uid, "completed", SUMMARY)
    assert (ended["branch"], ended["commit"]) == (session.branch, session.status["result"]["commit"])
    assert ended["usage"] == session.status["usage"] | {"estimated": False}
    assert len(callbacks.calls) == 1


def test_kubectl_get_tells_the_essentials(session: Session) -> None:
    head, line = session.kubectl("get", "csess", session.name).splitlines()

    assert head.split() == ["NAME", "TYPE", "PHASE", "REASON", "BRANCH", "COST", "AGE"]
    assert re.fullmatch(
        rf"first +implementation +Succeeded +Completed +{session.branch} +{COST} +\d+m?\d*s?", line.strip()
    ), line


def test_kubectl_wait_returns(session: Session) -> None:
    told = session.kubectl("wait", "--for=condition=Finished", f"csess/{session.name}", "--timeout=5s")

    assert "condition met" in told


def test_the_log_is_for_people_and_obeyed_by_no_terminal(session: Session) -> None:
    log = session.logs()

    for expected in ("First a note.", "NOTES.md", "> Bash sed -i", SUMMARY, session.branch):
        assert expected in log
    # The agent's command printed a sequence that clears the screen: shown, not obeyed.
    assert r"\x1b[2J" in log
    control = {one for one in log if unicodedata.category(one) in {"Cc", "Cf"} and one != "\n"}
    assert not control


def test_it_cost_three_writes_and_no_reads(session: Session, audit: Audit) -> None:
    mine = [entry for entry in audit.entries() if _concerns(entry, session)]
    written = Counter(_what(entry) for entry in mine if entry["verb"] not in {"get", "list", "watch"})
    # Starting is written of a start that takes more than ten seconds, and only then.
    starting = int("Starting" in session.phases)
    assert not starting or session.seconds_to("Starting") >= 10

    assert written == {"create jobs": 1, "patch claudesessions/status": 2 + starting}
    assert [_what(entry) for entry in mine if entry["verb"] == "get"] == []


def _concerns(entry: Entry, session: Session) -> bool:
    reference = entry.get("objectRef", {})
    return bool(reference.get("namespace") == session.namespace and reference.get("resource") != "events")


def _what(entry: Entry) -> str:
    reference = entry["objectRef"]
    return f"{entry['verb']} {'/'.join(filter(None, (reference['resource'], reference.get('subresource'))))}"


def test_the_job_is_the_only_thing_that_was_made(session: Session) -> None:
    (job,) = session.jobs()
    (pod,) = session.pods()

    assert job["metadata"]["ownerReferences"][0]["uid"] == session.uid
    assert pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]


def test_all_pods_run_under_pod_security_restricted(session: Session, namespace: Namespace) -> None:
    kubectl = namespace.stack.cluster.kubectl
    for place in (namespace.name, SYSTEM_NAMESPACE):
        level = kubectl.run(
            *("get", "namespace", place, "-o"),
            r"jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}",
        )
        assert level == "restricted"
        # What such a namespace refuses, so that the label is known to mean something.
        with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
            kubectl.run("-n", place, "run", "plain", "--image=plain", "--dry-run=server")
        assert kubectl.run("-n", place, "get", "pods", "-o", "name").strip()
    assert session.status["phase"] == "Succeeded"
