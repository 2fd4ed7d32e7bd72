"""What every request passes before a dialect sees it: key, rate, body.

In this order: nobody without a key makes the server read a body.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from claude_operator.shim.core.errors import Kind, RefusedError

if TYPE_CHECKING:
    from claude_operator.shim.core.scope import Scope
    from claude_operator.shim.keys import Keyring
    from claude_operator.shim.ratelimit import RateLimiter
    from claude_operator.shim.settings import Settings

HEADERS: Final = "claude-operator.rate-limit"
"""Key in a request of the headers that its answer gets."""

HTTP_STATUS: Final = {
    Kind.INVALID: 400,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.INTERNAL: 500,
    Kind.UNAVAILABLE: 503,
}


class TurnedAwayError(Exception):
    """The request is not looked at; a dialect renders it in its own shape."""

    def __init__(self, status: int, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail
        """For people, where the message is fixed by a documented example."""


class Door:
    """Of one server."""

    def __init__(self, settings: Settings, keyring: Keyring, limiter: RateLimiter) -> None:
        self._settings = settings
        self._keyring = keyring
        self._limiter = limiter

    def admit(self, request: web.Request) -> Scope:
        """The client; counted against its limit.

        Raises:
            TurnedAwayError: 401 or 429.
        """
        scope = self._keyring.scope(request.headers.get("Authorization"))
        if scope is None:
            raise TurnedAwayError(401, "Unauthorized")
        allowance = self._limiter.take(scope.client, time.monotonic())
        if allowance is not None:
            request[HEADERS] = allowance.headers()
            if allowance.exceeded:
                raise TurnedAwayError(
                    429,
                    "Too many webhook requests",
                    detail=f"Too many requests with this key, please try again in {allowance.reset} s.",
                )
        return scope

    async def body(self, request: web.Request) -> bytes:
        """The request's body, whole.

        Raises:
            TurnedAwayError: 413, it is too large; 408, it came too slowly; 400, it can't be decompressed.
        """
        limit = self._settings.body_limit
        too_large = TurnedAwayError(413, f"Request body is too large: at most {limit} bytes are accepted")
        if request.content_length is not None and request.content_length > limit:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > limit:
                        raise too_large
                    chunks.append(chunk)
        except TimeoutError:
            raise TurnedAwayError(
                408, f"Request body did not arrive within {self._settings.body_seconds:g} s"
            ) from None
        except web.RequestPayloadError:
            raise TurnedAwayError(
                400, "Request body can't be read: its Content-Encoding or its framing is broken"
            ) from None
        return b"".join(chunks)


def refused(error: RefusedError) -> int:
    """The HTTP status of the core's refusal, unless a dialect has its own."""
    return HTTP_STATUS[error.kind]
