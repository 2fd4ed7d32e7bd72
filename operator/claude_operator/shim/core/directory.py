"""Every session, by the ids that clients know: what get and list are answered from.

A list-watch of all ClaudeSessions, finished ones too, keeps frozen views. It only moves forward: an event
older than what is known is ignored, and the answer to an own write goes in like an event, so a client reads
its own writes. A session and its continuations are one *thread*: one id, one entry in lists, the latest of
them speaks for it.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Final

from claude_operator.kube.kinds import SESSIONS
from claude_operator.kube.listwatch import Change, ListWatch
from claude_operator.kube.request import Selection
from claude_operator.resources.lifecycle import FINAL_PHASES, Phase
from claude_operator.shim.core.view import SessionView, session_view

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from claude_operator.kube.client import KubeClient
    from claude_operator.kube.listwatch import WatchEvent

_REMEMBERED: Final = 10_000
"""uids of deleted sessions: the answer to a create can be slower than the event of its deletion."""
_DURATIONS: Final = 200
"""Successful sessions of a type that its median duration is taken from."""
_RECENT: Final = 500
_FEWEST: Final = 3
"""Below so many a median says nothing."""

Name = tuple[str, str]
"""Namespace and name, or namespace and id."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A session with its continuations, in order; never empty."""

    views: tuple[SessionView, ...]

    @property
    def first(self) -> SessionView:
        """The oldest that still exists."""
        return self.views[0]

    @property
    def latest(self) -> SessionView:
        """The one that speaks for all."""
        return self.views[-1]

    @property
    def order(self) -> tuple[str, str, str]:
        """Where it stands in lists: by age."""
        return self.first.created, self.first.id, self.first.namespace


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a session waits for."""

    ids: tuple[str, ...]
    estimated_start: float | None
    """Unix time at which the last of them should end, from the median duration of its type; None: not all
    of them run, one is overdue, or too few sessions of its type have succeeded."""


class Directory:
    """Threads by id; pure bookkeeping, fed by `follow`."""

    def __init__(self) -> None:
        self._views: dict[Name, SessionView] = {}
        self._threads: dict[Name, Thread] = {}
        self._order: list[tuple[str, str, str]] = []
        self._dependents: defaultdict[Name, set[str]] = defaultdict(set)
        self._durations: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_DURATIONS))
        self._gone: OrderedDict[str, None] = OrderedDict()

    # Reading.

    def find(self, namespaces: Iterable[str], session_id: str) -> Thread | None:
        """The thread with this id; of the first namespace that has one."""
        for namespace in namespaces:
            thread = self._threads.get((namespace, session_id.lower()))
            if thread is not None:
                return thread
        return None

    def named(self, namespace: str, name: str) -> SessionView | None:
        """The session of that name."""
        return self._views.get((namespace, name))

    def newest_first(self, before: tuple[str, str, str] | None = None) -> Iterator[Thread]:
        """All threads that stand before a place in the order; it must not be kept over a change."""
        index = len(self._order) if before is None else bisect_left(self._order, before)
        for position in range(index - 1, -1, -1):
            _, session_id, namespace = self._order[position]
            yield self._threads[namespace, session_id]

    def __len__(self) -> int:
        return len(self._threads)

    def phases(self) -> dict[Phase, int]:
        """How many sessions stand where."""
        counts = dict.fromkeys(Phase, 0)
        for view in self._views.values():
            counts[view.phase] += 1
        return counts

    def newest(self, wanted: Callable[[SessionView], bool]) -> SessionView | None:
        """The newest session of that kind, among the last few hundred."""
        recent = islice(self.newest_first(), _RECENT)
        return next((one.latest for one in recent if wanted(one.latest)), None)

    def dependencies_of(self, namespace: str) -> Callable[[str], Iterable[str]]:
        """Down the graph of a namespace, by name."""

        def look(name: str) -> Iterable[str]:
            view = self._views.get((namespace, name))
            return view.dependencies if view is not None else ()

        return look

    def dependents_of(self, namespace: str) -> Callable[[str], Iterable[str]]:
        """Up the graph of a namespace, by name."""
        return lambda name: tuple(self._dependents.get((namespace, name), ()))

    def waiting(self, view: SessionView, *, now: float | None = None) -> Waiting | None:
        """The dependencies that hold an unstarted session back; None: none does."""
        if view.final or view.phase in {Phase.STARTING, Phase.RUNNING, Phase.QUEUED, Phase.PAUSED}:
            return None
        unmet = [
            (name, found)
            for name in view.dependencies
            if (found := self._views.get((view.namespace, name))) is None or not found.final
        ]
        if not unmet:
            return None
        moment = time.time() if now is None else now
        ends = [self._expected_end(found, moment) for _, found in unmet]
        known = [end for end in ends if end is not None]
        return Waiting(
            ids=tuple(found.id if found is not None else name for name, found in unmet),
            estimated_start=max(known) if len(known) == len(ends) else None,
        )

    def _expected_end(self, view: SessionView | None, now: float) -> float | None:
        if view is None or view.phase is not Phase.RUNNING or view.started is None:
            return None
        durations = self._durations.get(view.type, ())
        if len(durations) < _FEWEST:
            return None
        end = _unix(view.started) + median(durations)
        return end if end > now else None

    # Changing.

    def see(self, view: SessionView) -> None:
        """A session as an event, a read or the answer to a write shows it."""
        key = view.namespace, view.name
        before = self._views.get(key)
        if view.uid in self._gone or (before is not None and before.version >= view.version):
            return
        if before is not None and before.uid != view.uid:
            # Deleted and made anew before its deletion was seen.
            self.lose(before.namespace, before.name, before.uid)
            before = None
        if before is not None and before.id != view.id:
            # Somebody has changed its label.
            self._leave_thread(before)
        self._views[key] = view
        self._note_duration(before, view)
        for name in view.dependencies if before is None else ():
            self._dependents[view.namespace, name].add(view.name)
        thread = self._threads.get((view.namespace, view.id))
        others = [one for one in thread.views if one.uid != view.uid] if thread is not None else []
        self._put(view.namespace, view.id, [*others, view])

    def lose(self, namespace: str, name: str, uid: str) -> None:
        """A session was deleted."""
        self._gone[uid] = None
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        view = self._views.get((namespace, name))
        if view is None or view.uid != uid:
            return
        del self._views[namespace, name]
        for dependency in view.dependencies:
            dependents = self._dependents[namespace, dependency]
            dependents.discard(name)
            if not dependents:
                del self._dependents[namespace, dependency]
        self._leave_thread(view)

    def _leave_thread(self, view: SessionView) -> None:
        thread = self._threads[view.namespace, view.id]
        self._put(view.namespace, view.id, [one for one in thread.views if one.uid != view.uid])

    def _put(self, namespace: str, session_id: str, views: list[SessionView]) -> None:
        key = namespace, session_id
        before = self._threads.pop(key, None)
        after = Thread(tuple(sorted(views, key=lambda one: one.continuation))) if views else None
        if after is not None:
            self._threads[key] = after
        old = before.order if before is not None else None
        new = after.order if after is not None else None
        if old == new:
            return
        if old is not None:
            del self._order[bisect_left(self._order, old)]
        if new is not None:
            insort(self._order, new)

    def _note_duration(self, before: SessionView | None, after: SessionView) -> None:
        ended = after.phase is Phase.SUCCEEDED and (before is None or before.phase not in FINAL_PHASES)
        if ended and after.started is not None and after.finished is not None:
            self._durations[after.type].append(_unix(after.finished) - _unix(after.started))


class Follower:
    """The list-watch that feeds a directory."""

    def __init__(self, directory: Directory, client: KubeClient, *, namespaces: Collection[str]) -> None:
        self._directory = directory
        chosen: list[str | None] = list(namespaces) or [None]
        self._watches = [ListWatch(client, Selection(SESSIONS, namespace)) for namespace in chosen]

    @property
    def synced(self) -> bool:
        """Whether every session has been listed once."""
        return all(watch.synced.is_set() for watch in self._watches)

    @property
    def silence(self) -> float:
        """Seconds since the quietest watch gave its last sign of life."""
        return time.monotonic() - min(watch.last_seen for watch in self._watches)

    async def listed(self) -> None:
        """Until that is so."""
        for watch in self._watches:
            await watch.synced.wait()

    async def run(self) -> None:
        """Follow, for ever.

        Raises:
            ApiError: in an exception group; the server refuses this reader for good.
        """
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(self._follow(watch))

    async def _follow(self, watch: ListWatch) -> None:
        async for event in watch.events():
            self._put(event)

    def _put(self, event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if event.change is Change.DELETED:
            self._directory.lose(metadata["namespace"], metadata["name"], metadata["uid"])
        else:
            self._directory.see(session_view(event.object))


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
