"""One session, as a test handles it: wait for a phase, look at what it left, tell all when it is late."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster.kubectl import KubectlError
from tests.e2e.outside import OutsideView
from tests.stack.installation import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from claude_operator.wire.internal import RecordedEvent, SessionRecord
    from tests.e2e.watch import Object, SessionWatch, Version
    from tests.stack.stack import Stack

START_SECONDS = 60
"""For a pod and the CLI to start, while the machine does much else."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was applied."""

    stack: Stack
    watch: SessionWatch
    namespace: str
    name: str

    @property
    def object(self) -> Object:
        """As the watch last told it."""
        return self.versions[-1].object

    @property
    def status(self) -> Object:
        """Likewise."""
        status: Object = self.object["status"]
        return status

    @property
    def uid(self) -> str:
        """metadata.uid."""
        return str(self.object["metadata"]["uid"])

    @property
    def branch(self) -> str:
        """Where it publishes by default."""
        return f"claude/{self.name}-{self.uid[:5]}"

    @property
    def script(self) -> str:
        """The name of its script in the model's records."""
        return f"{self.namespace}.{self.name}"

    @property
    def versions(self) -> list[Version]:
        """All that the watch told of it."""
        return self.watch.versions((self.namespace, self.name))

    @property
    def phases(self) -> list[str]:
        """The phases that it went through, in order."""
        way: list[str] = []
        for version in self.versions:
            phase = version.object["status"]["phase"]
            if way[-1:] != [phase]:
                way.append(phase)
        return way

    @property
    def reason(self) -> str:
        """Why it stands where it stands."""
        return str(self.condition("Ready")["reason"])

    @property
    def message(self) -> str:
        """The text for people."""
        return str(self.condition("Ready").get("message", ""))

    def condition(self, kind: str) -> Object:
        """One of its conditions."""
        found: Object = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found

    def until(
        self, phase: str, reason: str = "", *, attempt: int = 0, seconds: float = START_SECONDS
    ) -> Object:
        """Wait for a phase, for this reason; the status then.

        A final phase that is another one ends the wait at once.
        """

        def there() -> bool:
            if not self.versions:
                return False
            begun = attempt == 0 or any(each["number"] == attempt for each in self.status.get("attempts", []))
            return begun and self.status["phase"] == phase and reason in {"", self.reason}

        def over() -> bool:
            return bool(self.versions) and self.condition_is("Finished", "True")

        self.watch.wait(lambda: there() or over(), seconds=seconds)
        assert there(), f"waited {seconds:g} s for {phase} {reason}\n{self.told()}"
        return self.status

    def condition_is(self, kind: str, value: str) -> bool:
        """Whether there is such a condition with this value."""
        return any(each["type"] == kind and each["status"] == value for each in self.status["conditions"])

    def seconds_to(self, phase: str, reason: str = "") -> float:
        """From the first that was seen of it to this phase, for this reason."""
        first, *_ = self.versions
        for version in self.versions:
            status = version.object["status"]
            ready = next(each for each in status["conditions"] if each["type"] == "Ready")
            if status["phase"] == phase and reason in {"", ready["reason"]}:
                return version.at - first.at
        raise AssertionError(f"never was {phase} {reason}\n{self.told()}")

    def change(self, **spec: Any) -> None:
        """Patch the spec, as a person does."""
        self.kubectl("patch", "csess", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl in its namespace."""
        return self.stack.cluster.kubectl.run("-n", self.namespace, *arguments, stdin=stdin, seconds=seconds)

    def pods(self) -> list[Object]:
        """Its pods."""
        items: list[Object] = self._items("pods")
        return items

    def jobs(self) -> list[Object]:
        """Its Jobs."""
        return self._items("jobs")

    def pod(self) -> str:
        """The name of its one pod."""
        (found,) = self.pods()
        return str(found["metadata"]["name"])

    def execute(self, program: str, stdin: str = "") -> str:
        """Run a Python program in its container."""
        return self.kubectl(
            *("exec", "-i", self.pod(), "-c", "session", "--", "/usr/bin/python3", "-c", program),
            stdin=stdin,
            seconds=180,
        )

    def logs(self) -> str:
        """What `kubectl logs` shows."""
        return self.kubectl("logs", self.pod(), "-c", "session")

    def record(self) -> SessionRecord:
        """The gateway's record of it."""
        return self.stack.gateway.record(self.uid)

    def journal(self) -> list[RecordedEvent]:
        """All of the gateway's journal of it."""
        return list(self.stack.gateway.events(self.uid))

    def notes(self, kind: str) -> list[dict[str, Any]]:
        """What the gateway itself put into the journal under this name."""
        return [event.data for event in self.journal() if event.type == f"gateway.{kind}"]

    def paused(self, *, seconds: float = START_SECONDS) -> None:
        """Wait until the agent is at its `scripts.pause`, and the session is said to run."""
        self.until("Running", seconds=seconds)
        program = (
            "import os, sys, time\n"
            f"end = time.monotonic() + {seconds}\n"
            "while not os.path.exists('/tmp/paused'):\n"
            "    time.monotonic() < end or sys.exit('it did not')\n"
            "    time.sleep(0.05)\n"
        )
        try:
            self.execute(program)
        except KubectlError as error:
            raise AssertionError(f"waited for the agent to pause: {error}\n{self.told()}") from error

    def go_on(self) -> None:
        """Let the agent go on from its pause."""
        self.execute("open('/tmp/go-on', 'w').close()")

    def told(self) -> str:
        """Everything that helps to see why a test failed."""
        parts = [f"session {self.namespace}/{self.name}", f"phases: {self.phases}"]
        if self.versions:
            parts.append(f"status: {json.dumps(self.status, indent=1)}")
        mine = ("-l", f"claude-operator.dev/session={self.name}")
        controller = ("-n", SYSTEM_NAMESPACE, "logs", "deployment/claude-controller", "--tail=15")
        for title, arguments in (
            ("pods", ("get", "pods", "-o", "wide", *mine)),
            ("log", ("logs", "--tail=40", *mine)),
            ("events", ("get", "events", "--sort-by=.lastTimestamp")),
            ("controller", controller),
        ):
            try:
                parts.append(f"{title}:\n{self.kubectl(*arguments)}")
            except KubectlError as error:
                parts.append(f"{title}: {error}")
        return "\n".join(parts)

    def _items(self, kind: str) -> list[Object]:
        listed = json.loads(
            self.kubectl("get", kind, "-o", "json", "-l", f"claude-operator.dev/session-uid={self.uid}")
        )
        items: list[Object] = listed["items"]
        return items

    @property
    def outside(self) -> OutsideView:
        """Model and git host."""
        return OutsideView(self.stack.outside.state)
