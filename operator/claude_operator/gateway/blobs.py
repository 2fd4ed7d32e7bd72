"""Blobs: transcripts, bundles and artifacts, by digest within their session, in chunks of at most 1 MiB.

They live in the database, so one backup and one volume hold everything and a checkpoint replaces the last
one in one transaction. A chunk that is sent again overwrites itself; a blob counts as there once its
digest has been checked. What nothing refers to is dropped with the next checkpoint.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select, update

from claude_operator.gateway.clock import stamp
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.journal import QUOTA_BYTES, RESERVE_BYTES
from claude_operator.gateway.store import tables
from claude_operator.wire.message import MAX_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from sqlalchemy import Connection

    from claude_operator.gateway.store.database import Store
    from claude_operator.wire.message import BlobRef

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOST_CHUNKS: Final = QUOTA_BYTES // 1024
"""Chunks may be smaller than 1 MiB, but not so small that their rows become the load."""


def put_chunk(connection: Connection, session_uid: str, sha256: str, number: int, data: bytes) -> None:
    """Keep one chunk.

    Raises:
        Refusal: 413, the chunk or the session's share is too large.
    """
    if len(data) > MAX_CHUNK_BYTES or number >= _MOST_CHUNKS:
        raise Refusal(
            413,
            "TooLarge",
            f"a chunk has at most {MAX_CHUNK_BYTES} bytes, a blob at most {_MOST_CHUNKS} chunks",
        )
    blobs, chunks, sessions = tables.blobs, tables.chunks, tables.sessions
    mine = (blobs.c.session_uid == session_uid, blobs.c.sha256 == sha256)
    blob = connection.execute(select(blobs.c.complete).where(*mine)).one_or_none()
    if blob is not None and blob.complete:
        return  # its digest was checked: nothing can be better
    one = (
        chunks.c.session_uid == session_uid,
        chunks.c.sha256 == sha256,
        chunks.c.number == number,
    )
    before = connection.execute(select(func.length(chunks.c.data)).where(*one)).scalar() or 0
    stored: int = connection.execute(
        select(sessions.c.stored_bytes).where(sessions.c.uid == session_uid)
    ).scalar_one()
    if stored + len(data) - before > QUOTA_BYTES - RESERVE_BYTES:
        raise Refusal(
            413, "QuotaExceeded", f"a session's events and files may have {QUOTA_BYTES} bytes in all"
        )
    if blob is None:
        connection.execute(
            insert(blobs).values(
                session_uid=session_uid, sha256=sha256, size=0, complete=False, touched_at=stamp()
            )
        )
    connection.execute(delete(chunks).where(*one))
    connection.execute(
        insert(chunks).values(session_uid=session_uid, sha256=sha256, number=number, data=data)
    )
    connection.execute(
        update(sessions).where(sessions.c.uid == session_uid).values(stored_bytes=stored + len(data) - before)
    )


def require_whole(connection: Connection, session_uid: str, blob: BlobRef) -> None:
    """Raise Refusal (409) unless every byte of a blob is here."""
    blobs, chunks = tables.blobs, tables.chunks
    mine = (blobs.c.session_uid == session_uid, blobs.c.sha256 == blob.sha256)
    row = connection.execute(select(blobs.c.complete, blobs.c.size).where(*mine)).one_or_none()
    if row is not None and row.complete and row.size == blob.size:
        return
    digest, size, expected = hashlib.sha256(), 0, 0
    for number, data in connection.execute(
        select(chunks.c.number, chunks.c.data)
        .where(chunks.c.session_uid == session_uid, chunks.c.sha256 == blob.sha256)
        .order_by(chunks.c.number)
    ):
        if number != expected:
            break
        digest.update(data)
        size += len(data)
        expected += 1
    if size != blob.size or digest.hexdigest() != blob.sha256:
        raise Refusal(
            409,
            "BlobIncomplete",
            f"blob {blob.sha256[:12]}: {size} of {blob.size} bytes are here in {expected} chunks from 0 on, "
            "or the digest differs: send its chunks again",
        )
    if blob.size == 0 and row is None:
        connection.execute(
            insert(blobs).values(
                session_uid=session_uid, sha256=blob.sha256, size=0, complete=True, touched_at=stamp()
            )
        )
    connection.execute(update(blobs).where(*mine).values(complete=True, size=size))


def drop_unused(connection: Connection, session_uid: str, used: Collection[str]) -> None:
    """Drop the whole blobs of a session that are not in `used`; those still being sent stay."""
    blobs, chunks, sessions = tables.blobs, tables.chunks, tables.sessions
    rows = connection.execute(
        select(blobs.c.sha256, blobs.c.size).where(
            blobs.c.session_uid == session_uid, blobs.c.complete.is_(True), blobs.c.sha256.not_in(used)
        )
    ).all()
    for row in rows:
        connection.execute(
            delete(chunks).where(chunks.c.session_uid == session_uid, chunks.c.sha256 == row.sha256)
        )
        connection.execute(
            delete(blobs).where(blobs.c.session_uid == session_uid, blobs.c.sha256 == row.sha256)
        )
        connection.execute(
            update(sessions)
            .where(sessions.c.uid == session_uid)
            .values(stored_bytes=sessions.c.stored_bytes - row.size)
        )


async def content(store: Store, session_uid: str, sha256: str) -> AsyncIterator[bytes]:
    """The bytes of a blob, a chunk at a time: memory does not grow with its size."""
    chunks = tables.chunks
    number = 0
    while True:
        query = select(chunks.c.data).where(
            chunks.c.session_uid == session_uid, chunks.c.sha256 == sha256, chunks.c.number == number
        )
        data = await store.read(lambda connection, query=query: connection.execute(query).scalar())  # type: ignore[misc]
        if data is None:
            return
        yield data
        number += 1
