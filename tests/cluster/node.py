"""What runs on the native cluster's one node: containerd, kubelet, kube-proxy and the cluster's DNS server.

Each is a process of its own inside the sandbox, with its own log outside. The configuration that each gets
is in `nodeconfig`; here is what is started, in which order, and when it counts as ready.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import nodeconfig
from tests.cluster.addresses import AddressPlan
from tests.cluster.build import COREDNS, PAUSE
from tests.cluster.cgroups import Cgroup
from tests.cluster.controlplane import ControlPlane
from tests.cluster.files import write_atomically
from tests.cluster.kubectl import KubectlError
from tests.cluster.oci import Layout, write_single_program_image
from tests.cluster.processes import Process
from tests.cluster.sandbox import Sandbox
from tests.cluster.waiting import wait_until

_SOCKET = "/run/containerd/containerd.sock"
PROCESSES = ("containerd", "kubelet", "kube-proxy", "coredns")


@dataclass(frozen=True, slots=True)
class Node:
    """The node of one native cluster."""

    directory: Path
    name: str
    plan: AddressPlan
    sandbox: Sandbox
    plane: ControlPlane
    cgroup: Cgroup

    def process(self, name: str) -> Process:
        """One of `PROCESSES`."""
        return Process(name, self.directory)

    def up(self) -> None:
        """Start what does not run, and wait until the node is Ready.

        Raises:
            RuntimeError: a component died; its last words are in the message.
            TimeoutError: it was not ready in time.
        """
        self._start_containerd()
        self.import_image(self._pause_image(), "1", nodeconfig.PAUSE_REFERENCE)
        self._start("kubelet", self._kubelet())
        self._start("kube-proxy", self._kube_proxy())
        self._start("coredns", self._coredns())
        wait_until(
            self._ready,
            what=f"node {self.name} to be Ready (log: {self.process('kubelet').log})",
            seconds=60,
            interval=0.2,
            fails=self.death,
        )

    def death(self) -> str | None:
        """Which process ended, with its last words."""
        for name in PROCESSES:
            process = self.process(name)
            if process.identity is not None and not process.alive:
                return f"{name} ended:\n{process.tail()}"
        return None

    def has_image(self, reference: str) -> bool:
        """Whether containerd knows an image of this name."""
        return reference in self._ctr("images", "list", "--quiet").splitlines()

    def import_image(self, layout: Layout, tag: str, reference: str) -> None:
        """Hand an image to containerd, sending only the blobs that it lacks.

        Raises:
            RuntimeError: containerd refused; its words are in the message.
        """
        if self.has_image(reference):
            return
        present = frozenset(self._ctr("content", "list", "--quiet").split())
        command = self.sandbox.command(self._ctr_command("images", "import", "-"))
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as importer:
            assert importer.stdin is not None
            assert importer.stdout is not None
            try:
                with importer.stdin as pipe:
                    layout.write_archive(tag, reference, pipe, receiver_has=present)
            except BrokenPipeError:
                # It died while reading; why is in its output, below.
                pass
            output = importer.stdout.read().decode(errors="replace")
        if importer.returncode != 0:
            raise RuntimeError(f"containerd did not take {reference}:\n{output[-2000:]}")

    def _ctr_command(self, *arguments: str) -> list[str]:
        return ["ctr", f"--address={_SOCKET}", "--namespace=k8s.io", *arguments]

    def _ctr(self, *arguments: str) -> str:
        return self.sandbox.run(*self._ctr_command(*arguments))

    def _start(self, name: str, command: list[str | Path]) -> None:
        self.process(name).start(self.sandbox.command(command))

    def _start_containerd(self) -> None:
        config = self._write("containerd.toml", nodeconfig.containerd(cni=self.directory / "cni"))
        self._write("cni/10-node.conflist", json.dumps(nodeconfig.cni(self.plan)))
        self._start("containerd", ["containerd", f"--config={config}"])

        def answers() -> bool:
            try:
                self._ctr("version")
            except RuntimeError:
                return False
            return True

        wait_until(
            answers,
            what=f"containerd (log: {self.process('containerd').log})",
            seconds=20,
            interval=0.1,
            fails=self.death,
        )

    def _kubelet(self) -> list[str | Path]:
        sign = self.plane.authority
        server = sign.server("kubelet", hosts=[self.name, self.plan.node])
        kubeconfig = self.plane.client_kubeconfig(
            "kubelet-client", user=f"system:node:{self.name}", groups=["system:nodes"]
        )
        resolv = self._write("resolv.conf", f"nameserver {self.plan.node}\n")
        config = nodeconfig.kubelet(
            plan=self.plan,
            cgroup=self.cgroup.name,
            client_ca=sign.cert,
            serving=server,
            resolv=resolv,
            socket=_SOCKET,
        )
        return [
            self.plane.binaries.kubernetes / "kubelet",
            f"--config={self._write_json('kubelet.json', config)}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.plan.node}",
        ]

    def _kube_proxy(self) -> list[str | Path]:
        kubeconfig = self.plane.client_kubeconfig("kube-proxy-client", user="system:kube-proxy")
        config = nodeconfig.kube_proxy(plan=self.plan, node=self.name, kubeconfig=kubeconfig)
        return [
            self.plane.binaries.kubernetes / "kube-proxy",
            f"--config={self._write_json('kube-proxy.json', config)}",
        ]

    def _coredns(self) -> list[str | Path]:
        kubeconfig = self.plane.client_kubeconfig("coredns-client", user="system:coredns")
        corefile = self._write("Corefile", nodeconfig.corefile(plan=self.plan, kubeconfig=kubeconfig))
        return [COREDNS.build() / "coredns", "-conf", corefile]

    def _ready(self) -> bool:
        try:
            status = self.plane.kubectl.run(
                *("get", "node", self.name, "-o"),
                'jsonpath={.status.conditions[?(@.type=="Ready")].status}',
            )
        except KubectlError:
            # The kubelet has not registered it yet.
            return False
        return status == "True"

    def _pause_image(self) -> Layout:
        return write_single_program_image(
            self.directory / "pause-image", tag="1", program=PAUSE.build() / "pause", path="/pause"
        )

    def _write(self, name: str, content: str) -> Path:
        path = self.directory / name
        write_atomically(path, content)
        return path

    def _write_json(self, name: str, value: Mapping[str, object]) -> Path:
        return self._write(name, json.dumps(value, indent=2))
