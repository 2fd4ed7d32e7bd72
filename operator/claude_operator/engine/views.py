"""From API objects to the frozen views: the one place that knows where a field sits.

Reading is lenient on what the API server vouches for and exact on what decides: a spec that our models
refuse becomes `spec_error`, never an exception loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from claude_operator.engine.observation import (
    DependencyIntent,
    Intent,
    Job,
    JobEnd,
    NotifyIntent,
    Pod,
    Project,
    Session,
    Terminated,
)
from claude_operator.resources.condition import ConditionStatus, ConditionType
from claude_operator.resources.identity import (
    LABEL_ATTEMPT,
    LABEL_SESSION_UID,
    SESSION_CONTAINER,
    session_id_of,
)
from claude_operator.resources.project import ProjectSpec, ProjectStatus
from claude_operator.resources.session import Notify, SessionSpec
from claude_operator.resources.session_status import SessionStatus

Json = Mapping[str, Any]

_STARTING_STATES = frozenset({"ContainerCreating", "PodInitializing"})


def parse_time(text: str) -> datetime:
    """An RFC 3339 timestamp of the API server, as an aware UTC datetime."""
    return datetime.fromisoformat(text).astimezone(UTC)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as `metav1.Time` is serialised."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def session_view(obj: Json) -> Session:
    """A ClaudeSession object."""
    meta = obj["metadata"]
    intent, error = _intent(obj.get("spec") or {})
    return Session(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        created=parse_time(meta["creationTimestamp"]),
        deleting="deletionTimestamp" in meta,
        intent=intent,
        spec_error=error,
        status=_status(obj.get("status") or {}),
        notify=_notify(meta, obj.get("spec") or {}),
    )


def _notify(meta: Json, spec: Json) -> NotifyIntent | None:
    try:
        notify = Notify.model_validate(spec["notify"])
    except (KeyError, ValidationError):
        return None
    return NotifyIntent(
        url=notify.url,
        secret=notify.secret_ref.name if notify.secret_ref else None,
        session_id=session_id_of(meta["name"], meta["uid"], meta.get("labels") or {}),
        project=str(spec.get("project") or "default"),
    )


def _intent(raw: Json) -> tuple[Intent | None, str]:
    try:
        spec = SessionSpec.model_validate(raw)
    except ValidationError as error:
        return None, describe(error)
    return (
        Intent(
            type=spec.type,
            project=spec.project,
            repository=spec.repository,
            branch=spec.branch,
            dependencies=tuple(DependencyIntent(name=d.name, when=d.when) for d in spec.dependencies),
            resume_from=spec.resume_from,
            suspend=spec.suspend,
            cancel=spec.cancel,
            priority=spec.priority,
            timeout_seconds=spec.timeout_seconds,
            start_deadline_seconds=spec.start_deadline_seconds,
            ttl_seconds_after_finished=spec.ttl_seconds_after_finished,
            limits=spec.limits,
            retry=spec.retry,
            model=spec.model,
            publish_branch=spec.publish.branch if spec.publish else None,
            pod=spec.pod,
        ),
        "",
    )


def describe(error: ValidationError) -> str:
    """Every problem of a spec as `spec.field: what is wrong`, for people."""
    problems = []
    for item in error.errors(include_url=False, include_context=False):
        path = ".".join(str(part) for part in item["loc"])
        value = repr(item["input"])
        problems.append(f"spec.{path}: {item['msg']} (got {value[:80]})")
    return "; ".join(problems)


def _status(raw: Json) -> SessionStatus:
    # The CRD validates what is written here and the controller alone writes it; a field of a newer
    # version is ignored, a value that this version does not know starts from what can be read.
    try:
        return SessionStatus.model_validate(raw)
    except ValidationError:
        return SessionStatus.model_validate({k: raw[k] for k in ("phase", "observedGeneration") if k in raw})


def project_view(obj: Json) -> Project:
    """A ClaudeProject object."""
    meta = obj["metadata"]
    try:
        spec = ProjectSpec.model_validate(obj.get("spec") or {})
        status = ProjectStatus.model_validate(obj.get("status") or {})
    except ValidationError as error:
        return Project(name=meta["name"], spec=None, ready=False, message=describe(error))
    ready = next((c for c in status.conditions if c.type == ConditionType.READY), None)
    # A verdict on an older generation says nothing of this one: its Secret may be another.
    current = ready is not None and status.observed_generation == meta.get("generation", 0)
    if ready is None or not current:
        return Project(
            name=meta["name"], spec=spec, ready=False, message="the gateway has not checked it yet"
        )
    return Project(
        name=meta["name"],
        spec=spec,
        ready=ready.status == ConditionStatus.TRUE,
        message=ready.message,
    )


def job_view(obj: Json) -> Job | None:
    """A Job that carries our labels; None for any other."""
    meta = obj["metadata"]
    attempt = _attempt(meta)
    if attempt is None:
        return None
    end, reason, message = _job_end((obj.get("status") or {}).get("conditions") or ())
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        owner_uid=controller_uid(meta),
        attempt=attempt,
        created=parse_time(meta["creationTimestamp"]),
        deleting="deletionTimestamp" in meta,
        end=end,
        end_reason=reason,
        end_message=message,
    )


def controller_uid(meta: Json) -> str:
    """The controlling owner's uid; empty without one."""
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return ""


