"""Reading what a pod sends, within bounds of bytes and of what they become when they are parsed.

JSON grows: 30 MB of `[],[],[],...` are 750 MB of Python objects, two such requests are the gateway's memory,
and the streams of every session end with it. What makes objects are brackets and commas, so they are counted
first, which costs a millisecond for ten megabytes. Text holds some too: a request of a million tokens has a
few hundred thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claude_operator.gateway.errors import Refusal

if TYPE_CHECKING:
    from aiohttp import web

MOST_VALUES: Final = 1_000_000
"""Brackets and commas; of the smallest objects that is about 100 MB."""


async def read_body(request: web.Request, most: int) -> bytes:
    """The whole body.

    Raises:
        Refusal: 413, it has more than `most` bytes; no more than that is read.
    """
    too_large = Refusal(413, "TooLarge", f"the request exceeds {most} bytes")
    if (request.content_length or 0) > most:
        raise too_large
    data = bytearray()
    async for piece in request.content.iter_any():
        data += piece
        if len(data) > most:
            raise too_large
    return bytes(data)


def require_parsable(data: bytes) -> None:
    """Raise Refusal (413) when `data` would be parsed into too many objects."""
    if sum(data.count(mark) for mark in (b"[", b"{", b",")) > MOST_VALUES:
        raise Refusal(
            413, "TooLarge", f"the request has more than {MOST_VALUES} brackets and commas: send it in parts"
        )
