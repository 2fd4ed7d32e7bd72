"""Reading what a pod sends, within bounds of bytes and of what they become when they are parsed.

JSON grows: 30 MB of `[],[],[],...` are 750 MB of Python objects, two such requests are the gateway's memory,
and the streams of every session end with it. What makes objects are brackets and commas, so they are counted
first, which costs a millisecond for ten megabytes. Text holds some too: a request of a million tokens has a
few hundred thousand.

And within bounds of time: a body that trickles would hold its place for ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from claude_operator.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY_SECONDS: Final = web.AppKey("body-seconds", float)
"""Of an application: how long a body may take to come, or, of one that is passed on, its next piece."""
MOST_VALUES: Final = 1_000_000
"""Brackets and commas; of the smallest objects that is about 100 MB."""
_GROWTH: Final = 64
"""Times its own size, at the most, that a message of ours has as objects: measured, of nested empty lists."""
_BYTES_OF_VALUE: Final = 160
"""Likewise by bracket or comma, of small objects: the bound on those is the lower one from 2.5 MB on."""

_BROKEN: Final = (ConnectionError, web.RequestPayloadError)
"""What reading a body raises when its sender has gone, or sends what is no body."""


async def read_body(request: web.Request, most: int) -> bytes:
    """The whole body.

    Raises:
        Refusal: 413, it has more than `most` bytes; no more than that is read. 408, it came too slowly.
            400, it broke off.
    """
    too_large = Refusal(413, "TooLarge", f"the request exceeds {most} bytes")
    if (request.content_length or 0) > most:
        raise too_large
    data = bytearray()
    seconds = request.app[BODY_SECONDS]
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                data += piece
                if len(data) > most:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, "TooSlow", f"the request's body did not come within {seconds:g} s") from None
    except _BROKEN:
        raise broken_off() from None
    return bytes(data)


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes, for passing on.

    Raises:
        Refusal: 408, the next piece came too slowly. 400, the body broke off.
    """
    seconds = request.app[BODY_SECONDS]
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await request.content.readany()
        except TimeoutError:
            raise Refusal(408, "TooSlow", f"nothing of the request's body came for {seconds:g} s") from None
        except _BROKEN:
            raise broken_off() from None
        if not piece:
            return
        yield piece


def broken_off() -> Refusal:
    """400: nobody may be there to read it, but an error of ours it is not."""
    return Refusal(400, "BadRequest", "the request's body broke off, or its framing is wrong")


def size_of(request: web.Request, most: int) -> int:
    """How many bytes the body can have: as announced, or the bound that it is read to."""
    announced = request.content_length
    return most if announced is None else min(announced, most)


def size_parsed(size: int) -> int:
    """What a message of ours with so many bytes can come to when it is parsed, itself included."""
    return size + min(size * _GROWTH, MOST_VALUES * _BYTES_OF_VALUE)


def require_parsable(data: bytes, most: int = MOST_VALUES) -> None:
    """Raise Refusal (413) when `data` would be parsed into too many objects."""
    if sum(data.count(mark) for mark in (b"[", b"{", b",")) > most:
        raise Refusal(
            413, "TooLarge", f"the request has more than {most} brackets and commas: send it in parts"
        )
