"""Mark and sweep: what the watches can't tell.

kopf does not report objects that were deleted while its watch was down, so what is cached is compared with a
list of metadata: after every new list of kopf's, and every quarter of an hour. The first comparison, at
the start, also tells when kopf has delivered everything. And finished sessions, which no watch shows, are
deleted when their time to live is over.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from claude_operator.controller.source import UNFINISHED
from claude_operator.engine.views import parse_time, project_view, session_view
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import PROJECTS, SESSIONS
from claude_operator.kube.request import Selection
from claude_operator.resources.lifecycle import FINAL_PHASES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from claude_operator.controller.cache import Cache, Name
    from claude_operator.controller.source import SessionSource
    from claude_operator.engine.observation import Session
    from claude_operator.kube.client import KubeClient

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 900.0
SETTLE_SECONDS: Final = 5.0
"""After a list of kopf's: a long one comes in pages, one sweep at its end is enough."""
TTL_EVERY_SECONDS: Final = 1800.0
"""Sessions that finish while this process runs are deleted on time; this finds the others."""
TTL_FIRST_SECONDS: Final = 60.0
"""A start has better things to do than to list all that ever finished."""
_DELIVERY_SECONDS: Final = 30.0
_PROJECTS_SECONDS: Final = 2.0
"""Shorter: nothing is decided meanwhile, and reading the few that are missing costs little."""
_DELIVERY_PAUSE: Final = 0.02
_RETRY_SECONDS: Final = 10.0


class Sweeper:
    """Compares the cache with the cluster.

    Attributes:
        projects_synced: every project of the first list has been delivered, or was read.
        sessions_synced: likewise every unfinished session.
    """

    def __init__(
        self, *, cache: Cache, client: KubeClient, source: SessionSource, namespaces: Collection[str]
    ) -> None:
        self.projects_synced = False
        self.sessions_synced = False
        self._cache = cache
        self._client = client
        self._source = source
        self._namespaces: list[str | None] = list(namespaces) or [None]

    async def run(self) -> None:
        """Sweep, for ever."""
        await self._until_done(self._first_projects)
        await self._until_done(self._first)
        while True:
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._source.listed.wait()
                await asyncio.sleep(SETTLE_SECONDS)
            except TimeoutError:
                pass  # nothing was listed anew: the regular sweep
            self._source.listed.clear()
            await self._until_done(self.sweep)

    async def _until_done(self, step: Callable[[], Any]) -> None:
        while True:
            try:
                await step()
            except ApiError as error:
                log.warning(
                    "the comparison with the cluster failed, again in %.0f s: %s", _RETRY_SECONDS, error
                )
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _first_projects(self) -> None:
        """As below, and before: they are few, and no session is decided on without its project."""
        loop = asyncio.get_running_loop()
        missing = [name async for name in self._list_projects()]
        deadline = loop.time() + _PROJECTS_SECONDS
        while loop.time() < deadline and missing:
            missing = [name for name in missing if self._cache.project(name) is None]
            await asyncio.sleep(_DELIVERY_PAUSE)
        for namespace, name in missing:
            try:
                item = await self._client.get(PROJECTS, name, namespace=namespace)
            except ApiError as error:
                if not error.not_found:
                    raise
                continue
            self._cache.see_project(
                (namespace, name), item["metadata"]["resourceVersion"], project_view(item)
            )
        self.projects_synced = True

    async def _first(self) -> None:
        """Wait until kopf has delivered what there is; read what it has not."""
        loop = asyncio.get_running_loop()
        expected = {uid: name async for uid, name in self._list_sessions()}
        deadline = loop.time() + _DELIVERY_SECONDS
        missing = expected
        while loop.time() < deadline and missing:
            missing = {uid: name for uid, name in missing.items() if self._is_missing(uid, name)}
            await asyncio.sleep(_DELIVERY_PAUSE)
        await self._read_missing(missing)
        self.sessions_synced = True
        self._source.listed.clear()

    async def sweep(self) -> None:
        """Drop what the cluster no longer has, read what the watch has not brought."""
        cached = dict(self._cache.sessions())
        present = {uid: name async for uid, name in self._list_sessions()}
        for uid in cached.keys() - present.keys():
            # Not in the list, though cached before it was asked for: it finished or was deleted.
            log.warning("session %s left the watch unnoticed", uid)
            self._cache.lose_session(uid)
        await self._read_missing(present)
        await self._sweep_projects()
        self._cache.prune()

    def _is_missing(self, uid: str, name: Name) -> bool:
        if self._cache.session(uid) is not None or self._cache.is_gone(uid):
            return False
        ended = self._cache.ended(name)
        return ended is None or ended.uid != uid

    async def _read_missing(self, present: dict[str, Name]) -> None:
        for uid, (namespace, name) in present.items():
            if not self._is_missing(uid, (namespace, name)):
                continue
            try:
                item = await self._client.get(SESSIONS, name, namespace=namespace)
            except ApiError as error:
                if not error.not_found:
                    raise
                continue
            view = session_view(item)
            if not view.status.phase.final:
                log.warning("session %s/%s was not brought by the watch", namespace, name)
            self._cache.see_session(view)

    async def _list_sessions(self) -> AsyncIterator[tuple[str, Name]]:
        for namespace in self._namespaces:
            selection = Selection(SESSIONS, namespace, field_selector=UNFINISHED)
            async for page in self._client.pages(selection, metadata_only=True):
                for item in page.items:
                    metadata = item["metadata"]
                    yield metadata["uid"], (metadata["namespace"], metadata["name"])

    async def _list_projects(self) -> AsyncIterator[Name]:
        for namespace in self._namespaces:
            async for page in self._client.pages(Selection(PROJECTS, namespace), metadata_only=True):
                for item in page.items:
                    yield item["metadata"]["namespace"], item["metadata"]["name"]

    async def _sweep_projects(self) -> None:
        cached = dict(self._cache.projects())
        async for present in self._list_projects():
            cached.pop(present, None)
        for name, version in cached.items():
            self._cache.lose_project(name, str(version))


