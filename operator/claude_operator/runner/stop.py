"""Why a run ends before the agent has finished, and how everything that waits learns of it.

Many things may want the end at once: a cancel from the inbox, SIGTERM, the wall clock, a gateway that
has fenced this pod. The first one names the reason. Two of them also forbid to publish: a pod that is
told to go must not start a push that it cannot finish, and a fenced one has no right to.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Cause(StrEnum):
    """What ended the run."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    TERMINATED = "terminated"
    """SIGTERM: the pod is being deleted or evicted."""
    FENCED = "fenced"
    """The gateway serves this pod no more: a later claim, or a finished session."""
    GATEWAY_LOST = "gateway-lost"
    MODEL_AUTH = "model-auth"
    """The model's API refuses the credentials; retrying only costs minutes."""


REASONS = {
    Cause.CANCEL: Reason.CANCELLED,
    Cause.TIMEOUT: Reason.TIMEOUT,
    # Nothing in the pod knows why it was told to stop; who told it does. An eviction is the one case
    # in which nobody else wrote a reason down.
    Cause.TERMINATED: Reason.EVICTED,
    Cause.FENCED: Reason.CLAIM_REFUSED,
    Cause.GATEWAY_LOST: Reason.GATEWAY_UNAVAILABLE,
    Cause.MODEL_AUTH: Reason.MODEL_AUTH_FAILED,
}

_HALTING = frozenset({Cause.TERMINATED, Cause.FENCED})


class StoppedError(Exception):
    """What was being waited for is not worth waiting for any more."""


class Stop:
    """The end that somebody has asked for, if anybody has."""

    def __init__(self) -> None:
        self._cause: Cause | None = None
        self._message = ""
        self._terminated = False
        self._requested = asyncio.Event()
        self._halted = asyncio.Event()

    def request(self, cause: Cause, message: str) -> None:
        """End the run. The first cause stands; a later one can still forbid to publish."""
        if self._cause is None:
            self._cause, self._message = cause, message
        if cause is Cause.TERMINATED:
            self._terminated = True
        if cause in _HALTING:
            self._halted.set()
        self._requested.set()

    @property
    def cause(self) -> Cause | None:
        """The first cause; None while nobody wants the end."""
        return self._cause

    @property
    def message(self) -> str:
        """What the first cause said."""
        return self._message

    @property
    def terminated(self) -> bool:
        """Whether SIGTERM has come, first or later."""
        return self._terminated

    @property
    def halted(self) -> bool:
        """Whether nothing may be published any more."""
        return self._halted.is_set()

    async def wait(self) -> None:
        """Return once somebody wants the end; its bound is the run's own wall clock."""
        await self._requested.wait()

    async def guard(self, work: Coroutine[None, None, T]) -> T:
        """The result of `work`, which is cancelled as soon as anybody wants the end.

        Raises:
            StoppedError: somebody wanted it before `work` was done.
        """
        return await _until(self._requested, work)

    async def guard_publishing(self, work: Coroutine[None, None, T]) -> T:
        """As `guard`, but only for the causes that forbid to publish.

        Raises:
            StoppedError: one of them came before `work` was done.
        """
        return await _until(self._halted, work)


async def _until(event: asyncio.Event, work: Coroutine[None, None, T]) -> T:
    if event.is_set():
        work.close()
        raise StoppedError
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise StoppedError
        return working.result()
    finally:
        waiting.cancel()
        working.cancel()
        # Let the work undo what it holds (processes, files) before anybody goes on.
        await asyncio.gather(waiting, working, return_exceptions=True)
