"""Names that more than one process must agree on: API group, kinds, labels, service accounts, files.

A constant lives here only when two processes, or a process and a manifest, would break if they
disagreed about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP: Final = "claude-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

SESSION_KIND: Final = "ClaudeSession"
SESSION_PLURAL: Final = "claudesessions"
PROJECT_KIND: Final = "ClaudeProject"
PROJECT_PLURAL: Final = "claudeprojects"

LABEL_SESSION_UID: Final = f"{GROUP}/session-uid"
"""On Jobs and Pods: uid of the ClaudeSession. The controller's watches select on its presence."""
LABEL_SESSION_NAME: Final = f"{GROUP}/session"
"""On Jobs and Pods: name of the ClaudeSession, for people (`kubectl logs -l`)."""
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
"""On Jobs and Pods: the attempt's number, counted from 1."""

LABEL_SESSION_ID: Final = f"{GROUP}/session-id"
"""On ClaudeSessions that continue another: the id by which HTTP clients know the first of them."""
LABEL_CONTINUATION: Final = f"{GROUP}/continuation"
"""Beside it: the number of the continuation, counted from 1."""
LABEL_CLIENT: Final = f"{GROUP}/client"
"""On ClaudeSessions made over HTTP: the name of the key that the client used."""
LABEL_BATCH: Final = f"{GROUP}/batch"
"""On ClaudeSessions made over HTTP: the client's batch id, or a digest of it where it is no label value."""
ANNOTATION_REQUEST: Final = f"{GROUP}/request"
"""On ClaudeSessions made over HTTP: JSON of what the client wants to read again, such as its metadata."""
ANNOTATION_FINGERPRINT: Final = f"{GROUP}/request-sha256"
"""On ClaudeSessions made over HTTP: digest of the request, which tells a repetition from a collision."""

CREDENTIAL_SECRET_TYPE: Final = f"{GROUP}/credential"
"""The only Secret type that the gateway uses; it must also list the hosts it may be sent to."""

SESSION_SERVICE_ACCOUNT: Final = "claude-session"
"""Service account of every session pod, in the session's namespace; it is bound to no role."""
SESSION_CONTAINER: Final = "session"
"""Name of the one container in a session pod."""
GATEWAY_AUDIENCE: Final = "claude-gateway"
"""Audience of the projected token that a session pod holds."""
GATEWAY_INTERNAL_AUDIENCE: Final = "claude-gateway-internal"
"""Audience of the tokens with which controller, shim and administrators speak to the internal port."""

TOKEN_PATH: Final = "/var/run/secrets/claude-gateway/token"  # noqa: S105 - a path, not a token
"""Where the pod's projected token is mounted; kubelet rotates the file."""
READY_PATH: Final = "/home/claude/.runner/ready"
"""The runner creates this file when the agent starts; the pod's startup probe looks for it."""
WORKSPACE_PATH: Final = "/workspace"
HOME_PATH: Final = "/home/claude"

_UUID_LENGTH: Final = 36

SESSION_UID: Final = 1000
"""uid and gid of the session container's user (operator/images/session/Dockerfile)."""


def default_publish_branch(name: str, uid: str) -> str:
    """The branch that a session pushes to unless it names another: unique per session, readable."""
    return f"claude/{name}-{uid[:5]}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID as it is usually written, of any version, in either case."""
    try:
        return len(text) == _UUID_LENGTH and str(UUID(text)) == text.lower()
    except ValueError:
        return False


def session_id_of(name: str, uid: str, labels: Mapping[str, str]) -> str:
    """The id by which HTTP clients know a ClaudeSession, always a UUID.

    The label of a continuation, else a name that is a UUID (the API made it), else the uid.
    """
    for candidate in (labels.get(LABEL_SESSION_ID, ""), name):
        if is_uuid(candidate):
            return candidate.lower()
    return uid