class Reaper:
    """Deletes finished sessions whose time to live is over."""

    def __init__(self, *, cache: Cache, client: KubeClient, namespaces: Collection[str]) -> None:
        self._cache = cache
        self._client = client
        self._namespaces: list[str | None] = list(namespaces) or [None]
        self._due: list[tuple[datetime, str, Name]] = []
        """A heap of due time, uid, name."""
        self._changed = asyncio.Event()

    def expire(self, session: Session) -> None:
        """A finished session, seen or written just now: remember when it is due, if ever."""
        seconds, end = self._ttl(session), session.status.completion_time
        if seconds is None or end is None:
            return
        due = parse_time(end) + timedelta(seconds=seconds)
        if due - datetime.now(UTC) > timedelta(seconds=2 * TTL_EVERY_SECONDS):
            return  # a later list finds it; a year of them is not kept in memory
        heapq.heappush(self._due, (due, session.uid, (session.namespace, session.name)))
        self._changed.set()

    async def run(self) -> None:
        """Delete what is due, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._list_for_ever())
            group.create_task(self._delete_for_ever())

    async def _list_for_ever(self) -> None:
        await asyncio.sleep(TTL_FIRST_SECONDS)
        while True:
            try:
                await self._list()
            except ApiError as error:
                log.warning("finished sessions could not be listed: %s", error)
            await asyncio.sleep(TTL_EVERY_SECONDS)

    async def _list(self) -> None:
        known = {uid for _, uid, _ in self._due}
        for namespace in self._namespaces:
            for phase in sorted(FINAL_PHASES):
                selection = Selection(SESSIONS, namespace, field_selector=f"status.phase={phase}")
                async for page in self._client.pages(selection):
                    for item in page.items:
                        if (
                            item["metadata"]["uid"] not in known
                            and "deletionTimestamp" not in item["metadata"]
                        ):
                            self.expire(session_view(item))

    async def _delete_for_ever(self) -> None:
        while True:
            self._changed.clear()
            pause = (self._due[0][0] - datetime.now(UTC)).total_seconds() if self._due else None
            if pause is None or pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    pass  # the first one is due
                continue
            await self._delete(*heapq.heappop(self._due))

    async def _delete(self, due: datetime, uid: str, name: Name) -> None:
        # The ttl can have been changed since: it is one of the mutable fields.
        try:
            current = session_view(await self._client.get(SESSIONS, name[1], namespace=name[0]))
            if current.uid != uid:
                return
            seconds, end = self._ttl(current), current.status.completion_time
            if seconds is None or end is None:
                return
            if parse_time(end) + timedelta(seconds=seconds) > due:
                self.expire(current)
                return
            await self._client.delete(SESSIONS, name[1], namespace=name[0], uid=uid)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                log.warning("%s/%s could not be deleted after its time to live: %s", *name, error)

    def _ttl(self, session: Session) -> int | None:
        intent = session.intent
        if intent is not None and intent.ttl_seconds_after_finished is not None:
            return intent.ttl_seconds_after_finished
        project = self._cache.project((session.namespace, intent.project)) if intent is not None else None
        if project is None or project.spec is None or project.spec.defaults is None:
            return None
        return project.spec.defaults.ttl_seconds_after_finished
