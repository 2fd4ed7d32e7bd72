"""The HTTP API as its clients use it: one URL, one key, JSON both ways."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster.waiting import wait_until
from tests.e2e import scripts
from tests.e2e.outside import REPOSITORY
from tests.e2e.session import START_SECONDS, Session

if TYPE_CHECKING:
    from tests.e2e.watch import SessionWatch
    from tests.stack.stack import Stack
    from tests.world.script import Step

Json = dict[str, Any]
NAMESPACE = "default"
"""Where the shim makes sessions."""
ENDED = {"completed", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class Api:
    """A client of the shim that runs in the stack."""

    stack: Stack
    watch: SessionWatch

    def ask(self, kind: str, **body: Any) -> Json:
        """POST; `data` of the answer, which must be a success.

        A port-forward breaks now and then and comes back; the key makes a repetition harmless.
        """
        request = urllib.request.Request(
            f"{self.stack.shim.url}/api/webhooks/claude",
            data=json.dumps({"type": kind, **body}).encode(),
            headers={
                "Authorization": f"Bearer {self.stack.shim.secret_file.read_text()}",
                "Content-Type": "application/json",
                "Idempotency-Key": secrets.token_hex(16),
            },
        )
        answers: list[Json] = []

        def answered() -> bool:
            try:
                answers.append(_send(request))
            except OSError:
                return False
            return True

        wait_until(answered, what="the shim to answer", seconds=15, interval=0.2)
        assert answers[0]["success"] is True, answers[0]
        data: Json = answers[0]["data"]
        return data

    def create(
        self,
        kind: str,
        script: str,
        *steps: Step,
        text: str = "Do it.",
        branch: str | None = None,
        **session: Any,
    ) -> str:
        """A session that starts by itself and whose model plays `steps`; its id."""
        project = {"repository": REPOSITORY, "requirements": scripts.prompt(text, script, steps)}
        if branch is not None:
            project["branch"] = branch
        body = {"type": kind, "project": project, **session}
        data = self.ask("session.create", session=body, options={"autoStart": True})
        return str(data["sessionId"])

    def get(self, session_id: str) -> Json:
        """The session object."""
        found: Json = self.ask("session.get", sessionId=session_id)["session"]
        return found

    def output(self, session_id: str) -> Json:
        """Everything that it has left."""
        found: Json = self.ask("session.output", sessionId=session_id)["output"]
        return found

    def ended(self, session_id: str, *, seconds: float = START_SECONDS) -> Json:
        """The session object, once it has ended."""
        found: list[Json] = []

        def over() -> bool:
            found.append(self.get(session_id))
            return found[-1]["status"] in ENDED

        wait_until(over, what=f"session {session_id} to end", seconds=seconds, interval=0.3)
        return found[-1]

    def completed(self, session_id: str, *, seconds: float = START_SECONDS) -> Json:
        """Likewise; it must have succeeded."""
        found = self.ended(session_id, seconds=seconds)
        assert found["status"] == "completed", f"{found}\n{self.resource(session_id).told()}"
        return found

    def resource(self, name: str) -> Session:
        """The custom resource of this name."""
        return Session(self.stack, self.watch, NAMESPACE, name)


def _send(request: urllib.request.Request) -> Json:
    # No proxy of the environment: this is the machine itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            told: Json = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error.code} {error.read().decode(errors='replace')}") from error
    return told
