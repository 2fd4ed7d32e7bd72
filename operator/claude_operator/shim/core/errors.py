"""Why the core does not do what it was asked: one exception, a closed list of kinds.

A dialect maps kinds to its own status codes and words. Kept apart from HTTP, since dialects disagree on it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claude_operator.kube.errors import ApiError

_BAD_REQUEST = (400, 413, 422)
_FORBIDDEN = (401, 403)


class Kind(StrEnum):
    """What is the matter."""

    INVALID = "Invalid"
    """The request can't be right, however often it is repeated."""
    NOT_FOUND = "NotFound"
    CONFLICT = "Conflict"
    """Not in this state of the session."""
    UNAVAILABLE = "Unavailable"
    """Something that is needed does not answer now; the same request may be repeated."""
    INTERNAL = "Internal"
    """The installation is wrong; its administrator must look."""


class RefusedError(Exception):
    """The core's one refusal; the message is for the client."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def not_found(session_id: str) -> RefusedError:
    """No session answers to this id, as far as the client may see."""
    return RefusedError(Kind.NOT_FOUND, f"Session not found: {session_id}")


def of_cluster(error: ApiError) -> RefusedError:
    """The API server's refusal, in the words of this side."""
    if error.status in _BAD_REQUEST:
        return RefusedError(Kind.INVALID, _without_request(error.message))
    if error.conflict:
        return RefusedError(Kind.CONFLICT, "the session is changing too fast: try again")
    if error.transient:
        return RefusedError(Kind.UNAVAILABLE, "the cluster does not answer: try again")
    if error.status in _FORBIDDEN or error.not_found:
        return RefusedError(Kind.INTERNAL, f"the cluster refused: {_without_request(error.message)}")
    return RefusedError(Kind.INTERNAL, "the cluster gave an unexpected answer")


def _without_request(message: str) -> str:
    # `POST /apis/...: ClaudeSession.claude-operator.dev "x" is invalid: spec.repository: ...`
    return message.partition(": ")[2] or message
