"""A ClaudeSession as the APIs see it: frozen, slim, read once from the object.

Ten thousand of them stay in memory, so what is long is left out: texts beyond `TEXT_KEPT` characters are
read from the API server when somebody asks for them (`complete` is False then). Reading is lenient: the CRD
has validated the object, and one that is odd all the same must not end a watch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from claude_operator.resources.condition import ConditionType
from claude_operator.resources.identity import (
    ANNOTATION_FINGERPRINT,
    ANNOTATION_REQUEST,
    LABEL_BATCH,
    LABEL_CONTINUATION,
    session_id_of,
)
from claude_operator.resources.lifecycle import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]

TEXT_KEPT: Final = 4096
"""Characters of requirements and of context that stay in memory."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """One ClaudeSession."""

    namespace: str
    name: str
    uid: str
    version: int
    """resourceVersion; Kubernetes guarantees that it grows (KEP-5504)."""
    created: str
    id: str
    """What HTTP clients call it."""
    continuation: int
    """0: the first under its id; n: the n-th that goes on from there."""
    batch: str
    """The client's word for sessions that belong together; empty: none."""
    client_request: str
    """The annotation with what a client wants to read again: JSON, or empty. See `echo_of`."""
    fingerprint: str
    type: str
    project: str
    repository: str
    branch: str | None
    requirements: str
    context: str | None
    complete: bool
    """False: requirements or context are cut."""
    dependencies: tuple[str, ...]
    """Names."""
    suspend: bool
    cancel: bool
    timeout_seconds: int
    notify_url: str | None
    phase: Phase
    reason: str
    message: str
    started: str | None
    finished: str | None
    claude_session_id: str | None
    pod: str | None
    """Of the last attempt: its pod, or its Job before there is one."""
    model: str | None
    image: str | None
    summary: str
    published_branch: str | None
    commit: str | None
    pull_request_url: str | None
    pull_request_number: int | None
    cost_usd: float | None
    turns: int | None

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.phase.final


def session_view(obj: Json) -> SessionView:
    """Read one object."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    ready: Json = next(
        (one for one in status.get("conditions") or () if one.get("type") == ConditionType.READY), {}
    )
    attempt: Json = (status.get("attempts") or [{}])[-1]
    result, usage = status.get("result") or {}, status.get("usage") or {}
    pull_request = result.get("pullRequest") or {}
    requirements, context = spec.get("requirements", ""), spec.get("context")
    return SessionView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=int(meta["resourceVersion"]),
        created=meta["creationTimestamp"],
        id=session_id_of(meta["name"], meta["uid"], labels),
        continuation=_number(labels.get(LABEL_CONTINUATION, "0")),
        batch=_batch(annotations.get(ANNOTATION_REQUEST, ""), labels),
        client_request=annotations.get(ANNOTATION_REQUEST, ""),
        fingerprint=annotations.get(ANNOTATION_FINGERPRINT, ""),
        type=spec.get("type", ""),
        project=spec.get("project", "default"),
        repository=spec.get("repository", ""),
        branch=spec.get("branch"),
        requirements=requirements[:TEXT_KEPT],
        context=context[:TEXT_KEPT] if context is not None else None,
        complete=len(requirements) <= TEXT_KEPT and len(context or "") <= TEXT_KEPT,
        dependencies=tuple(one["name"] for one in spec.get("dependencies") or ()),
        suspend=bool(spec.get("suspend")),
        cancel=bool(spec.get("cancel")),
        timeout_seconds=spec.get("timeoutSeconds", 1800),
        notify_url=(spec.get("notify") or {}).get("url"),
        phase=_phase(status.get("phase", "")),
        reason=ready.get("reason", ""),
        message=ready.get("message", ""),
        started=status.get("startTime"),
        finished=status.get("completionTime"),
        claude_session_id=status.get("claudeSessionId"),
        pod=attempt.get("pod") or attempt.get("job"),
        model=status.get("model"),
        image=status.get("image"),
        summary=result.get("summary") or "",
        published_branch=result.get("branch"),
        commit=result.get("commit"),
        pull_request_url=pull_request.get("url"),
        pull_request_number=pull_request.get("number"),
        cost_usd=usage.get("costUSD"),
        turns=usage.get("turns"),
    )


def echo_of(view: SessionView) -> dict[str, Any]:
    """What the client gave us to keep, as it gave it."""
    echo = _request(view.client_request).get("echo")
    return echo if isinstance(echo, dict) else {}


def _batch(request: str, labels: Json) -> str:
    batch = _request(request).get("batch") if request else labels.get(LABEL_BATCH)
    return batch if isinstance(batch, str) else ""


def _request(text: str) -> Json:
    # kubectl may write anything into an annotation.
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _phase(text: str) -> Phase:
    try:
        return Phase(text)
    except ValueError:
        return Phase.PENDING


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0  # noqa: PLR2004 - bounds a label
