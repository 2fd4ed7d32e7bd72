"""A service of the cluster, reached from this machine: `kubectl port-forward` in a loop.

A port-forward works with every kind of cluster. It ends when its pod goes, so a loop starts it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster.ports import choose
from tests.cluster.processes import Process
from tests.stack.installation import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.kubectl import Kubectl

_LOOP = 'while :; do "$@"; sleep 0.5; done'


@dataclass(frozen=True, slots=True)
class Forward:
    """One port of one service of the operator."""

    directory: Path
    name: str
    """Of its files and of its process."""
    service: str
    target_port: int

    @property
    def process(self) -> Process:
        """The loop."""
        return Process(f"{self.name}-access", self.directory)

    @property
    def port(self) -> int:
        """Where it is found on 127.0.0.1."""
        return int(self._port_file.read_text())

    @property
    def _port_file(self) -> Path:
        return self.directory / f"{self.name}-port"

    def up(self, kubectl: Kubectl) -> None:
        """Forward; one that stands is kept."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.process.alive:
            return
        port = choose([self.name])[self.name]
        self._port_file.write_text(str(port))
        forward = [str(kubectl.binary), "--kubeconfig", str(kubectl.kubeconfig), "-n", SYSTEM_NAMESPACE]
        forward += ["port-forward", "--address", "127.0.0.1", f"service/{self.service}"]
        self.process.start(
            ["/bin/sh", "-c", _LOOP, f"{self.name}-access", *forward, f"{port}:{self.target_port}"]
        )

    def down(self) -> None:
        """Stop forwarding."""
        self.process.stop()
