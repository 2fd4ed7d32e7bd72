"""The one error of a run: it carries the reason that will stand in the session's status."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claude_operator.resources.lifecycle import Reason


class RunError(Exception):
    """The run cannot go on; `reason` and `message` are what its user will read."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
