"""A cluster that the user names by kubeconfig: nothing is started, nothing is stopped.

Its nodes can't be handed images from here, and pods there may not reach this machine at all; so both are
asked of the user, by name, at the moment when they are needed.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.build import KUBERNETES
from tests.cluster.images import Image
from tests.cluster.kubectl import Kubectl
from tests.cluster.progress import step
from tests.cluster.provider import Component

HOST_ADDRESS_VARIABLE = "CLAUDE_OPERATOR_HOST_ADDRESS"


class NotGivenError(RuntimeError):
    """Something that only the user knows was not given; the message names the variable."""


@dataclass(frozen=True, slots=True)
class Existing:
    """Somebody else's cluster."""

    kubeconfig: Path

    @property
    def kubectl(self) -> Kubectl:
        """The user's own kubectl, else one built here."""
        installed = shutil.which("kubectl")
        return Kubectl(Path(installed) if installed else KUBERNETES.build() / "kubectl", self.kubeconfig)

    @property
    def host_address(self) -> str:
        """What the user says.

        Raises:
            NotGivenError: the user does not.
        """
        return _given(HOST_ADDRESS_VARIABLE, "the address at which the cluster's pods reach this machine")

    def up(self) -> None:
        """Check that the cluster answers.

        Raises:
            kubectl.KubectlError: it does not.
        """
        with step(f"asking the cluster of {self.kubeconfig}"):
            self.kubectl.run("get", "--raw", "/readyz", seconds=20)

    def down(self) -> None:
        """Nothing was made."""

    def components(self) -> list[Component]:
        """The cluster's nodes, as they say themselves."""
        return node_components(self.kubectl)

    def provide(self, image: Image) -> str:
        """The name under which the user has pushed the image.

        Raises:
            NotGivenError: the user does not say.
        """
        variable = f"CLAUDE_OPERATOR_{image.name.upper()}_IMAGE"
        return _given(variable, f"an image that the cluster can pull, built from {image.dockerfile}")


def node_components(kubectl: Kubectl) -> list[Component]:
    """One line per node: Ready or not."""
    template = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    listed = kubectl.run("get", "nodes", "-o", f"jsonpath={template}")
    lines = [line.partition(" ") for line in listed.splitlines()]
    return [Component(f"node {name}", status == "True") for name, _, status in lines]


def _given(variable: str, meaning: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise NotGivenError(f"set {variable}: {meaning}")
    return value
