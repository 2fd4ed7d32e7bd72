"""The client: carries requests, retries them by the one policy, turns failures into the one error."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import orjson
from yarl import URL

from claude_operator.kube import request as build
from claude_operator.kube.errors import UNREACHABLE, ApiError
from claude_operator.kube.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from aiohttp.client_middlewares import ClientHandlerType

    from claude_operator.kube.config import ClusterConfig
    from claude_operator.kube.kinds import Kind
    from claude_operator.kube.request import Request, Selection

REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)
"""Seconds, of one try. The API server itself gives up after 60."""
PAGE: Final = 500
"""Objects in one page of a list: client-go's and kubectl's number."""
_TOO_MANY = 429


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


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: list[dict[str, Any]]
    resource_version: str
    token: str
    """`continue`; empty on the last page."""


class KubeClient:
    """Seven verbs on plain dicts. An async context manager; every method raises ApiError."""

    def __init__(self, config: ClusterConfig, *, retry: RetryPolicy | None = None) -> None:
        self.config = config
        self.writes: dict[str, int] = {}
        """How many writes were sent, by `METHOD plural[/subresource]`; retries count."""
        self._retry = retry or RetryPolicy()
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

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """Read one object."""
        return await self.send(build.get(kind, name, namespace=namespace))

    async def get_raw(self, path: str) -> bytes:
        """GET of any path, such as /openid/v1/jwks."""
        return await self._carry(build.Request("GET", path, accept="*/*"), self._retry)

    async def list(
        self, selection: Selection, *, limit: int = PAGE, metadata_only: bool = False
    ) -> list[dict[str, Any]]:
        """All objects of a selection; for what may be large, go by `pages`."""
        return [
            item
            async for page in self.pages(selection, limit=limit, metadata_only=metadata_only)
            for item in page.items
        ]

    async def pages(
        self, selection: Selection, *, limit: int = PAGE, metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """A list, page by page; every page is of one resourceVersion.

        Raises:
            ApiError: also `expired`, when the reader was slower than the server's memory (5 minutes).
        """
        token = ""
        while True:
            request = build.list_page(selection, limit=limit, token=token, metadata_only=metadata_only)
            answer = await self.send(request)
            metadata = answer.get("metadata") or {}
            token = metadata.get("continue") or ""
            yield Page(answer.get("items") or [], metadata.get("resourceVersion") or "", token)
            if not token:
                return

    async def create(
        self, kind: Kind, body: dict[str, Any], *, namespace: str | None = None
    ) -> dict[str, Any]:
        """Create one object and return it.

        A retried create whose first answer was lost fails as `already_exists`: look whose it is.
        """
        return await self.send(build.create(kind, body, namespace=namespace))

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: dict[str, Any],
        *,
        namespace: str | None = None,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Merge-patch one object, or a subresource of it such as `status`, and return the object.

        A `metadata.resourceVersion` in the patch guards it. A retried, guarded patch whose first answer was
        lost fails as `conflict`: read, and decide again.
        """
        return await self.send(
            build.merge_patch(kind, name, patch, namespace=namespace, subresource=subresource)
        )

    async def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """Delete one object and, in the background, what it owns; a missing one is an error (`not_found`)."""
        await self.send(
            build.delete(
                kind,
                name,
                namespace=namespace,
                uid=uid,
                resource_version=resource_version,
                grace_period_seconds=grace_period_seconds,
            )
        )

    async def send(self, request: Request, *, retry: RetryPolicy | None = None) -> dict[str, Any]:
        """Carry any request; the parsed answer."""
        answer: dict[str, Any] = orjson.loads(await self._carry(request, retry or self._retry))
        return answer

    async def stream(self, request: Request, *, inactivity: float) -> AsyncIterator[bytes]:
        """The lines of an endless answer, as they come; not retried.

        Args:
            request: a watch.
            inactivity: seconds without a byte after which the connection counts as dead.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=inactivity)
        try:
            async with self._open(request, timeout) as response:
                if response.status >= 400:  # noqa: PLR2004 - HTTP
                    raise _refusal(request, response, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    # Not readline(): a line is a whole object and may be larger than any sensible limit.
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _lost(request, error) from error

    async def _carry(self, request: Request, retry: RetryPolicy) -> bytes:
        begun = time.monotonic()
        tries = 0
        while True:
            tries += 1
            try:
                return await self._once(request)
            except ApiError as error:
                wait = retry.delay(
                    error, tries=tries, elapsed=time.monotonic() - begun, repeatable=request.repeatable
                )
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    async def _once(self, request: Request) -> bytes:
        if request.method != "GET":
            self._count(request)
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
            raise RuntimeError("the client is used outside its `async with`")
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

    def _count(self, request: Request) -> None:
        parts = request.target.partition("?")[0].split("/")
        # /api/v1/... or /apis/GROUP/v1/..., then namespaces/NAME unless the object is cluster-wide.
        parts = parts[3:] if parts[1] == "api" else parts[4:]
        if parts[0] == "namespaces" and len(parts) > 2:  # noqa: PLR2004 - plural after the namespace
            parts = parts[2:]
        what = "/".join([parts[0], *parts[2:]])
        key = f"{request.method} {what}"
        self.writes[key] = self.writes.get(key, 0) + 1


def _lost(request: Request, error: BaseException) -> ApiError:
    what = str(error) or type(error).__name__
    return ApiError(status=UNREACHABLE, reason="Unreachable", message=f"{request}: {what}")


def _refusal(request: Request, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    reason, message = response.reason or "", body[:500].decode(errors="replace")
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None  # a proxy's page, or the authenticator's plain text: it is in the message
    if isinstance(status, dict) and status.get("kind") == "Status":
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
