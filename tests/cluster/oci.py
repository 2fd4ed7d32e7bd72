"""Images as files: the OCI layout that buildah writes, the archive that a container runtime reads.

A full archive of the session image is 400 MB, of which a code change alters a few hundred KB. Both ends store
blobs by digest, so an archive may leave out those that the receiver has: that turns ten seconds into less
than one.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cluster.files import write_atomically

_TAG = "org.opencontainers.image.ref.name"
_LAYOUT = b'{"imageLayoutVersion": "1.0.0"}'
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """This machine's architecture as images name it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI layout folder: blobs by digest, shared by all images in it."""

    directory: Path

    def manifest_digest(self, tag: str) -> str | None:
        """The digest of the image that has this tag here, if any."""
        try:
            index = json.loads((self.directory / "index.json").read_text())
        except FileNotFoundError:
            return None
        for manifest in index["manifests"]:
            if manifest.get("annotations", {}).get(_TAG) == tag:
                return str(manifest["digest"])
        return None

    def blobs(self, tag: str) -> list[str]:
        """The digests of everything that makes up an image: manifest, config, layers.

        Raises:
            KeyError: there is no such image here.
        """
        digest = self.manifest_digest(tag)
        if digest is None:
            raise KeyError(f"no image tagged {tag!r} in {self.directory}")
        manifest = json.loads(self.blob(digest).read_text())
        return [
            digest,
            manifest["config"]["digest"],
            *dict.fromkeys(layer["digest"] for layer in manifest["layers"]),
        ]

    def blob(self, digest: str) -> Path:
        """Where a blob is kept."""
        algorithm, _, name = digest.partition(":")
        return self.directory / "blobs" / algorithm / name

    def write_archive(
        self, tag: str, reference: str, output: IO[bytes], *, receiver_has: Collection[str] = ()
    ) -> None:
        """Write an image as an archive that names itself `reference`, without the blobs of `receiver_has`."""
        digests = self.blobs(tag)
        index = {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": _MANIFEST,
                    "digest": digests[0],
                    "size": self.blob(digests[0]).stat().st_size,
                    # containerd takes the name from here; the tag alone would lack the repository.
                    "annotations": {"io.containerd.image.name": reference},
                }
            ],
        }
        # A pipe can't seek: mode "w|".
        with tarfile.open(fileobj=output, mode="w|") as archive:
            _add(archive, "oci-layout", _LAYOUT)
            _add(archive, "index.json", json.dumps(index).encode())
            # Manifest and config are always sent: the receiver labels what they refer to when it reads them.
            for number, digest in enumerate(digests):
                if number < 2 or digest not in receiver_has:
                    archive.add(self.blob(digest), arcname="/".join(("blobs", *digest.split(":"))))

    def keep_latest(self, count: int, *, prefix: str) -> None:
        """Of the images whose tags begin so, forget all but the latest, and blobs that no image uses now."""
        index = self.directory / "index.json"
        content = json.loads(index.read_text())
        tags = [manifest["annotations"][_TAG] for manifest in content["manifests"]]
        # New images are appended.
        dropped = {tag for tag in tags if tag.startswith(prefix)} - set(
            [tag for tag in tags if tag.startswith(prefix)][-count:]
        )
        content["manifests"] = [
            manifest for manifest in content["manifests"] if manifest["annotations"][_TAG] not in dropped
        ]
        write_atomically(index, json.dumps(content))
        used = {digest for tag in tags if tag not in dropped for digest in self.blobs(tag)}
        for blob in (self.directory / "blobs" / "sha256").iterdir():
            if f"sha256:{blob.name}" not in used:
                blob.unlink()


def write_single_program_image(directory: Path, *, tag: str, program: Path, path: str) -> Layout:
    """Make a layout with one image that holds one static program: the pause image needs no builder."""
    layer_tar = io.BytesIO()
    with tarfile.open(fileobj=layer_tar, mode="w") as archive:
        _add(archive, path.lstrip("/"), program.read_bytes(), mode=0o755)
    layer = layer_tar.getvalue()
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": [path], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, json.dumps(config).encode()),
        "layers": [_descriptor(_LAYER, layer)],
    }
    layout = Layout(directory)
    content = json.dumps(manifest).encode()
    for blob in (layer, json.dumps(config).encode(), content):
        write_atomically(layout.blob(_digest(blob)), blob)
    entry = _descriptor(_MANIFEST, content)
    entry["annotations"] = {_TAG: tag}
    write_atomically(directory / "oci-layout", _LAYOUT)
    write_atomically(directory / "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return layout


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(content))
