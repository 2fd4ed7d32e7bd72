"""From a body to a request, and from a request to the core's terms; every problem with its documented words.

Pure. Clients look for some of these texts, so they are kept letter by letter.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import BaseModel, JsonValue, ValidationError

from claude_operator.resources import callback
from claude_operator.resources.identity import is_uuid
from claude_operator.resources.nesting import depth
from claude_operator.resources.session import Notify, SessionSpec
from claude_operator.resources.session import SessionType as Type
from claude_operator.shim.core import conclusion
from claude_operator.shim.core.draft import Draft
from claude_operator.shim.core.errors import Kind, RefusedError
from claude_operator.shim.core.sessions import Followup
from claude_operator.shim.dialects.claude_hub.requests import (
    MAX_DEPTH,
    MODELS,
    Options,
    Orchestrate,
    Project,
    Request,
    SessionContinue,
    SessionCreate,
    SessionRetry,
    dependency_ids,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIORITIES: Final = {"high": 100, "medium": 0, "normal": 0, "low": -100}
DEFAULT_TIMEOUT: Final = 1800
"""Seconds."""
_DEEPEST: Final = 32
"""Levels of a whole body: what reads it later goes down by recursion."""
_MOST_PROBLEMS: Final = 5
_KEY: Final = re.compile(r"[!-~]{1,255}")
_FIELDS: Final = {
    "repository": "session.project.repository",
    "branch": "session.project.branch",
    "requirements": "session.project.requirements",
    "context": "session.project.context",
    "timeoutSeconds": "options.timeout",
    "dependencies": "session.dependencies",
}
_WORDS: Final = {
    "repository": 'must be in "owner/repo" format, without .git',
    "branch": "is not a branch name: letters, digits, _ + @ - and single inner dots, in parts joined by /",
    "requirements": "is blank: say what is to be done",
}


def invalid(message: str) -> RefusedError:
    """400."""
    return RefusedError(Kind.INVALID, message)


def decode(body: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        RefusedError: Invalid.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise invalid("Content-Type must be application/json")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise invalid("Invalid JSON") from None
    if not isinstance(found, dict):
        raise invalid("Invalid JSON: the body must be an object")
    if depth(found, _DEEPEST + 1) > _DEEPEST:
        raise invalid(f"Invalid JSON: nested more than {_DEEPEST} levels deep")
    return found


def event_of(body: Mapping[str, Any]) -> str:
    """The type of a body, as answers give it back; empty where there is none."""
    kind = body.get("type")
    return kind[:100] if isinstance(kind, str) else ""


def request(body: Mapping[str, Any]) -> Request:
    """The request in a body.

    Raises:
        RefusedError: Invalid, naming the field.
    """
    kind = body.get("type")
    if not isinstance(kind, str) or not kind:
        raise invalid("type is required: " + ", ".join(MODELS))
    model = MODELS.get(kind)
    if model is None:
        what = "session operation" if kind.startswith("session.") else "type"
        raise invalid(f"Unknown {what}: {kind[:100]}")
    _check_required(kind, body)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(_problems(error)) from None


def idempotency_key(header: str | None) -> str | None:
    """The Idempotency-Key header.

    Raises:
        RefusedError: Invalid.
    """
    if header is None:
        return None
    if not _KEY.fullmatch(header):
        raise invalid("Idempotency-Key: 1 to 255 printable ASCII characters without blanks")
    return header


def session_id(text: str) -> str:
    """An id in a request; one that is no UUID belongs to no session.

    Raises:
        RefusedError: NotFound.
    """
    if not is_uuid(text):
        raise RefusedError(Kind.NOT_FOUND, f"Session not found: {text[:100]}")
    return text.lower()


def wanted_id(text: str | None) -> str | None:
    """The id that a client has chosen for a new session.

    Raises:
        RefusedError: Invalid.
    """
    if text is not None and not is_uuid(text):
        raise invalid(f"session.id: not a UUID: {text[:100]}")
    return text


def created(asked: SessionCreate, *, private_callbacks: bool) -> Draft:
    """A `session.create` as the core takes it.

    Raises:
        RefusedError: Invalid.
    """
    session = asked.session
    options = _merged(asked.options, session.options)
    metadata = _kept("session.metadata", session.metadata)
    spec = _spec(
        session.type,
        session.project,
        options,
        suspend=not options.auto_start,
        priority=(session.metadata.priority if session.metadata else None) or "medium",
        private_callbacks=private_callbacks,
    )
    return Draft(
        spec=spec,
        dependencies=_dependencies(session.dependencies),
        batch=(session.metadata.batch_id if session.metadata else None) or "",
        echo={"metadata": metadata, "options": _echoed(options)},
    )


def orchestrated(asked: Orchestrate, *, private_callbacks: bool) -> Draft:
    """An `orchestrate` as the core takes it.

    Raises:
        RefusedError: Invalid.
    """
    options = _merged(Options.model_validate({"autoStart": asked.auto_start}), asked.options)
    spec = _spec(
        asked.session_type,
        asked.project,
        options,
        suspend=not options.auto_start,
        priority=(asked.metadata.priority if asked.metadata else None) or "medium",
        private_callbacks=private_callbacks,
    )
    return Draft(
        spec=spec,
        dependencies=_dependencies(asked.dependencies),
        batch=(asked.metadata.batch_id if asked.metadata else None) or "",
        echo={"metadata": _kept("metadata", asked.metadata), "options": _echoed(options)},
    )


def followup(asked: SessionRetry | SessionContinue, key: str | None) -> Followup:
    """A `session.retry` or `session.continue` as the core takes it."""
    timeout = asked.options.timeout if asked.options else None
    return Followup(
        message=asked.requirements if isinstance(asked, SessionContinue) else None,
        timeout_seconds=math.ceil(timeout) if timeout is not None else None,
        idempotency_key=key,
    )


def _check_required(kind: str, body: Mapping[str, Any]) -> None:
    """What clients have always been told first."""
    where: Any = body.get("session") if kind == "session.create" else body
    if kind not in {"session.create", "orchestrate"}:
        return
    if not where:
        raise invalid("session is required")
    project = where.get("project") if isinstance(where, dict) else None
    what = "session creation" if kind == "session.create" else "orchestration"
    if not isinstance(project, dict) or not project.get("repository"):
        raise invalid(f"Repository is required for {what}")
    requirements = project.get("requirements")
    if not requirements or (isinstance(requirements, str) and not requirements.strip()):
        raise invalid(f"Requirements are required for {what}")


def _problems(error: ValidationError) -> str:
    found = []
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_PROBLEMS]:
        path = ".".join(str(part) for part in one["loc"])
        words = _WORDS.get(str(one["loc"][-1])) if one["type"] == "string_pattern_mismatch" else None
        found.append(f"{path}: {words or one['msg']}")
    return "; ".join(found)


def _dependencies(given: list[str] | None) -> tuple[str, ...]:
    ids, wrong = dependency_ids(given or [])
    if wrong:
        shown = ", ".join(one[:100] for one in wrong[:10])
        raise invalid(f"Invalid dependency IDs (not valid UUIDs): {shown}")
    return tuple(dict.fromkeys(ids))


def _merged(outer: Options | None, inner: Options | None) -> Options:
    """Both places where options stand; what the outer one says wins."""
    merged: dict[str, Any] = {}
    for one in (inner, outer):
        if one is not None:
            merged |= one.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Options.model_validate(merged)


def _echoed(options: Options) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {"autoStart": False, "timeout": DEFAULT_TIMEOUT, "notifyUrl": None}
    shown |= _kept("options", options)
    timeout = shown["timeout"]
    return shown | {"timeout": int(timeout)} if isinstance(timeout, float) and timeout.is_integer() else shown


def _kept(where: str, model: BaseModel | None) -> dict[str, JsonValue]:
    """What is given back as it came."""
    if model is None:
        return {}
    given: dict[str, JsonValue] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    if depth(given, MAX_DEPTH + 1) > MAX_DEPTH:
        raise invalid(f"{where}: nested more than {MAX_DEPTH} levels deep")
    return given


def _spec(
    kind: str, project: Project, options: Options, *, suspend: bool, priority: str, private_callbacks: bool
) -> SessionSpec:
    notify = None
    if options.notify_url is not None:
        try:
            callback.check(options.notify_url, private=private_callbacks)
        except callback.CallbackRefusedError as error:
            raise invalid(f"options.notifyUrl {error}") from None
        notify = Notify.model_construct(url=options.notify_url)
    try:
        return SessionSpec(
            type=Type(kind),
            repository=project.repository,
            branch=project.branch or None,
            requirements=project.requirements,
            context=project.context,
            suspend=suspend,
            priority=PRIORITIES[priority],
            timeout_seconds=math.ceil(options.timeout or DEFAULT_TIMEOUT),
            notify=notify,
            output_schema=conclusion.SCHEMA,
        )
    except ValidationError as error:
        one = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(one["loc"][0])
        words = _WORDS.get(name) if one["type"] == "string_pattern_mismatch" else None
        raise invalid(f"{_FIELDS.get(name, name)}: {words or one['msg']}") from None
