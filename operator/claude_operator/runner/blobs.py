"""Blobs to and from the gateway: in chunks, named by their digest.

A blob is always a private file of the runner that nobody writes to any more: its digest is in the
name under which its chunks are sent, so a file that grew in between would be refused at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError
from claude_operator.wire.message import MAX_CHUNK_BYTES, BlobRef

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.runner.gateway import Gateway


def describe(path: Path) -> BlobRef:
    """Digest and size of the file at `path`."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(MAX_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return BlobRef(sha256=digest.hexdigest(), size=size)


async def upload(gateway: Gateway, path: Path) -> BlobRef:
    """Send the file at `path`; an empty one is one empty chunk.

    Raises:
        RunError: the gateway refused it or was away for too long.
    """
    blob = await asyncio.to_thread(describe, path)
    with path.open("rb") as file:
        index = 0
        while (chunk := file.read(MAX_CHUNK_BYTES)) or index == 0:
            await gateway.put_chunk(blob.sha256, index, chunk)
            index += 1
    return blob


async def fetch(gateway: Gateway, blob: BlobRef, target: Path) -> None:
    """Write `blob` to `target`.

    Raises:
        RunError: the gateway refused, was away, or sent something else.
    """
    await gateway.download(blob.sha256, target)
    found = await asyncio.to_thread(describe, target)
    if found != blob:
        raise RunError(
            Reason.GATEWAY_UNAVAILABLE,
            f"blob {blob.sha256[:12]} arrived as {found.size} bytes of {found.sha256[:12]}, not {blob.size}",
        )