def session_uid(obj: Json) -> str:
    """The session that a Job or Pod says it belongs to; empty without our label."""
    return str((obj["metadata"].get("labels") or {}).get(LABEL_SESSION_UID, ""))


def _attempt(meta: Json) -> int | None:
    labels = meta.get("labels") or {}
    number = str(labels.get(LABEL_ATTEMPT, ""))
    if LABEL_SESSION_UID not in labels or not number.isascii() or not number.isdigit():
        return None
    return int(number)


def _job_end(conditions: Iterable[Json]) -> tuple[JobEnd | None, str, str]:
    # FailureTarget and SuccessCriteriaMet come before the pods are gone, Failed and Complete after:
    # the earlier ones already decide.
    ends = {
        "Complete": JobEnd.SUCCEEDED,
        "SuccessCriteriaMet": JobEnd.SUCCEEDED,
        "Failed": JobEnd.FAILED,
        "FailureTarget": JobEnd.FAILED,
    }
    for condition in conditions:
        if condition.get("status") == "True" and condition.get("type") in ends:
            return ends[condition["type"]], condition.get("reason", ""), condition.get("message", "")
    return None, "", ""


def pod_view(obj: Json) -> Pod | None:
    """A Pod that carries our labels; None for any other."""
    meta = obj["metadata"]
    attempt = _attempt(meta)
    if attempt is None:
        return None
    status = obj.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    disruption = conditions.get("DisruptionTarget", {})
    ready = conditions.get("Ready", {})
    container: Json = next(
        (c for c in status.get("containerStatuses") or () if c.get("name") == SESSION_CONTAINER), {}
    )
    waiting = (container.get("state") or {}).get("waiting") or {}
    waiting_reason = waiting.get("reason", "")
    if waiting_reason in _STARTING_STATES:
        waiting_reason = ""
    grace = meta.get("deletionGracePeriodSeconds") or 0
    deleting_since = None
    if "deletionTimestamp" in meta:
        # deletionTimestamp is the moment when the grace period ends.
        deleting_since = parse_time(meta["deletionTimestamp"]) - timedelta(seconds=grace)
    unschedulable = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        job_uid=controller_uid(meta),
        attempt=attempt,
        created=parse_time(meta["creationTimestamp"]),
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        deleting_since=deleting_since,
        grace_seconds=grace,
        disruption=disruption.get("reason", "") if disruption.get("status") == "True" else "",
        unschedulable=scheduled.get("message", "") if unschedulable else "",
        waiting_reason=waiting_reason,
        waiting_message=waiting.get("message", "") if waiting_reason else "",
        ready_since=parse_time(ready["lastTransitionTime"]) if ready.get("status") == "True" else None,
        terminated=_terminated(container),
    )


def _terminated(container: Json) -> Terminated | None:
    state = (container.get("state") or {}).get("terminated")
    if state is None:
        return None
    started, finished = state.get("startedAt"), state.get("finishedAt")
    return Terminated(
        exit_code=state.get("exitCode", -1),
        reason=state.get("reason", ""),
        message=state.get("message", ""),
        started=parse_time(started) if started else None,
        finished=parse_time(finished) if finished else None,
    )
