"""kind, where Docker answers: the images are built with Docker and loaded onto the kind node."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.build import KUBERNETES
from tests.cluster.existing import node_components
from tests.cluster.files import write_json
from tests.cluster.images import Image
from tests.cluster.kubectl import Kubectl
from tests.cluster.progress import step
from tests.cluster.provider import Component


class KindError(RuntimeError):
    """kind or Docker failed; the message says with what words."""


def available() -> bool:
    """Whether a kind binary is here and a Docker daemon answers."""
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind cluster of this name, made by this harness."""

    name: str
    state: Path

    @property
    def kubeconfig(self) -> Path:
        """A file of our own: the user's ~/.kube/config stays as it is."""
        return self.state / "kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        """The user's own kubectl, else one built here."""
        installed = shutil.which("kubectl")
        return Kubectl(Path(installed) if installed else KUBERNETES.build() / "kubectl", self.kubeconfig)

    @property
    def host_address(self) -> str:
        """The gateway of kind's Docker network.

        Raises:
            KindError: the network has no IPv4 gateway.
        """
        network = json.loads(_run("docker", "network", "inspect", "kind"))[0]
        for config in network["IPAM"]["Config"]:
            gateway = str(config.get("Gateway", ""))
            if "." in gateway:
                return gateway
        raise KindError("Docker's network 'kind' has no IPv4 gateway")

    def up(self) -> None:
        """Create the cluster unless it was created before.

        Raises:
            KindError: kind failed, or a cluster of this name exists that was not made here.
        """
        exists = self.name in _run("kind", "get", "clusters").split()
        if exists and not self._record.exists():
            raise KindError(f"a kind cluster {self.name!r} exists and was not made here: choose another name")
        write_json(self._record, {"name": self.name})
        if exists and self._answers():
            return
        if exists:
            # Half made by an interrupted run; kind has no way to go on.
            _run("kind", "delete", "cluster", "--name", self.name)
        with step(f"creating kind cluster {self.name}"):
            _run(
                *("kind", "create", "cluster", "--name", self.name),
                *("--kubeconfig", str(self.kubeconfig), "--wait", "180s"),
            )

    def down(self) -> None:
        """Delete the cluster, if it was made here."""
        if self._record.exists():
            _run("kind", "delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))
            self._record.unlink()

    def components(self) -> list[Component]:
        """The cluster's nodes."""
        return node_components(self.kubectl)

    def provide(self, image: Image) -> str:
        """Build with Docker (whose cache makes an unchanged build quick) and load onto the node."""
        with image.snapshot() as context:
            reference = image.reference(image.tag(context))
            with step(f"building {reference}"):
                _run("docker", "build", "-t", reference, "-f", str(context / image.dockerfile), str(context))
        with step(f"loading {reference}"):
            # kind itself skips an image that the node has.
            _run("kind", "load", "docker-image", "--name", self.name, reference)
        return reference

    @property
    def _record(self) -> Path:
        return self.state / "kind.json"

    def _answers(self) -> bool:
        return self.kubeconfig.exists() and any(part.healthy for part in self.components())


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KindError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return done.stdout
