"""Image archives: complete, or without what the receiver has; old images make room."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster.oci import Layout, write_single_program_image


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF...")
    return write_single_program_image(tmp_path / "layout", tag="pause-1", program=program, path="/bin/run")


def members(layout: Layout, *, receiver_has: frozenset[str] = frozenset()) -> dict[str, bytes]:
    output = io.BytesIO()
    layout.write_archive("pause-1", "localhost/pause:1", output, receiver_has=receiver_has)
    with tarfile.open(fileobj=io.BytesIO(output.getvalue())) as archive:
        return {member.name: content.read() for member in archive if (content := archive.extractfile(member))}


def test_an_archive_holds_the_image_under_its_full_name(layout: Layout) -> None:
    files = members(layout)
    index = json.loads(files["index.json"])
    assert index["manifests"][0]["annotations"] == {"io.containerd.image.name": "localhost/pause:1"}
    blobs = layout.blobs("pause-1")
    assert set(files) == {"oci-layout", "index.json", *(f"blobs/{blob.replace(':', '/')}" for blob in blobs)}
    layer = files[f"blobs/{blobs[2].replace(':', '/')}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as content:
        assert [(entry.name, entry.mode) for entry in content] == [("bin/run", 0o755)]


def test_layers_that_the_receiver_has_are_left_out_but_never_the_manifest(layout: Layout) -> None:
    blobs = layout.blobs("pause-1")
    files = members(layout, receiver_has=frozenset(blobs))
    assert f"blobs/{blobs[0].replace(':', '/')}" in files
    assert f"blobs/{blobs[2].replace(':', '/')}" not in files


def test_only_the_latest_images_of_a_name_are_kept_with_their_blobs(layout: Layout) -> None:
    index = json.loads((layout.directory / "index.json").read_text())
    manifest = json.loads(layout.blob(layout.blobs("pause-1")[0]).read_text())
    for number in (2, 3):
        # Same layer, another manifest.
        content = json.dumps({**manifest, "annotations": {"build": str(number)}})
        digest = f"sha256:{number:064}"
        layout.blob(digest).write_text(content)
        name = {"org.opencontainers.image.ref.name": f"pause-{number}"}
        index["manifests"].append({"digest": digest, "annotations": name})
    (layout.directory / "index.json").write_text(json.dumps(index))
    first = layout.blobs("pause-1")

    layout.keep_latest(2, prefix="pause-")

    assert layout.manifest_digest("pause-1") is None
    assert not layout.blob(first[0]).exists()
    assert layout.blob(first[2]).exists(), "a layer that the others use was removed"
    assert layout.blobs("pause-3")[1:] == first[1:]
    layout.keep_latest(0, prefix="other-")
    assert layout.manifest_digest("pause-2")
