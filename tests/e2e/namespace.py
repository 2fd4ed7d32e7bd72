"""A namespace of its own for each test or group of sessions, under the strictest Pod Security level."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_operator.resources.identity import API_VERSION, SESSION_KIND
from tests.e2e import scripts
from tests.e2e.outside import REPOSITORY, OutsideView
from tests.e2e.session import Session
from tests.stack import tenant

if TYPE_CHECKING:
    from typing import Self

    from tests.e2e.watch import SessionWatch
    from tests.stack.stack import Stack
    from tests.world.script import Step


@dataclass(frozen=True, slots=True)
class Namespace:
    """Ready for sessions: credentials, and the project `default`."""

    stack: Stack
    watch: SessionWatch
    name: str

    @classmethod
    def make(cls, stack: Stack, watch: SessionWatch, topic: str) -> Self:
        """A new one; the stack may be an old one."""
        name = f"e2e-{topic}-{secrets.token_hex(2)}"
        stack.prepare(name)
        made = cls(stack, watch, name)
        made.stack.cluster.kubectl.run(
            "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"
        )
        return made

    @property
    def outside(self) -> OutsideView:
        """Model and git host."""
        return OutsideView(self.stack.outside.state)

    def apply(self, session: str, *steps: Step, text: str = "Do it.", **spec: Any) -> Session:
        """Apply a session whose model plays `steps`."""
        body = {
            "apiVersion": API_VERSION,
            "kind": SESSION_KIND,
            "metadata": {"name": session, "namespace": self.name},
            "spec": {
                "repository": REPOSITORY,
                "requirements": scripts.prompt(text, f"{self.name}.{session}", steps),
                **spec,
            },
        }
        self.apply_objects(body)
        return Session(self.stack, self.watch, self.name, session)

    def apply_objects(self, *objects: dict[str, Any]) -> None:
        """Server-side apply."""
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "--field-manager=e2e", "-f", "-", stdin=content)

    def project(self, project: str, *, ready: bool = True, **spec: Any) -> None:
        """Apply a further project; its hosts are the world's."""
        self.apply_objects(tenant.project(self.stack.outside.state, project, **spec))
        if ready:
            self.kubectl("wait", "--for=condition=Ready", "--timeout=30s", f"claudeproject/{project}")

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl in this namespace."""
        return self.stack.cluster.kubectl.run("-n", self.name, *arguments, stdin=stdin, seconds=seconds)

    def remove(self) -> None:
        """Let it go; nobody waits."""
        self.stack.cluster.kubectl.run("delete", "namespace", self.name, "--wait=false")
