"""Carries requests over one aiohttp session; retries by the one policy; turns failures into the one error.

It knows nothing of Kubernetes but the form of its refusals, which the gateway shares.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import orjson
from yarl import URL

from claude_operator.kube.errors import UNREACHABLE, ApiError
from claude_operator.kube.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from types import TracebackType

    from aiohttp.client_middlewares import ClientHandlerType

    from claude_operator.kube.config import ClusterConfig
    from claude_operator.kube.request import Request

REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)
"""Seconds, of one try. The API server itself gives up after 60."""


def open_session(config: ClusterConfig) -> aiohttp.ClientSession:
    """An aiohttp session that speaks as `config` says; the caller closes it.

    The token is added to each request by itself, so that a rotated one is used without a new session, and
    everything that shares this function (the event source too) logs in the same way.
    """

    async def authorize(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        token = config.bearer()
        if token is None:
            return await handler(request)
        request.headers["Authorization"] = f"Bearer {token}"
        response = await handler(request)
        if response.status == 401:  # noqa: PLR2004 - HTTP
            # Rotated within the minute that the token lives in memory: read the file, try once more.
            fresh = config.bearer(fresh=True)
            if fresh != token:
                response.release()
                request.headers["Authorization"] = f"Bearer {fresh}"
                response = await handler(request)
        return response

    connector = aiohttp.TCPConnector(ssl=config.tls if config.tls is not None else True, limit=100)
    return aiohttp.ClientSession(
        connector=connector, middlewares=(authorize,), timeout=REQUEST_TIMEOUT, auto_decompress=True
    )


class Transport:
    """One server, as one identity. An async context manager; every method raises ApiError."""

    def __init__(self, config: ClusterConfig, *, retry: RetryPolicy | None = None) -> None:
        self.config = config
        self.retry = retry or RetryPolicy()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session(self.config)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            # Aborted connections are closed by the loop in its next rounds: TLS first, then the socket.
            for _ in range(3):
                await asyncio.sleep(0)

    async def carry(self, request: Request) -> bytes:
        """The answer's body, after as many tries as the policy allows."""
        begun = time.monotonic()
        tries = 0
        while True:
            tries += 1
            try:
                return await self._once(request)
            except ApiError as error:
                wait = self.retry.delay(
                    error, tries=tries, elapsed=time.monotonic() - begun, repeatable=request.repeatable
                )
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    async def stream(self, request: Request, *, inactivity: float) -> AsyncGenerator[bytes, None]:
        """The lines of an endless answer, as they come; not retried.

        Args:
            request: a watch.
            inactivity: seconds without a byte after which the connection counts as dead.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=inactivity)
        try:
            async with self._open(request, timeout) as response:
                try:
                    async for line in _lines(request, response):
                        yield line
                finally:
                    # The reader has gone: a polite TLS shutdown would wait for a peer that goes on sending.
                    if response.connection is not None and response.connection.transport is not None:
                        response.connection.transport.abort()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _lost(request, error) from error

    async def _once(self, request: Request) -> bytes:
        try:
            async with self._open(request, REQUEST_TIMEOUT) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _lost(request, error) from error
        if response.status >= 400:  # noqa: PLR2004 - HTTP
            raise _refusal(request, response, body)
        return body

    def _open(
        self, request: Request, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            raise RuntimeError("the transport is used outside its `async with`")
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        return self._session.request(
            request.method,
            URL(self.config.server + request.target, encoded=True),
            data=request.body,
            headers=headers,
            timeout=timeout,
        )


async def _lines(request: Request, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    if response.status >= 400:  # noqa: PLR2004 - HTTP
        raise _refusal(request, response, await response.read())
    rest = b""
    async for chunk in response.content.iter_any():
        # Not readline(): a line is a whole object and may be larger than any sensible limit.
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _lost(request: Request, error: BaseException) -> ApiError:
    what = str(error) or type(error).__name__
    return ApiError(status=UNREACHABLE, reason="Unreachable", message=f"{request}: {what}")


def _refusal(request: Request, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    reason, message = response.reason or "", body[:500].decode(errors="replace")
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None  # a proxy's page, or the authenticator's plain text: it is in the message
    if isinstance(status, dict):
        reason = status.get("reason") or reason
        message = status.get("message") or message
    return ApiError(
        status=response.status,
        reason=reason,
        message=f"{request}: {message}",
        retry_after=_retry_after(response),
    )


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    # The API server sends seconds, never a date.
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
