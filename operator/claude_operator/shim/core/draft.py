"""What a client asks for, made into a ClaudeSession. Pure.

What the client wants to read again but the spec has no place for (its metadata, its options) travels in an
annotation; a digest of the whole request beside it tells a repetition from another request under the same
id, on every replica and after every restart.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4, uuid5

import orjson

from claude_operator.resources.identity import (
    ANNOTATION_FINGERPRINT,
    ANNOTATION_REQUEST,
    LABEL_BATCH,
    LABEL_CLIENT,
    LABEL_CONTINUATION,
    LABEL_SESSION_ID,
)
from claude_operator.shim.core.errors import Kind, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from claude_operator.resources.session import SessionSpec
    from claude_operator.shim.core.scope import Scope

REQUEST_BYTES: Final = 16 * 1024
"""Of the annotation; all annotations of an object together may have 256 KiB."""
BATCH: Final = "batch"
ECHO: Final = "echo"
"""The two members of the annotation."""
_IDS: Final = UUID("6f1c2b2e-4a3c-5d8e-9b7f-0c1d2e3f4a5b")
"""Namespace of the ids that are derived from a request; changing it would void every Idempotency-Key."""
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Draft:
    """A session that does not exist yet."""

    spec: SessionSpec
    """Without dependencies and project."""
    dependencies: tuple[str, ...] = ()
    """Ids, as clients know them."""
    batch: str = ""
    echo: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the client wants to read again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands among those of its id."""

    id: str
    name: str
    continuation: int = 0


def new_place(scope: Scope, wanted: str | None, idempotency_key: str | None) -> Place:
    """The id of a new session: the client's own, one that its Idempotency-Key determines, or a random one."""
    if wanted is not None:
        session_id = wanted.lower()
    elif idempotency_key is not None:
        # Of this client alone: another one's key of the same text is another request.
        session_id = str(uuid5(_IDS, f"create\0{scope.client}\0{idempotency_key}"))
    else:
        session_id = str(uuid4())
    return Place(id=session_id, name=session_id)


def next_place(namespace: str, session_id: str, continuation: int) -> Place:
    """The name of the n-th continuation: two clients that continue at once meet at one name."""
    name = str(uuid5(_IDS, f"continue\0{namespace}\0{session_id}\0{continuation}"))
    return Place(id=session_id, name=name, continuation=continuation)


def fingerprint(draft: Draft) -> str:
    """A digest of all that makes two requests for a new session the same."""
    # What we ask of every session is not the client's: another version may ask otherwise.
    asked = draft.spec.model_copy(update={"output_schema": None})
    return digest_of([asked.to_api(), draft.dependencies, draft.batch, draft.echo])


def digest_of(parts: object) -> str:
    """SHA-256 of the canonical JSON of `parts`."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def manifest(scope: Scope, place: Place, draft: Draft, spec: SessionSpec, *, digest: str) -> dict[str, Any]:
    """The object to create; `spec` is the draft's, with project and dependencies.

    Raises:
        RefusedError: Invalid, what the client wants to read again is too much.
    """
    echo = orjson.dumps({BATCH: draft.batch, ECHO: draft.echo})
    if len(echo) > REQUEST_BYTES:
        raise RefusedError(
            Kind.INVALID, f"metadata and options have {len(echo)} bytes; at most {REQUEST_BYTES} are kept"
        )
    labels = {LABEL_CLIENT: scope.client}
    if draft.batch:
        labels[LABEL_BATCH] = label_value(draft.batch)
    if place.continuation:
        labels |= {LABEL_SESSION_ID: place.id, LABEL_CONTINUATION: str(place.continuation)}
    return {
        "metadata": {
            "name": place.name,
            "labels": labels,
            "annotations": {ANNOTATION_REQUEST: echo.decode(), ANNOTATION_FINGERPRINT: digest},
        },
        "spec": spec.to_api(),
    }


def label_value(text: str) -> str:
    """`text` where it is a label value, else a digest of it, the same each time."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:40]}"
