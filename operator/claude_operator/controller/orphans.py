"""Sessions that were deleted while no controller ran: the gateway alone still knows of them.

Their Jobs and pods are gone with them, so nothing in the cluster tells. But their claims would stay open at
the gateway: their tokens good, their branches locked. One question at the start finds them; later the cache
sees every deletion.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from claude_operator.controller.queue import Again
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import SESSIONS
from claude_operator.record.gateway import GatewayUnavailable
from claude_operator.resources.session import SessionType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from claude_operator.controller.cache import Cache, Name
    from claude_operator.kube.client import KubeClient
    from claude_operator.record.gateway import Gateway

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 10.0


class Orphans:
    """Reports what was deleted unseen."""

    def __init__(
        self,
        *,
        cache: Cache,
        client: KubeClient,
        gateway: Gateway,
        namespaces: Collection[str],
        void: Callable[[Name, str, SessionType], Awaitable[None]],
    ) -> None:
        self._cache = cache
        self._client = client
        self._gateway = gateway
        self._namespaces = namespaces
        self._void = void

    async def run(self) -> None:
        """Look until it has succeeded once."""
        while True:
            try:
                await self._look()
            except (ApiError, GatewayUnavailable, Again) as error:
                log.warning("deleted sessions could not be looked for, again later: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _look(self) -> None:
        for known in await self._gateway.unfinished():
            if self._namespaces and known.namespace not in self._namespaces:
                continue
            name = (known.namespace, known.name)
            if self._cache.session(known.uid) is None and not await self._exists(name, known.uid):
                log.info("%s/%s was deleted while nobody looked", *name)
                # Its type went with it; nobody can depend on a session that was deleted.
                await self._void(name, known.uid, SessionType.IMPLEMENTATION)

    async def _exists(self, name: Name, uid: str) -> bool:
        try:
            item = await self._client.get(SESSIONS, name[1], namespace=name[0])
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return bool(item["metadata"]["uid"] == uid)
