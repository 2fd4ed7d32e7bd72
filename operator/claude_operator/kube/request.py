"""Requests as values: built here, purely; carried elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson
from typing_extensions import override

if TYPE_CHECKING:
    from claude_operator.kube.kinds import Kind

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Lists without spec and status; works for custom resources too."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to the API server."""

    method: str
    target: str
    """Path and query, encoded."""
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON
    repeatable: bool = True
    """Whether a repetition after a lost answer can do no harm: the names are ours, so a second create
    answers AlreadyExists, a second guarded patch Conflict, a second delete NotFound. Not so when the
    server chooses the name."""

    @override
    def __str__(self) -> str:
        """As it stands in error messages and logs."""
        return f"{self.method} {self.target}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or watch is about."""

    kind: Kind
    namespace: str | None = None
    """None: all namespaces."""
    label_selector: str = ""
    field_selector: str = ""

    def query(self) -> dict[str, str]:
        """The query parameters that say so."""
        chosen = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in chosen.items() if value}


def get(kind: Kind, name: str, *, namespace: str | None) -> Request:
    """Read one object."""
    return Request("GET", kind.path(namespace, name))


def list_page(selection: Selection, *, limit: int, token: str, metadata_only: bool) -> Request:
    """Read one page; `token` is the previous page's `continue`.

    Without a resourceVersion, so the answer is consistent: a list that may be older than what this
    process has already seen would take the cache back in time.
    """
    query = selection.query() | {"limit": str(limit)}
    if token:
        query["continue"] = token
    accept = f"{METADATA_LIST},{JSON}" if metadata_only else JSON
    return Request("GET", _target(selection.kind.path(selection.namespace), query), accept=accept)


def watch(selection: Selection, *, resource_version: str, timeout_seconds: int) -> Request:
    """Follow changes after a resourceVersion, with bookmarks."""
    query = selection.query() | {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(timeout_seconds),
    }
    return Request("GET", _target(selection.kind.path(selection.namespace), query))


def create(kind: Kind, body: dict[str, Any], *, namespace: str | None) -> Request:
    """Create one object; apiVersion and kind are filled in."""
    full = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
    named = bool(full.get("metadata", {}).get("name"))
    return Request("POST", kind.path(namespace), orjson.dumps(full), repeatable=named)


def merge_patch(
    kind: Kind, name: str, patch: dict[str, Any], *, namespace: str | None, subresource: str = ""
) -> Request:
    """RFC 7386; a `metadata.resourceVersion` in the patch guards it (409 Conflict)."""
    target = kind.path(namespace, name, subresource)
    return Request("PATCH", target, orjson.dumps(patch), content_type=MERGE_PATCH)


def delete(
    kind: Kind,
    name: str,
    *,
    namespace: str | None,
    uid: str | None = None,
    resource_version: str | None = None,
    grace_period_seconds: int | None = None,
) -> Request:
    """Delete one object and, in the background, what it owns.

    The policy is always named: a Job's own default, over the raw API, orphans its pods.
    """
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {key: value for key, value in preconditions.items() if value is not None},
    }
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    return Request("DELETE", kind.path(namespace, name), orjson.dumps(options))


def _target(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}"
