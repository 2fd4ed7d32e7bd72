"""The native provider: Kubernetes as processes of this machine, no Docker, no registry.

Control plane on the host, bound to the one address that host and node share; the node in namespaces of its
own (`sandbox`). Made, in this order, and all found again by name or record: a claim on addresses, the state
folder, the node's namespaces, a veth pair, a control group, processes. `down` goes the same way backwards,
and every step of both tolerates that it was done before: after an interrupt either of them can simply be
run again.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import addresses, buildah, link, nodeconfig, packages
from tests.cluster.addresses import AddressPlan
from tests.cluster.build import COREDNS, PAUSE, Binaries
from tests.cluster.cgroups import Cgroup
from tests.cluster.controlplane import ControlPlane, Options
from tests.cluster.images import Image
from tests.cluster.kubectl import Kubectl
from tests.cluster.node import Node
from tests.cluster.processes import Process
from tests.cluster.progress import step
from tests.cluster.provider import Component
from tests.cluster.sandbox import Sandbox

_VOLUMES = 20


class NotRootError(RuntimeError):
    """Namespaces, mounts and network devices need root."""


def ensure_parts() -> None:
    """Install and build, once, what every native cluster is made of.

    Raises:
        packages.PackagesMissingError: a Debian package is missing and can't be installed.
        build.GoMissingError: the programs are not cached and can't be built.
    """
    packages.ensure(packages.NODE)
    for program in (PAUSE, COREDNS):
        program.build()
    Binaries.for_control_plane()


@dataclass(frozen=True, slots=True)
class Native:
    """A native cluster, kept in `state`."""

    name: str
    state: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, written by the control plane."""
        return self._plane_directory / "kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        """The kubectl that was built with the cluster."""
        return Kubectl(Binaries.for_control_plane().kubernetes / "kubectl", self.kubeconfig)

    @property
    def host_address(self) -> str:
        """The host's end of the veth pair."""
        return self._plan().host

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, level Metadata."""
        return self._plane_directory / "audit.log"

    def up(self) -> None:
        """See `Provider`.

        Raises:
            NotRootError: not root.
            packages.PackagesMissingError: a Debian package is missing and can't be installed.
            build.GoMissingError: the programs are not cached and can't be built.
        """
        if os.geteuid() != 0:
            raise NotRootError("a native cluster makes namespaces and network devices: run as root")
        ensure_parts()
        plan = addresses.claim(self.state)
        sandbox = self._sandbox()
        with step("making the node's namespaces and network"):
            sandbox.up()
            link.up(plan, sandbox)
            Cgroup(plan.link).create()
        plane = ControlPlane.open(
            self._plane_directory, Options(address=plan.host, services=str(plan.services))
        )
        with step("starting the control plane"):
            plane.up()
        with step("starting the node"):
            self._apply_objects(plane, plan)
            Node(self._node_directory, self.name, plan, sandbox, plane, Cgroup(plan.link)).up()

    def down(self) -> None:
        """See `Provider`."""
        plan = addresses.claimed(self.state)
        # All of it is thrown away, so nothing is given time to end well.
        self._sandbox().down()
        for process in self._processes():
            process.kill()
        if plan is not None:
            link.down(plan)
            Cgroup(plan.link).remove()
        for folder in (self._node_directory, self._plane_directory):
            if folder.exists():
                shutil.rmtree(folder)
        if plan is not None:
            addresses.release(plan)

    def components(self) -> list[Component]:
        """Every process, by its record."""
        return [
            Component(
                process.name,
                process.alive,
                process.identity.pid if process.identity else None,
                process.log,
            )
            for process in self._processes()
        ]

    def provide(self, image: Image) -> str:
        """Build with buildah on a base made here, and import what the node lacks."""
        node = self._node()
        reference = image.reference(image.tag())
        if not node.has_image(reference):
            tag = buildah.build(image)
            reference = image.reference(tag)
            with step(f"loading {reference}"):
                node.import_image(buildah.layout(), tag, reference)
        return reference

    @property
    def _plane_directory(self) -> Path:
        return self.state / "control-plane"

    @property
    def _node_directory(self) -> Path:
        return self.state / "node"

    def _processes(self) -> list[Process]:
        """Everything that was started and not stopped, by its record."""
        return [
            Process(record.stem, folder)
            for folder in (self._plane_directory, self._node_directory)
            for record in sorted(folder.glob("*.pid"))
        ]

    def _plan(self) -> AddressPlan:
        plan = addresses.claimed(self.state)
        if plan is None:
            raise RuntimeError(f"cluster {self.name!r} is not up")
        return plan

    def _sandbox(self) -> Sandbox:
        return Sandbox(self._node_directory, PAUSE.build() / "pause")

    def _node(self) -> Node:
        plan = self._plan()
        options = Options(address=plan.host, services=str(plan.services))
        plane = ControlPlane.open(self._plane_directory, options)
        return Node(self._node_directory, self.name, plan, self._sandbox(), plane, Cgroup(plan.link))

    def _apply_objects(self, plane: ControlPlane, plan: AddressPlan) -> None:
        volumes = {f"volume-{number:02}": f"/var/lib/volumes/{number:02}" for number in range(_VOLUMES)}
        for path in volumes.values():
            inside = Path(path).relative_to("/var/lib")
            (self._node_directory / "lib" / inside).mkdir(parents=True, exist_ok=True)
        plane.kubectl.apply(
            [
                *nodeconfig.dns_objects(plan),
                *nodeconfig.storage_objects(node=self.name, volumes=volumes),
            ]
        )
