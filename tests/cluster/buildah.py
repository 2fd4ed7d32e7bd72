"""Building the product's Dockerfiles without a daemon and without an image registry.

buildah runs the very Dockerfile that users give to Docker. The one thing that it would pull, Debian's base
image, is made here from Debian's own archive. All of buildah's storage is in the cache; its layers make an
unchanged step free, and the result goes into one OCI layout where images share their blobs.
"""

import os
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from tests.cluster import packages
from tests.cluster.files import lock
from tests.cluster.images import Image
from tests.cluster.oci import Layout
from tests.cluster.places import cache_dir
from tests.cluster.progress import step

DEBIAN = "trixie"
# The name under which the Dockerfile's `FROM debian:trixie-slim` is found.
_BASE = f"docker.io/library/debian:{DEBIAN}-slim"
# As in the image of that name which Docker would pull: no documentation, no caches of apt's.
_BASE_OPTIONS = (
    "--variant=minbase",
    '--aptopt=Dir::Cache::pkgcache "";',
    '--aptopt=Dir::Cache::srcpkgcache "";',
    '--aptopt=APT::Update::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb || true";};',
    '--aptopt=DPkg::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb || true";};',
    *(
        f"--dpkgopt=path-exclude=/usr/share/{folder}/*"
        for folder in ("doc", "groff", "info", "linda", "lintian", "locale", "man")
    ),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)
_HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_CERTIFICATES_IN_BUILD = "/run/host-certificates.crt"


_OWN_VAR_LIB = 'mount -t tmpfs tmpfs /var/lib && exec "$@"'


class BuildError(RuntimeError):
    """An image could not be built; buildah's last words are in the message."""


def layout() -> Layout:
    """Where built images are kept."""
    return Layout(cache_dir() / "images" / "layout")


def build(image: Image) -> str:
    """Return the tag under which `layout()` holds the image as the code is now, building it if need be.

    Raises:
        packages.PackagesMissingError: buildah or mmdebstrap is missing and can't be installed.
        BuildError: the build failed.
    """
    tag = image.tag()
    if layout().manifest_digest(tag):
        return tag
    packages.ensure(packages.IMAGES)
    with lock(cache_dir() / "images" / ".lock", purpose="building images"), image.snapshot() as context:
        tag = image.tag(context)
        if layout().manifest_digest(tag) is None:
            _ensure_base()
            with step(f"building {image.reference(tag)}"):
                _bud(image, context, tag)
    return tag


def _bud(image: Image, context: Path, tag: str) -> None:
    certificates: list[str] = []
    if _HOST_CERTIFICATES.exists():
        # What this machine trusts (a company's proxy, say), for pip and npm during the build only.
        certificates = [
            f"--volume={_HOST_CERTIFICATES}:{_CERTIFICATES_IN_BUILD}:ro",
            f"--build-arg=PIP_CERT={_CERTIFICATES_IN_BUILD}",
            f"--build-arg=NODE_EXTRA_CA_CERTS={_CERTIFICATES_IN_BUILD}",
        ]
    # One name in buildah's own storage, whatever the tag: the build before becomes mere cache.
    name = f"{image.repository}:built"
    _buildah(
        "bud",
        "--layers",
        "--pull-never",
        # The others need more of the kernel than containers in containers get.
        "--isolation=chroot",
        *certificates,
        f"--build-arg=DEBIAN={DEBIAN}",
        f"--file={context / image.dockerfile}",
        f"--tag={name}",
        str(context),
    )
    # buildah's own push compresses every layer again each time. Uncompressed, a blob that the layout has is
    # known by its digest, and copied no more: 20 ms instead of 8 s.
    home = cache_dir() / "images"
    _private(
        [
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers"),
            f"containers-storage:[overlay@{home / 'storage'}+{home / 'run'}]{name}",
            f"oci:{layout().directory}:{tag}",
        ]
    )
    # The build before the last is worth its few hundred KB when a change is taken back; older ones are not.
    layout().keep_latest(2, prefix=f"{image.name}-")


def _ensure_base() -> None:
    known = f"localhost/claude-operator-base:{sha256(' '.join(_BASE_OPTIONS).encode()).hexdigest()[:16]}"
    if _buildah("images", "--quiet", "--filter", f"reference={known}"):
        return
    with (
        step(f"making the base image debian:{DEBIAN}-slim (once)"),
        tempfile.TemporaryDirectory(dir=cache_dir() / "images") as folder,
    ):
        _private(["mmdebstrap", "--quiet", *_BASE_OPTIONS, DEBIAN, f"{folder}/root.tar"])
        (Path(folder) / "Dockerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["bash"]\n')
        names = (f"--tag={name}" for name in (known, _BASE))
        _buildah("bud", "--pull-never", "--isolation=chroot", *names, folder)


def _buildah(*arguments: str) -> str:
    home = cache_dir() / "images"
    return _private(
        [
            "buildah",
            f"--root={home / 'storage'}",
            f"--runroot={home / 'run'}",
            "--storage-driver=overlay",
            *arguments,
        ]
    )


def _private(command: list[str]) -> str:
    """Run in a mount namespace of its own.

    buildah leaves its storage mounted when it ends, and both it and skopeo keep notes below /var/lib.

    Raises:
        BuildError: it failed.
    """
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", _OWN_VAR_LIB, "sh", *command],
        env={**os.environ, "TMPDIR": str(cache_dir() / "images")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()
