"""etcd and an API server, ready in about three seconds: cheap enough for every test session to own one.

Each component is a plain process with its own log. Everything is in one directory, so two control planes live
side by side; its ports are kept there once it was ready, so a restarted component is found where it was.
"""

import ipaddress
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import ports
from tests.cluster.build import Binaries
from tests.cluster.certs import Authority, KeyPair, write_kubeconfig
from tests.cluster.files import write_atomically, write_json
from tests.cluster.kubectl import Kubectl
from tests.cluster.probes import Probe
from tests.cluster.processes import Process
from tests.cluster.waiting import wait_until

READY_SECONDS = 60.0
_PORTS = ("etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_PORT_TRIES = 3
_TAKEN = "address already in use"
_RECORD = "ports.json"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    # One line per request, when it is answered: tests count writes in it.
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True, slots=True)
class Options:
    """How a control plane is laid out.

    Attributes:
        address: the one address that everything binds to and clients use.
        services: the CIDR of ClusterIPs; the first address is the API server's.
        controllers: with controller manager and scheduler. Without, nothing acts but the client under test,
            so the ServiceAccount admission is off too: nobody would create the accounts that it demands.
        apiserver_flags: appended to the API server's command line.
        dies_with_parent: see `Process.start`.
    """

    address: str = "127.0.0.1"
    services: str = "10.245.255.0/24"
    controllers: bool = True
    apiserver_flags: Sequence[str] = field(default=())
    dies_with_parent: bool = False


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane in `directory`; a context manager that stops it."""

    directory: Path
    options: Options
    binaries: Binaries
    authority: Authority
    ports: dict[str, int]

    @classmethod
    def start(
        cls, directory: Path, *, controllers: bool = True, apiserver_flags: Sequence[str] = ()
    ) -> "ControlPlane":
        """Start one on loopback for a test, and return when it is ready; it can't outlive the test's process.

        Raises:
            build.GoMissingError: its programs are not cached and can't be built.
            RuntimeError: a component died; its last words are in the message.
            TimeoutError: it was not ready within 60 s.
        """
        options = Options(controllers=controllers, apiserver_flags=apiserver_flags, dies_with_parent=True)
        plane = cls.open(directory, options)
        plane.up()
        return plane

    @classmethod
    def open(cls, directory: Path, options: Options) -> "ControlPlane":
        """Lay out a control plane, or find the one that is there, without starting it.

        Raises:
            build.GoMissingError: its programs are not cached and can't be built.
        """
        binaries = Binaries.for_control_plane()
        recorded = directory / _RECORD
        if recorded.exists():
            chosen: dict[str, int] = json.loads(recorded.read_text())
        else:
            chosen = ports.choose(_PORTS)
            write_json(recorded, chosen)
        return cls(directory, options, binaries, Authority.open(directory / "pki"), chosen)

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{self.options.address}:{self.ports['kube-apiserver']}"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of a cluster administrator."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Every request, one JSON line each, written when it was answered (level Metadata)."""
        return self.directory / "audit.log"

    @property
    def kubectl(self) -> Kubectl:
        """A kubectl of the administrator."""
        return Kubectl(self.binaries.kubernetes / "kubectl", self.kubeconfig)

    @property
    def processes(self) -> list[Process]:
        """In the order in which they start."""
        names = ["etcd", "kube-apiserver"]
        if self.options.controllers:
            names += ["kube-controller-manager", "kube-scheduler"]
        return [self.process(name) for name in names]

    def process(self, name: str) -> Process:
        """One component by its name; `kill` and `up` make a crash and its repair."""
        return Process(name, self.directory)

    def up(self) -> None:
        """Start what does not run and wait until all of it is ready.

        Raises:
            RuntimeError: a component died; its last words are in the message.
            TimeoutError: it was not ready within 60 s.
        """
        for _ in range(_PORT_TRIES - 1):
            try:
                return self._up()
            except RuntimeError:
                if not self._move():
                    raise
        return self._up()

    def _move(self) -> bool:
        """After a start that failed because somebody took a port: choose others, unless they are known."""
        if self._ready.exists() or not any(_TAKEN in process.tail() for process in self.processes):
            return False
        self.stop()
        for process in self.processes:
            process.log.unlink(missing_ok=True)
        self.ports.update(ports.choose(_PORTS))
        write_json(self.directory / _RECORD, self.ports)
        return True

    def _up(self) -> None:
        begun = time.monotonic()
        self._write_configuration()
        administrator = self.authority.client("admin", user="admin", groups=["system:masters"])
        write_kubeconfig(
            self.kubeconfig, server=self.url, authority=self.authority, client=administrator, name="admin"
        )
        self._start("etcd", self._etcd())
        # It retries until etcd answers: starting both at once is half a second faster.
        self._start("kube-apiserver", self._apiserver())
        self._wait(self.apiserver_probe(administrator), "kube-apiserver", begun)
        if self.options.controllers:
            self._start("kube-controller-manager", self._controller_manager())
            self._start("kube-scheduler", self._scheduler())
            for name in ("kube-controller-manager", "kube-scheduler"):
                self._wait(
                    Probe(self.options.address, self.ports[name], "/healthz", self.authority.cert),
                    name,
                    begun,
                )
        self._ready.touch()

    @property
    def _ready(self) -> Path:
        """There once it was ready: from then on others know its ports."""
        return self.directory / "ready"

    def stop(self) -> None:
        """Stop all of it; the directory stays, for its logs and for another `up`."""
        for process in reversed(self.processes):
            process.stop()

    def apiserver_probe(self, client: KeyPair) -> Probe:
        """Ready means: every post-start hook ran, so RBAC's default roles and the default namespace exist."""
        return Probe(
            self.options.address, self.ports["kube-apiserver"], "/readyz", self.authority.cert, client
        )

    def client_kubeconfig(self, name: str, *, user: str, groups: Sequence[str] = ()) -> Path:
        """Write a kubeconfig of another identity."""
        path = self.directory / f"{name}.kubeconfig"
        client = self.authority.client(name, user=user, groups=groups)
        write_kubeconfig(path, server=self.url, authority=self.authority, client=client, name=name)
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, name: str, command: Sequence[str | Path]) -> None:
        self.process(name).start(command, dies_with_parent=self.options.dies_with_parent)

    def _wait(self, probe: Probe, name: str, begun: float) -> None:
        def death() -> str | None:
            for process in self.processes:
                if process.identity is not None and not process.alive:
                    return f"{process.name} ended:\n{process.tail()}"
            return None

        wait_until(
            probe.healthy,
            what=f"{name} to be ready (log: {self.process(name).log})",
            seconds=READY_SECONDS - (time.monotonic() - begun),
            fails=death,
        )

    def _write_configuration(self) -> None:
        write_atomically(self.directory / "audit-policy.json", json.dumps(_AUDIT_POLICY))

    def _etcd(self) -> list[str | Path]:
        client = f"http://127.0.0.1:{self.ports['etcd']}"
        peer = f"http://127.0.0.1:{self.ports['etcd-peer']}"
        return [
            self.binaries.etcd,
            "--name=default",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # A test cluster need not survive a power cut, and CI disks are slow to sync.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str | Path]:
        sign = self.authority
        server = sign.server(
            "kube-apiserver",
            hosts=[
                self.options.address,
                "127.0.0.1",
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
                _first_address(self.options.services),
            ],
        )
        kubelet_client = sign.client(
            "kube-apiserver-kubelet-client", user="kube-apiserver-kubelet-client", groups=["system:masters"]
        )
        front_proxy = sign.client("front-proxy-client", user="front-proxy-client")
        tokens = sign.signing_key("service-accounts")
        return [
            self.binaries.kubernetes / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.ports['etcd']}",
            f"--bind-address={self.options.address}",
            f"--advertise-address={self.options.address}",
            f"--secure-port={self.ports['kube-apiserver']}",
            f"--tls-cert-file={server.cert}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={sign.cert}",
            f"--service-cluster-ip-range={self.options.services}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={tokens}",
            f"--service-account-signing-key-file={tokens}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            *([] if self.options.controllers else ["--disable-admission-plugins=ServiceAccount"]),
            "--allow-privileged=true",
            f"--kubelet-client-certificate={kubelet_client.cert}",
            f"--kubelet-client-key={kubelet_client.key}",
            # Else `kubectl logs` looks the node's name up in DNS, where nobody has entered it.
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={sign.cert}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={front_proxy.cert}",
            f"--proxy-client-key-file={front_proxy.key}",
            f"--audit-policy-file={self.directory / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            *self.options.apiserver_flags,
        ]

    def _controller_manager(self) -> list[str | Path]:
        return [
            self.binaries.kubernetes / "kube-controller-manager",
            *self._controller_flags("kube-controller-manager", qps=1000),
            # Each controller under its own account, as kubeadm does: an admission policy that lets only the
            # Job controller create pods can tell it from the others.
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.authority.signing_key('service-accounts')}",
            f"--root-ca-file={self.authority.cert}",
            # Minutes of grace before a lost node's pods are evicted are right for data centres, not here.
            "--node-monitor-grace-period=20s",
        ]

    def _scheduler(self) -> list[str | Path]:
        return [
            self.binaries.kubernetes / "kube-scheduler",
            *self._controller_flags("kube-scheduler", qps=1000),
        ]

    def _controller_flags(self, name: str, *, qps: int) -> list[str]:
        server = self.authority.server(name, hosts=[self.options.address])
        kubeconfig = self.client_kubeconfig(f"{name}-client", user=f"system:{name}")
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={self.options.address}",
            f"--secure-port={self.ports[name]}",
            f"--tls-cert-file={server.cert}",
            f"--tls-private-key-file={server.key}",
            # There is one of each: electing it would cost two seconds.
            "--leader-elect=false",
            # The default of 20 requests a second caps Jobs at five a second.
            f"--kube-api-qps={qps}",
            f"--kube-api-burst={qps * 2}",
        ]


def _first_address(cidr: str) -> str:
    """The `kubernetes` service's own address, which the API server gives itself."""
    return str(ipaddress.ip_network(cidr)[1])
