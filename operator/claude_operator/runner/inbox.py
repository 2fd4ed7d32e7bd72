"""What people and clients want of the running agent: messages, an interrupt, a cancel.

The gateway holds each request until there is something, so a cancel arrives at once and costs one
request a minute while there is none. An item is handed on once, by its number, however often it is
delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from claude_operator.runner.gateway import GatewayRefusedError, GatewayUnavailableError

if TYPE_CHECKING:
    from claude_operator.runner.gateway import Gateway
    from claude_operator.wire.session import InboxItem

POLL_SECONDS = 30
_PAUSE_SECONDS = 1.0


Handler = Callable[["InboxItem"], Awaitable[None]]


class Inbox:
    """The one reader of the inbox. A cancel takes effect at any time; the rest waits for the agent."""

    def __init__(
        self, gateway: Gateway, *, cancelled: Callable[[str], None], fenced: Callable[[str], None]
    ) -> None:
        self._gateway = gateway
        self._cancelled = cancelled
        self._fenced = fenced
        self._handler: Handler | None = None
        self._waiting: list[InboxItem] = []
        self._last = 0
        self._handling = asyncio.Lock()

    async def attach(self, handler: Handler) -> None:
        """From now on messages and interrupts go to `handler`, those that came before the agent first."""
        async with self._handling:
            self._handler = handler
            for item in self._waiting:
                await handler(item)
            self._waiting.clear()

    def detach(self) -> None:
        """The agent has ended: what comes now finds nobody."""
        self._handler = None

    async def run(self) -> None:
        """Ask until cancelled, or until the gateway serves this pod no more."""
        while True:
            try:
                await self._ask(wait=POLL_SECONDS)
            except GatewayRefusedError as error:
                if error.fenced:
                    self._fenced(error.message)
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
            except GatewayUnavailableError:
                # Events and the forwarder decide when a gateway is lost; here it is only asked again.
                await asyncio.sleep(_PAUSE_SECONDS)

    async def look(self, within: float) -> None:
        """Handle what is there now; used before a run ends, so that nothing that came in time is lost."""
        try:
            async with asyncio.timeout(within):
                await self._ask(wait=0)
        except (TimeoutError, GatewayUnavailableError, GatewayRefusedError):
            return  # `run` meets the same trouble and reports it

    async def _ask(self, *, wait: int) -> None:
        inbox = await self._gateway.inbox(after=self._last, wait=wait)
        async with self._handling:
            for item in inbox.items:
                # Two requests can be under way at once (`look`), and bring the same item.
                if item.id > self._last:
                    self._last = item.id
                    await self._hand_on(item)

    async def _hand_on(self, item: InboxItem) -> None:
        if item.kind == "cancel":
            self._cancelled(item.text or "cancelled on request")
        elif self._handler is not None:
            await self._handler(item)
        elif item.kind == "message":
            self._waiting.append(item)  # an interrupt of an agent that does not run yet means nothing
