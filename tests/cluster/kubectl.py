"""kubectl, as everything above the control plane uses it: one binary, one kubeconfig, no ambient state."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import DIES_WITH_PARENT


class KubectlError(RuntimeError):
    """kubectl exited with an error; its words are in the message."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """`kubectl --kubeconfig ...`."""

    binary: Path
    kubeconfig: Path

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run it and return what it printed.

        Raises:
            KubectlError: it failed, or took longer than `seconds`.
        """
        # A kubectl that outlived an interrupted `up` could write to the cluster that `down` is removing.
        command = [*DIES_WITH_PARENT, str(self.binary), "--kubeconfig", str(self.kubeconfig), *arguments]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as expired:
            raise KubectlError(f"kubectl {' '.join(arguments)}: no answer in {seconds:g} s") from expired
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, objects: Sequence[Mapping[str, object]]) -> None:
        """Server-side apply of objects."""
        manifest = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run(
            "apply",
            "--server-side",
            "--field-manager=tests-cluster",
            "-f",
            "-",
            stdin=json.dumps(manifest),
        )
