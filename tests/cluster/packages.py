"""The Debian packages of the native cluster, installed only where one is missing.

Each is asked for by the file that it provides: somebody who installed runc another way keeps it. A package
that brings a daemon must not start it: this harness runs its own containerd, and a second one started behind
the user's back would outlive `down`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.files import lock
from tests.cluster.places import cache_dir
from tests.cluster.progress import step

# Package -> a file (or a program in PATH) that shows that it is here.
NODE: Mapping[str, str] = {
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iproute2": "ip",
    "nftables": "nft",
    "runc": "runc",
    "util-linux": "nsenter",
}
IMAGES: Mapping[str, str] = {
    "buildah": "buildah",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "mmdebstrap": "mmdebstrap",
    "skopeo": "skopeo",
}

_POLICY = Path("/usr/sbin/policy-rc.d")
# Maintainer scripts ask this program whether they may start a service; 101 means no.
_DENY = "#!/bin/sh\nexit 101\n"


class PackagesMissingError(RuntimeError):
    """Packages are missing and can't be installed here."""


def missing(packages: Mapping[str, str]) -> list[str]:
    """The packages whose file or program is not here."""
    return [package for package, proof in packages.items() if not _present(proof)]


def ensure(packages: Mapping[str, str]) -> None:
    """Install what is missing, without starting anything.

    Raises:
        PackagesMissingError: no root or no apt-get, or apt-get failed; names the packages.
    """
    wanted = missing(packages)
    if not wanted:
        return
    names = " ".join(wanted)
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise PackagesMissingError(f"these Debian packages are needed: {names}. Install them, or run as root")
    with (
        lock(cache_dir() / "apt.lock", purpose="installing packages"),
        step(f"installing {names}"),
        _services_stay_down(),
    ):
        # Lists may be absent on a fresh image; trying without them first saves the download where they are
        # not.
        if _apt("install", *wanted).returncode != 0:
            _apt("update")
            installed = _apt("install", *wanted)
            if installed.returncode != 0:
                raise PackagesMissingError(f"apt-get install {names} failed:\n{installed.stderr[-4000:]}")
    if still := missing({package: packages[package] for package in wanted}):
        raise PackagesMissingError(f"installed, but not where they are expected: {', '.join(still)}")


def _present(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof) is not None


def _apt(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-y", "-q", "--no-install-recommends", verb, *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """Deny service starts for the block; a policy that the machine's owner set is left as it is."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_DENY)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
