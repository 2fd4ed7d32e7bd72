"""The one exception with which a request is refused, and its JSON form.

Every refusal names what was refused and what to do about it. Handlers raise it; one middleware per port
turns it into the body that the port's clients understand (ErrorBody, or the Messages API's error object).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.wire.message import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Mapping


_MOST_MESSAGE = 2000


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of the program
    """A request that is answered with a status from 400 up.

    Args:
        status: the HTTP status.
        reason: one CamelCase word for machines; a `Reason` where one fits.
        message: what was refused, and what to do about it.
        headers: added to the answer.
    """

    def __init__(
        self, status: int, reason: Reason | str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = str(reason)
        # Parts of a request are quoted in it; it goes into journal, verdict and answer.
        self.message = message[:_MOST_MESSAGE]
        self.headers = dict(headers or {})

    def body(self) -> ErrorBody:
        """The JSON body of the answer."""
        return ErrorBody(reason=self.reason, message=self.message)


class StoreUnavailableError(Exception):
    """The database cannot take or give data now (full, locked, unreachable); the text is its own."""


def unavailable(message: str) -> Refusal:
    """503: nothing is wrong with the request; whoever sent it tries again."""
    return Refusal(503, Reason.GATEWAY_UNAVAILABLE, message, headers={"Retry-After": "1"})


def claim_refused(message: str, *, status: int = 403) -> Refusal:
    """The pod is not, or no longer, the one that may act for its session."""
    return Refusal(status, Reason.CLAIM_REFUSED, message)
