"""Kubernetes, etcd, CoreDNS and the pause program, built from Go modules.

No release binaries are downloaded: the Go module proxy is the one source that every development machine and
CI runner with Go already uses, and go.sum pins every byte of it. The price is five minutes of compilation on
two cores, paid once: the result is kept under a key made of everything that determines it.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.files import digest, lock, published_folder
from tests.cluster.places import cache_dir
from tests.cluster.progress import say, step

KUBERNETES_VERSION = "1.36.3"
_SOURCES = Path(__file__).parent / "go"


class GoMissingError(RuntimeError):
    """Go is not installed, or a build with it failed."""


@dataclass(frozen=True, slots=True)
class Program:
    """One folder under `go/`, and the binaries that it makes: name to package."""

    folder: str
    packages: Mapping[str, str]
    ldflags: tuple[str, ...] = field(default=())

    @property
    def key(self) -> str:
        """A hash over everything that determines the binaries, the Go release excepted.

        A newer compiler makes equivalent programs; rebuilding for five minutes because of it would not
        make a test truer.
        """
        return digest([_SOURCES / self.folder], root=_SOURCES, salt=" ".join(self._flags))

    @property
    def cached(self) -> bool:
        """Whether the binaries are there."""
        return self._target.is_dir()

    @property
    def _target(self) -> Path:
        return cache_dir() / "bin" / f"{self.folder}-{self.key}"

    @property
    def _flags(self) -> tuple[str, ...]:
        # -buildvcs=false: the checkout's commit must not become part of the binary.
        return ("-trimpath", "-buildvcs=false", "-ldflags", " ".join(("-s", "-w", *self.ldflags)))

    def build(self) -> Path:
        """Return the folder that holds the binaries, building them first if they are not cached.

        Raises:
            GoMissingError: no Go here, or the compiler refused; its words are in the message.
        """
        target = self._target
        if self.cached:
            return target
        with lock(cache_dir() / "bin" / ".lock", purpose="building the cluster's programs"):
            # Whoever held the lock before may have built exactly this.
            if not target.is_dir():
                with published_folder(target) as draft:
                    for binary, package in self.packages.items():
                        self._compile(package, draft / binary)
        return target

    def _compile(self, package: str, output: Path) -> None:
        go = shutil.which("go")
        if go is None:
            raise GoMissingError("Go was not found in PATH: install Go 1.26 or newer to build the cluster")
        command = [go, "build", *self._flags, "-o", str(output), package]
        with step(f"building {output.name} (once; kept in {cache_dir()})"):
            built = subprocess.run(
                command,
                cwd=_SOURCES / self.folder,
                # GOWORK: a workspace file above the checkout would change the pinned versions.
                env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
                capture_output=True,
                text=True,
                check=False,
            )
            if built.returncode != 0:
                raise GoMissingError(f"{' '.join(command)} failed:\n{built.stderr[-4000:]}")


def _kubernetes_ldflags() -> tuple[str, ...]:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    stamp = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    return tuple(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())


KUBERNETES = Program(
    "kubernetes",
    {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        )
    },
    _kubernetes_ldflags(),
)
ETCD = Program("etcd", {"etcd": "go.etcd.io/etcd/server/v3"})
COREDNS = Program("coredns", {"coredns": "github.com/coredns/coredns"})
PAUSE = Program("pause", {"pause": "."})


@dataclass(frozen=True, slots=True)
class Binaries:
    """Folders of built programs, by what they are for."""

    kubernetes: Path
    etcd: Path

    @classmethod
    def for_control_plane(cls) -> "Binaries":
        """Build (or find) what a control plane needs."""
        if not KUBERNETES.cached:
            say(f"Kubernetes {KUBERNETES_VERSION} is built from source once: about 5 minutes on 2 cores")
        return cls(kubernetes=KUBERNETES.build(), etcd=ETCD.build() / "etcd")
