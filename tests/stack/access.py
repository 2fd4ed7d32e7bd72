"""The gateway's internal port, reached from this machine: a port-forward, a CA, a token.

The gateway's certificate names 127.0.0.1.
"""

from __future__ import annotations

import json
import ssl
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_operator.resources.identity import GATEWAY_INTERNAL_AUDIENCE
from claude_operator.wire.internal import RecordedEvent, SessionRecord
from tests.cluster.waiting import wait_until
from tests.stack.forward import Forward
from tests.stack.installation import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.kubectl import Kubectl

_TOKEN_HOURS = 24


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """Everything that `curl` needs for the internal port, as files in `directory`."""

    directory: Path

    @property
    def forward(self) -> Forward:
        """The way there."""
        return Forward(self.directory, "gateway", "claude-gateway", 8444)

    @property
    def ca_file(self) -> Path:
        """The gateway's CA."""
        return self.directory / "gateway-ca.crt"

    @property
    def token_file(self) -> Path:
        """A token for the internal port, good for a day."""
        return self.directory / "gateway-token"

    @property
    def url(self) -> str:
        """`https://127.0.0.1:<port>`."""
        return f"https://127.0.0.1:{self.forward.port}"

    def up(self, kubectl: Kubectl) -> None:
        """Fetch CA and token and forward a port; an access that stands is kept."""
        self.directory.mkdir(parents=True, exist_ok=True)
        in_namespace = ("-n", SYSTEM_NAMESPACE)
        ca = kubectl.run(
            "get", "configmap", "claude-gateway-ca", *in_namespace, "-o", r"jsonpath={.data.ca\.crt}"
        )
        self.ca_file.write_text(ca)
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(
            kubectl.run(
                *("create", "token", "claude-admin", *in_namespace),
                *("--audience", GATEWAY_INTERNAL_AUDIENCE, "--duration", f"{_TOKEN_HOURS}h"),
            ).strip()
        )
        self.forward.up(kubectl)
        wait_until(self._answers, what="the gateway's internal port to answer", seconds=30, interval=0.1)

    def down(self) -> None:
        """Stop forwarding."""
        self.forward.down()

    def record(self, uid: str) -> SessionRecord:
        """The gateway's record of a session."""
        with self._open(f"/internal/v1/sessions/{uid}") as answer:
            return SessionRecord.model_validate_json(answer.read())

    def events(self, uid: str, *, after: int = 0, follow: bool = False) -> Iterator[RecordedEvent]:
        """The session's journal; with `follow` it ends when the session does."""
        with self._open(f"/internal/v1/sessions/{uid}/events?after={after}&follow={int(follow)}") as answer:
            for line in answer:
                if line.strip():
                    yield RecordedEvent.model_validate_json(line)

    @contextmanager
    def _open(self, path: str, *, seconds: float = 30) -> Iterator[Any]:
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"Bearer {self.token_file.read_text()}"}
        )
        opener = urllib.request.build_opener(
            # No proxy of the environment: this is the machine itself.
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.ca_file))),
        )
        with opener.open(request, timeout=seconds) as answer:
            yield answer

    def _answers(self) -> bool:
        try:
            with self._open("/readyz", seconds=2) as answer:
                answer.read()
        except OSError:
            return False
        return True


def as_json(text: str) -> dict[str, Any]:
    """An object that kubectl printed."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found
