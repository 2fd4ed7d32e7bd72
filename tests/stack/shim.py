"""The shim, reached from this machine: a port-forward and a key."""

from __future__ import annotations

import secrets
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster.waiting import wait_until
from tests.stack.forward import Forward
from tests.stack.installation import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kubectl import Kubectl

SECRET_NAME = "claude-shim-keys"


@dataclass(frozen=True, slots=True)
class ShimAccess:
    """Everything that `curl` needs, as files in `directory`."""

    directory: Path

    @property
    def forward(self) -> Forward:
        """The way there."""
        return Forward(self.directory, "shim", "claude-shim", 80)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self.forward.port}"

    @property
    def secret_file(self) -> Path:
        """The key `default`; made when it is first asked for."""
        file = self.directory / "shim-secret"
        if not file.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32))
        return file

    def keys(self) -> dict[str, Any]:
        """The Secret with that key, as the shim reads it."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET_NAME, "namespace": SYSTEM_NAMESPACE},
            "stringData": {"default": self.secret_file.read_text()},
        }

    def up(self, kubectl: Kubectl) -> None:
        """Forward a port and wait for an answer."""
        self.forward.up(kubectl)
        wait_until(self._answers, what="the shim to answer", seconds=30, interval=0.1)

    def down(self) -> None:
        """Stop forwarding."""
        self.forward.down()

    def _answers(self) -> bool:
        # No proxy of the environment: this is the machine itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/readyz", timeout=2) as answer:
                answer.read()
        except OSError:
            return False
        return True
