"""Sessions and projects, as kopf's watches bring them; the only module that imports kopf.

kopf serves as event source and nothing else: `on.event` handlers that put a view into the cache. Everything
of it that writes (annotations, finalizers, progress, Events, peering) is switched off or not used, and
`run_tasks` is not called, since it cancels every task of the process when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, cast

import kopf
from typing_extensions import override

from claude_operator.engine.views import project_view, session_view
from claude_operator.kube.transport import open_session
from claude_operator.resources.identity import GROUP, PROJECT_PLURAL, SESSION_PLURAL, VERSION
from claude_operator.resources.lifecycle import FINAL_PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from claude_operator.controller.cache import Cache
    from claude_operator.kube.config import ClusterConfig

log = logging.getLogger(__name__)

UNFINISHED: Final = ",".join(sorted(f"status.phase!={phase}" for phase in FINAL_PHASES))
"""The field selector of sessions: a restart costs what is unfinished, not what ever was."""
_PAGE: Final = 250
"""Objects in a page of the first list: what bounds the peak of memory."""
_IDLE_SECONDS: Final = 0.05
"""How long kopf keeps the queue of an object; its default of 5 s is a task per object in every burst."""


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last state: ours is level-triggered, and a deep copy of every body is its price."""

    @override
    def build(self, **_: Any) -> Any:
        return {}

    @override
    def fetch(self, **_: Any) -> None:
        return None

    @override
    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress: event handlers have none."""

    @override
    def fetch(self, **_: Any) -> None:
        return None

    @override
    def store(self, **_: Any) -> None:
        return None

    @override
    def purge(self, **_: Any) -> None:
        return None

    @override
    def touch(self, **_: Any) -> None:
        return None

    @override
    def clear(self, *, essence: Any) -> Any:
        return essence


class SessionSource:
    """The watches of ClaudeSessions and ClaudeProjects.

    Attributes:
        last_event: `time.monotonic()` of the last event.
        listed: raised for every object that came by a list; the sweep lowers it.
    """

    def __init__(
        self, cache: Cache, config: ClusterConfig, *, namespaces: Collection[str], silence: float
    ) -> None:
        self.last_event = time.monotonic()
        self.listed = asyncio.Event()
        self._cache = cache
        self._config = config
        self._namespaces = namespaces
        self._silence = silence

    async def run(self, *, started: Callable[[], None]) -> None:
        """Watch until cancelled.

        Args:
            started: called once kopf has put its signal handlers in the place of the process's own.

        Raises:
            RuntimeError: kopf stopped by itself; the process has to be restarted, it would be blind.
        """
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=_settings(self._silence),
            clusterwide=not self._namespaces,
            namespaces=list(self._namespaces),
            standalone=True,
            # Of no use without peering, but kopf would ask for the user's name, which a uid without a passwd
            # entry does not have. (Its type is private.)
            identity=cast("Any", "claude-operator"),
        )
        started()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ended = done.pop()
            error = None if ended.cancelled() else ended.exception()
            raise RuntimeError(f"kopf's task {ended.get_name()!r} has ended: the watches are dead") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            # A session of its own, since kopf closes it; logged in like our client, token rotation included.
            return kopf.AiohttpSession(server=self._config.server, aiohttp_session=open_session(self._config))

        @kopf.on.event(GROUP, VERSION, SESSION_PLURAL, registry=registry)
        async def session_event(event: Any, **_: Any) -> None:
            self.see_session(event["type"], event["object"])

        @kopf.on.event(GROUP, VERSION, PROJECT_PLURAL, registry=registry)
        async def project_event(event: Any, **_: Any) -> None:
            self.see_project(event["type"], event["object"])

        return registry

    def see_session(self, change: str | None, item: dict[str, Any]) -> None:
        """One event of a session; change None: it was listed."""
        self._note(change)
        metadata = item["metadata"]
        if change == "DELETED":
            self._cache.lose_session(metadata["uid"])
        elif not self._cache.knows(metadata["uid"], metadata["resourceVersion"]):
            self._cache.see_session(session_view(item))

    def see_project(self, change: str | None, item: dict[str, Any]) -> None:
        """One event of a project; change None: it was listed."""
        self._note(change)
        metadata = item["metadata"]
        name, version = (metadata["namespace"], metadata["name"]), metadata["resourceVersion"]
        if change == "DELETED":
            self._cache.lose_project(name, version)
        else:
            self._cache.see_project(name, version, project_view(item))

    def _note(self, change: str | None) -> None:
        self.last_event = time.monotonic()
        if change is None:
            self.listed.set()


def _settings(silence: float) -> kopf.OperatorSettings:
    # kopf says "succeeded" at INFO for every single event.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.watching.chunk_size = _PAGE
    # A connection that is half open says nothing for ever; a live one has a bookmark every minute.
    settings.watching.inactivity_timeout = silence
    settings.watching.field_selectors[f"{SESSION_PLURAL}.{GROUP}"] = UNFINISHED
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    # It would kill this process with SIGKILL ten minutes after its own end, whatever still runs.
    settings.process.ultimate_exiting_timeout = None
    return settings
