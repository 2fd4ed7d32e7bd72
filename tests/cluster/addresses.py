"""Which addresses a native cluster uses, so that several live side by side and none meets the machine's own.

Host and node are the two ends of one veth pair; the host has routes to the node's pods and services through
it. All is derived from one small number. A number is claimed by a file made with O_EXCL before anything
else is made, so an interrupted `up` can never leave two clusters believing that the same device is theirs.
"""

import ipaddress
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.places import cache_dir

Network = ipaddress.IPv4Network
_INDEXES = range(64)


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """Everything that has an address in cluster number `index`."""

    index: int

    @property
    def link(self) -> str:
        """The host's end of the veth pair; the node's end is its `eth0`."""
        return f"claude{self.index}"

    @property
    def node_link(self) -> Network:
        """The network of the pair itself."""
        return Network(f"10.243.{self.index}.0/30")

    @property
    def host(self) -> str:
        """The host, as node and pods see it; the API server listens here."""
        return str(self.node_link[1])

    @property
    def node(self) -> str:
        """The node's address."""
        return str(self.node_link[2])

    @property
    def pods(self) -> Network:
        """Addresses of pods."""
        return Network(f"10.244.{self.index}.0/24")

    @property
    def services(self) -> Network:
        """ClusterIPs."""
        return Network(f"10.245.{self.index}.0/24")

    @property
    def dns(self) -> str:
        """The cluster DNS service; the tenth address by custom."""
        return str(self.services[10])

    @property
    def networks(self) -> tuple[Network, ...]:
        """All of them."""
        return (self.node_link, self.pods, self.services)


def free_plans(taken: Iterable[Network]) -> Iterable[AddressPlan]:
    """The plans that overlap nothing that is taken."""
    occupied = list(taken)
    for plan in map(AddressPlan, _INDEXES):
        if not any(mine.overlaps(other) for mine in plan.networks for other in occupied):
            yield plan


def claim(owner: Path) -> AddressPlan:
    """Claim a free plan for the cluster whose state folder is `owner`; the same one when it has one.

    Raises:
        RuntimeError: all 64 are taken.
    """
    if plan := claimed(owner):
        return plan
    claims = cache_dir() / "networks"
    claims.mkdir(parents=True, exist_ok=True)
    for plan in free_plans(networks_of_this_machine()):
        try:
            with (claims / str(plan.index)).open("x") as file:
                file.write(str(owner))
        except FileExistsError:
            continue
        return plan
    raise RuntimeError(f"no free 10.243.x.0/30, 10.244.x.0/24, 10.245.x.0/24 (claims: {claims})")


def claimed(owner: Path) -> AddressPlan | None:
    """The plan that this cluster has claimed, if any."""
    claims = cache_dir() / "networks"
    if claims.is_dir():
        for file in claims.iterdir():
            if file.read_text() == str(owner):
                return AddressPlan(int(file.name))
    return None


def release(plan: AddressPlan) -> None:
    """Give the number back; last of all, when everything with these addresses is gone."""
    (cache_dir() / "networks" / str(plan.index)).unlink(missing_ok=True)


def networks_of_this_machine() -> list[Network]:
    """Every IPv4 network that has a route here; the default route is none."""
    listed = subprocess.run(
        ["ip", "-4", "-json", "route", "show", "table", "all"], capture_output=True, text=True, check=True
    )
    networks = []
    for route in json.loads(listed.stdout or "[]"):
        destination = route["dst"]
        if destination != "default" and route.get("type") not in {"broadcast", "multicast"}:
            networks.append(Network(destination, strict=False))
    return networks
