"""What every way to a cluster can do; the demo and the tests know no more than this."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.cluster.images import Image
from tests.cluster.kubectl import Kubectl


@dataclass(frozen=True, slots=True)
class Component:
    """A line of `status`: something that can be up or down."""

    name: str
    healthy: bool
    pid: int | None = None
    log: Path | None = None


class Provider(Protocol):
    """One cluster. Constructing it makes nothing; `up` converges, `down` removes what `up` made."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of an administrator; there after `up`."""

    @property
    def kubectl(self) -> Kubectl:
        """A kubectl with that kubeconfig."""

    @property
    def host_address(self) -> str:
        """The address at which pods reach servers on this machine; servers for them bind to it."""

    def up(self) -> None:
        """Bring the cluster up, or what is missing of it, and return when a pod can be scheduled."""

    def down(self) -> None:
        """Remove all that was made, whatever state an interrupted `up` or `down` left it in."""

    def components(self) -> list[Component]:
        """What it consists of, and whether each part is healthy."""

    def provide(self, image: Image) -> str:
        """Build an image if need be, make it known to the nodes, and return the name that pods use."""
