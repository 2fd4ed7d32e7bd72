"""Deleting a running session stops it, voids its token and leaves nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.scripts import pause, step

if TYPE_CHECKING:
    from tests.e2e.namespace import Namespace
    from tests.e2e.session import Session

WAIT = (step(pause()), step(text="Never said."))
ASK = """
import json, os, ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cadata=os.environ["CLAUDE_GATEWAY_CA"])
request = urllib.request.Request(
    os.environ["CLAUDE_GATEWAY_URL"] + "/v1/session/inbox?after=0&wait=0",
    headers={"Authorization": "Bearer " + sys.stdin.read().strip()},
)
try:
    with urllib.request.urlopen(request, context=context) as answer:
        print(json.dumps({"status": answer.status}))
except urllib.error.HTTPError as error:
    print(json.dumps({"status": error.code, "body": error.read().decode()}))
"""
READ_TOKEN = "print(open('/var/run/secrets/claude-gateway/token').read())"


@pytest.fixture(scope="module")
def sessions(namespace: Namespace) -> dict[str, Session]:
    """Two that run."""
    found = {name: namespace.apply(name, *WAIT) for name in ("victim", "thief")}
    for session in found.values():
        session.paused()
    return found


def test_a_running_session_that_is_deleted_stops_and_its_token_is_void(
    sessions: dict[str, Session],
) -> None:
    victim, thief = sessions["victim"], sessions["thief"]
    token = victim.execute(READ_TOKEN)
    assert answer(thief, token)["status"] == 200, "a stolen token is good while its session lives"
    uid = victim.uid

    victim.kubectl("delete", "csess", victim.name, "--wait=true", "--timeout=20s")

    void: dict[str, object] = {}

    def refused() -> bool:
        void.update(answer(thief, token))
        return void["status"] in (401, 403)

    wait_until(refused, what="the token to be void", seconds=15, interval=0.2)
    wait_until(lambda: victim.pods() == [], what="the pod to go", seconds=40, interval=0.3)
    assert victim.jobs() == []
    assert victim.watch.deleted(uid)
    assert thief.status["phase"] == "Running"
    assert [note["phase"] for note in victim.notes("outcome")] == ["Deleted"]


def test_deleting_everything_leaves_nothing(sessions: dict[str, Session], namespace: Namespace) -> None:
    assert sessions
    namespace.kubectl("delete", "csess", "--all", "--wait=true", "--timeout=20s")

    left = ("get", "csess,jobs,pods,configmaps,leases,serviceaccounts,secrets", "-o", "name")
    # Kubernetes' own, and what an administrator has set up.
    expected = {
        "configmap/kube-root-ca.crt",
        "serviceaccount/default",
        "serviceaccount/claude-session",
        "secret/anthropic",
        "secret/git",
    }
    wait_until(
        lambda: set(namespace.kubectl(*left).split()) == expected,
        what=f"nothing but {sorted(expected)} to be left",
        seconds=60,
        interval=0.5,
    )


def answer(session: Session, token: str) -> dict[str, object]:
    """What the gateway says to this token, sent from a session's pod."""
    found: dict[str, object] = json.loads(session.execute(ASK, stdin=token))
    return found
