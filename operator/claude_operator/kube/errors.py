"""One error for everything the API server, or the way to it, can answer."""

from __future__ import annotations

from typing import Final

UNREACHABLE: Final = 0
"""The status of an error that no server answered."""


class ApiError(Exception):
    """A request failed for good: after the retries that it was allowed.

    Attributes:
        status: the HTTP status; 0 when no answer came (refused, reset, timed out, TLS).
        reason: the machine's word of `metav1.Status`, such as AlreadyExists, Conflict, NotFound, Expired.
        message: the text for people, with the request in front.
        retry_after: seconds that the server asked to wait; None when it did not.
    """

    def __init__(self, *, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{message} ({status} {reason})" if status else f"{message} ({reason})")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def unreachable(self) -> bool:
        """No answer came: the request may or may not have been carried out."""
        return self.status == UNREACHABLE

    @property
    def not_found(self) -> bool:
        """404."""
        return self.status == 404  # noqa: PLR2004 - HTTP

    @property
    def already_exists(self) -> bool:
        """A create met an object of that name."""
        return self.status == 409 and self.reason == "AlreadyExists"  # noqa: PLR2004 - HTTP

    @property
    def conflict(self) -> bool:
        """A precondition (resourceVersion, uid) did not hold."""
        return self.status == 409 and self.reason != "AlreadyExists"  # noqa: PLR2004 - HTTP

    @property
    def expired(self) -> bool:
        """410: the resourceVersion or continue token is too old; list again."""
        return self.status == 410 or self.reason in {"Expired", "Gone"}  # noqa: PLR2004 - HTTP

    @property
    def transient(self) -> bool:
        """It may pass by itself: no answer, too many requests, or the server's own fault."""
        return self.unreachable or self.status == 429 or self.status >= 500  # noqa: PLR2004 - HTTP
