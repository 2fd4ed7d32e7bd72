"""Jobs and Pods of sessions, as our own list-watch brings them: a tenth of kopf's price per event."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from claude_operator.engine.views import job_view, pod_view, session_uid
from claude_operator.kube.kinds import JOBS, PODS
from claude_operator.kube.listwatch import Change, ListWatch
from claude_operator.kube.request import Selection
from claude_operator.resources.identity import LABEL_SESSION_NAME, LABEL_SESSION_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from claude_operator.controller.cache import Cache
    from claude_operator.kube.client import KubeClient
    from claude_operator.kube.listwatch import WatchEvent


class ChildInformer:
    """Fills the cache with everything that carries the label of a session."""

    def __init__(
        self, cache: Cache, client: KubeClient, *, namespaces: Collection[str], silence: float
    ) -> None:
        self._cache = cache
        chosen: list[str | None] = list(namespaces) or [None]
        self._watches: list[tuple[ListWatch, Callable[[WatchEvent], None]]] = []
        for namespace in chosen:
            for kind, put in ((JOBS, self._put_job), (PODS, self._put_pod)):
                selection = Selection(kind, namespace, label_selector=LABEL_SESSION_UID)
                self._watches.append((ListWatch(client, selection, inactivity=silence), put))

    @property
    def synced(self) -> bool:
        """Whether all of them have been listed once."""
        return all(watch.synced.is_set() for watch, _ in self._watches)

    @property
    def silence(self) -> float:
        """Seconds since the quietest watch gave its last sign of life."""
        return time.monotonic() - min(watch.last_seen for watch, _ in self._watches)

    async def run(self) -> None:
        """Follow, for ever."""
        async with asyncio.TaskGroup() as group:
            for watch, put in self._watches:
                group.create_task(self._follow(watch, put))

    async def _follow(self, watch: ListWatch, put: Callable[[WatchEvent], None]) -> None:
        async for event in watch.events():
            put(event)

    def _put_job(self, event: WatchEvent) -> None:
        item = event.object
        metadata, owner = item["metadata"], session_uid(item)
        if event.change is Change.DELETED:
            self._cache.lose_job(owner, metadata["uid"])
            return
        view = job_view(item)
        if view is not None:
            home = (metadata["namespace"], metadata["labels"].get(LABEL_SESSION_NAME, ""))
            self._cache.see_job(owner, home, metadata["resourceVersion"], view)

    def _put_pod(self, event: WatchEvent) -> None:
        item = event.object
        metadata, owner = item["metadata"], session_uid(item)
        if event.change is Change.DELETED:
            self._cache.lose_pod(owner, metadata["uid"])
            return
        view = pod_view(item)
        if view is not None:
            self._cache.see_pod(owner, metadata["resourceVersion"], view)
