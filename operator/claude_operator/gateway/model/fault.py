"""The model API's refusals, in our words or in its own made harmless. Pure.

Claude Code reacts to some of them by their text (a prompt that is too long is compacted), so a 4xx keeps
type and message; everything else gets a short text of ours. 401 becomes 403: the CLI would retry a 401 for
three minutes, and no retry mends a wrong key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claude_operator.gateway.scrub import Scrubber

_TYPES: Final = {
    400: "invalid_request_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "permission_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_MOST_MESSAGE: Final = 2000
RESPONSE_HEADERS: Final = frozenset({"request-id", "retry-after", "x-should-retry"})
_RATE_LIMIT: Final = "anthropic-ratelimit-"


@dataclass(frozen=True, slots=True)
class Fault:
    """How a refused request is answered and judged."""

    status: int
    reason: Reason
    message: str

    def body(self) -> bytes:
        """The Messages API's error object."""
        return error_body(self.status, self.message, self.reason)


def error_type(status: int) -> str:
    """The Messages API's name for a status."""
    return _TYPES.get(status, "api_error")


def error_body(status: int, message: str, reason: str = "") -> bytes:
    """The Messages API's error object."""
    error = {"type": error_type(status), "message": message}
    if reason:
        error["reason"] = reason
    return orjson.dumps({"type": "error", "error": error})


def explain(status: int, body: bytes, *, secret: str, scrub: Scrubber) -> Fault:
    """What an upstream's status other than 200 comes to."""
    said = scrub.text(_message(body))
    match status:
        case 401 | 403:
            return Fault(
                403,
                Reason.MODEL_AUTH_FAILED,
                f"the model's API refuses the key in Secret {secret} ({status}: {said})",
            )
        case 429 | 529:
            return Fault(status, Reason.MODEL_OVERLOADED, f"the model's API is overloaded ({status}: {said})")
        case _ if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            return Fault(
                502,
                Reason.MODEL_REFUSED,
                f"the model's API answers with a redirect ({status}): correct upstreamURL",
            )
        case _ if status >= 500:  # noqa: PLR2004 - HTTP
            return Fault(status, Reason.MODEL_OVERLOADED, f"the model's API failed ({status}: {said})")
        case _:
            return Fault(status, Reason.MODEL_REFUSED, said)


def _message(body: bytes) -> str:
    try:
        error = orjson.loads(body)["error"]
        return str(error["message"])[:_MOST_MESSAGE]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        # A proxy's HTML page: worth nothing to the CLI, and it could hold anything.
        return "no readable error"


def response_headers(headers: Mapping[str, str], scrub: Scrubber) -> dict[str, str]:
    """The upstream's headers that are passed on."""
    return scrub.headers(
        {
            name: value
            for name, value in headers.items()
            if name.lower() in RESPONSE_HEADERS or name.lower().startswith(_RATE_LIMIT)
        }
    )
