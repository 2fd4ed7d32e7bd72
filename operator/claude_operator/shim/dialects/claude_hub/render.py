"""From the core's terms to the documented shapes. Pure but for the texts and outputs it is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from claude_operator.resources.lifecycle import ENDED_AS, Phase
from claude_operator.shim.core.report import Output, brief
from claude_operator.shim.core.view import SessionView, echo_of
from claude_operator.shim.dialects.claude_hub.parse import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from claude_operator.shim.core.directory import Directory, Thread, Waiting
    from claude_operator.shim.core.output import Artifact
    from claude_operator.shim.core.sessions import Texts
    from claude_operator.shim.dialects.claude_hub.requests import Status

Json = dict[str, Any]
_MEGABYTE: Final = 1_000_000
_STATUS: Final[dict[Phase, Status]] = {
    Phase.QUEUED: "initializing",
    Phase.STARTING: "initializing",
    Phase.RUNNING: "running",
    # No pod runs, but the session has not ended, and raising its cap goes on: `phase` says it exactly.
    Phase.PAUSED: "running",
    **ENDED_AS,
}


def status_of(view: SessionView, waiting: Waiting | None) -> Status:
    """The documented status.

    `pending` is said of a session that nobody has started, or that waits for dependencies; never of one that
    was started and waits for nothing: the documentation's own clients would stop polling it.
    """
    known = _STATUS.get(view.phase)
    if known is not None:
        return known
    return "pending" if waiting is not None or (view.suspend and not view.cancel) else "initializing"


def session(thread: Thread, texts: Texts, directory: Directory, *, output: Output | None = None) -> Json:
    """The session object, complete: nullable members are explicit nulls, `output` never is one."""
    view = thread.latest
    status = status_of(view, directory.waiting(view))
    echo = echo_of(view)
    metadata, options = echo.get("metadata"), echo.get("options")
    if output is None and view.final:
        output = brief(view)
    return {
        "id": view.id,
        "type": view.type,
        "status": status,
        "project": {
            "repository": view.repository,
            "branch": view.branch,
            "requirements": texts.requirements,
            "context": texts.context,
        },
        "dependencies": [_id_of(view, name, directory) for name in view.dependencies],
        "metadata": metadata if isinstance(metadata, dict) else {},
        "options": options if isinstance(options, dict) else _options(view),
        "containerId": view.pod,
        "claudeSessionId": view.claude_session_id,
        "createdAt": thread.first.created,
        "startedAt": view.started,
        "completedAt": view.finished,
        "output": output_object(output or Output()),
        "error": _error(view) if status in {"failed", "cancelled"} else None,
        "phase": view.phase.value,
        "reason": view.reason,
        "costUSD": view.cost_usd,
        "turns": view.turns,
    }


def session_data(shown: Json, waiting: Waiting | None) -> Json:
    """`data` of an operation on one session, with the members that the documentation's samples read."""
    data: Json = {
        "session": shown,
        "sessionId": shown["id"],
        "status": shown["status"],
        "error": shown["error"],
    }
    if waiting is not None:
        start = waiting.estimated_start
        data["waitingFor"] = list(waiting.ids)
        data["queueStatus"] = {
            "waitingFor": list(waiting.ids),
            "estimatedStartTime": _time(start) if start is not None else None,
        }
    return data


def output_data(shown: Json) -> Json:
    """`data` of `session.output`."""
    output = shown["output"]
    return session_data(shown, None) | {
        "output": output,
        "summary": output["summary"],
        "artifacts": output["artifacts"],
    }


def orchestration_data(shown: Json) -> Json:
    """`data` of `orchestrate`."""
    return {
        "orchestrationId": shown["id"],
        "status": "initiated",
        "sessions": [shown],
        "summary": f"Created orchestration session for {shown['project']['repository']}",
        "session": shown,
        "sessionId": shown["id"],
    }


def output_object(output: Output) -> Json:
    """The documented output."""
    memory = output.memory_peak_bytes
    return {
        "logs": list(output.log),
        "artifacts": [_artifact(one) for one in output.artifacts],
        "summary": output.summary,
        "nextSteps": list(output.next_steps),
        "executionTime": output.seconds,
        "resourceUsage": {
            "cpuTime": round(output.cpu_seconds, 1) if output.cpu_seconds is not None else None,
            "memoryPeak": f"{max(1, round(memory / _MEGABYTE))}MB" if memory is not None else None,
        },
    }


def success(event: str, message: str, data: Json) -> bytes:
    """The documented answer, with the original's envelope around the same object."""
    one = orjson.dumps({"success": True, "message": message, "data": data})
    return _enveloped(one, event)


def failure(event: str, error: str) -> bytes:
    """Likewise, of an error that a handler has found."""
    return _enveloped(orjson.dumps({"success": False, "error": error}), event)


def bare_failure(error: str, message: str = "") -> bytes:
    """An error from before any handler: key, rate, body."""
    return orjson.dumps({"success": False, "error": error} | ({"message": message} if message else {}))


def _enveloped(one: bytes, event: str) -> bytes:
    # The object stands in the body twice; it is made into JSON once.
    envelope = orjson.dumps({"event": event, "handlerCount": 1, "results": [orjson.Fragment(one)]})
    return one[:-1] + b"," + envelope[1:]


def _id_of(view: SessionView, name: str, directory: Directory) -> str:
    found = directory.named(view.namespace, name)
    return found.id if found is not None else name


def _options(view: SessionView) -> Json:
    """Of a session that was not made over this API."""
    return {
        "autoStart": not view.suspend,
        "timeout": view.timeout_seconds or DEFAULT_TIMEOUT,
        "notifyUrl": view.notify_url,
    }


def _error(view: SessionView) -> str:
    return f"{view.reason}: {view.message}" if view.message else view.reason or view.phase.value


def _artifact(artifact: Artifact) -> Json:
    shown = {
        "type": artifact.kind,
        "path": artifact.path,
        "content": artifact.content,
        "sha": artifact.sha,
        "url": artifact.url,
    }
    return {name: value for name, value in shown.items() if value is not None} | {
        "metadata": artifact.metadata
    }


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
