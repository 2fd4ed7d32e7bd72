"""The client: the API server's verbs on plain dicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from claude_operator.kube import request as build
from claude_operator.kube.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from claude_operator.kube.config import ClusterConfig
    from claude_operator.kube.kinds import Kind
    from claude_operator.kube.request import Request, Selection
    from claude_operator.kube.retry import RetryPolicy

PAGE: Final = 500
"""Objects in one page of a list: client-go's and kubectl's number."""


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
        self.transport = Transport(config, retry=retry)
        self.writes: dict[str, int] = {}
        """How many writes were asked for, by `METHOD plural[/subresource]`."""

    async def __aenter__(self) -> Self:
        await self.transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.__aexit__(kind, error, trace)

    async def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """Read one object."""
        return await self.send(build.get(kind, name, namespace=namespace))

    async def get_raw(self, path: str) -> bytes:
        """GET of any path, such as /openid/v1/jwks."""
        return await self.transport.carry(build.Request("GET", path, accept="*/*"))

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

    async def send(self, request: Request) -> dict[str, Any]:
        """Carry any request; the parsed answer."""
        if request.method != "GET":
            self._count(request)
        answer: dict[str, Any] = orjson.loads(await self.transport.carry(request))
        return answer

    def _count(self, request: Request) -> None:
        parts = request.target.partition("?")[0].split("/")
        # /api/v1/... or /apis/GROUP/v1/..., then namespaces/NAME unless the object is cluster-wide.
        parts = parts[3:] if parts[1] == "api" else parts[4:]
        if parts[0] == "namespaces" and len(parts) > 2:  # noqa: PLR2004 - plural after the namespace
            parts = parts[2:]
        what = "/".join([parts[0], *parts[2:]])
        key = f"{request.method} {what}"
        self.writes[key] = self.writes.get(key, 0) + 1
