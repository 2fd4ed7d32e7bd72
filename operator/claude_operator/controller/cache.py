"""What this process knows of the cluster: frozen views, by session.

It only moves forward: an event older than what is cached of the same object is ignored, and the answer to an
own write goes in like an event, so no key is ever decided on a view older than the last write to it. Each
change wakes the sessions that it concerns: the owner of a Job or Pod, the sessions of a project, those
that wait for a dependency. A change without meaning for us wakes nobody.

Pure bookkeeping: no I/O, no clock. resourceVersions are compared as numbers, which Kubernetes guarantees
within one resource (KEP-5504).
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from claude_operator.engine.status import current_reason
from claude_operator.resources.condition import ConditionType
from claude_operator.resources.lifecycle import Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from claude_operator.engine.observation import Job, Pod, Project, Session

REMEMBERED: Final = 20_000
"""Ended sessions whose outcome is kept at hand, and uids of deleted objects."""

Name = tuple[str, str]
"""Namespace and name."""

_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended: what its dependents need."""

    uid: str
    phase: Phase
    reason: Reason | None
    message: str
    dependencies: tuple[str, ...] = ()
    """Of one that failed because of a cycle: its other members have to find the same cycle."""


@dataclass(frozen=True, slots=True)
class _Versioned(Generic[_V]):
    version: int
    view: _V


class Cache:
    """Sessions that are not finished, with all that belongs to them."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._sessions: dict[str, _Versioned[Session]] = {}
        self._by_name: dict[Name, str] = {}
        self._departed: dict[str, Session] = {}
        self._stale: dict[str, int] = {}
        self._ended: OrderedDict[Name, Ended] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._waiters: defaultdict[Name, set[str]] = defaultdict(set)
        self._projects: dict[Name, _Versioned[Project]] = {}
        self._of_project: defaultdict[Name, set[str]] = defaultdict(set)
        self._jobs: defaultdict[str, dict[str, _Versioned[Job]]] = defaultdict(dict)
        self._pods: defaultdict[str, dict[str, _Versioned[Pod]]] = defaultdict(dict)
        self._homes: dict[str, Name] = {}
        """Where the session of a cached Job is to be looked for, should it not be cached itself."""

    # Sessions.

    def session(self, uid: str) -> Session | None:
        """The session as last seen, unless it is finished or gone."""
        entry = self._sessions.get(uid)
        return entry.view if entry is not None else None

    def session_named(self, name: Name) -> Session | None:
        """Likewise by its name."""
        uid = self._by_name.get(name)
        return self.session(uid) if uid is not None else None

    def sessions(self) -> Iterator[tuple[str, int]]:
        """The uid and resourceVersion of every cached session."""
        return ((uid, entry.version) for uid, entry in self._sessions.items())

    def knows(self, uid: str, resource_version: str) -> bool:
        """Whether this state of it, or a later one, has been seen: reading it again is a waste."""
        entry = self._sessions.get(uid)
        return uid in self._gone or (entry is not None and int(resource_version) <= entry.version)

    def see_session(self, view: Session) -> None:
        """A session as an event, a read or the answer to a write shows it."""
        if not view.status.phase.final and self._departed.pop(view.uid, None) is not None:
            self._wake(view.uid)
        if self.knows(view.uid, view.resource_version):
            return
        name = (view.namespace, view.name)
        if view.status.phase.final:
            self._remember_end(view)
            return
        before = self.session(view.uid)
        self._sessions[view.uid] = _Versioned(int(view.resource_version), view)
        if before is None:
            self._enter(view, name)
        self._wake(view.uid)
        if before is None or before.status.phase is not view.status.phase:
            # Waiting sessions show the phases of what they wait for.
            self._wake_waiters(name)

    def lose_session(self, uid: str) -> None:
        """It left the watch: deleted, or finished; reconcile finds out which."""
        view = self.session(uid)
        if view is None:
            return
        self._departed[uid] = view
        self._wake(uid)

    def departed(self, uid: str) -> Session | None:
        """The last view of a session that left the watch, until it is settled what that meant."""
        return self._departed.get(uid)

    def forget_session(self, uid: str) -> None:
        """It is deleted, for certain."""
        self._departed.pop(uid, None)
        view = self.session(uid)
        _remember(self._gone, uid, None)
        if view is not None:
            self._leave(view)
            self._wake_waiters((view.namespace, view.name))

    def is_gone(self, uid: str) -> bool:
        """Whether it is known to be deleted."""
        return uid in self._gone

    def mark_stale(self, view: Session) -> None:
        """A write on this view met a conflict: there is a newer one, wait for it."""
        self._stale[view.uid] = int(view.resource_version)

    def is_stale(self, uid: str) -> bool:
        """Whether the cached view is known to be overtaken."""
        entry, stale = self._sessions.get(uid), self._stale.get(uid)
        return entry is not None and stale is not None and entry.version <= stale

    def accept(self, uid: str) -> None:
        """The cached view is the newest there is, whatever the conflict was about."""
        self._stale.pop(uid, None)

    def ended(self, name: Name) -> Ended | None:
        """The remembered end of the latest session of that name; an unfinished one hides it."""
        return self._ended.get(name)

    def remember_end(self, name: Name, ended: Ended) -> None:
        """Keep an end that was looked up elsewhere."""
        _remember(self._ended, name, ended)

    def _remember_end(self, view: Session) -> None:
        name = (view.namespace, view.name)
        reason = current_reason(view.status)
        ended = Ended(
            uid=view.uid,
            phase=view.status.phase,
            reason=Reason(reason) if reason in set(Reason) else None,
            message=_ready_message(view),
            dependencies=_dependencies(view) if reason == Reason.DEPENDENCY_CYCLE else (),
        )
        self._departed.pop(view.uid, None)
        known = self.session(view.uid)
        if known is not None:
            self._leave(known)
        self.remember_end(name, ended)
        self._wake_waiters(name)

    def _enter(self, view: Session, name: Name) -> None:
        older = self._by_name.get(name)
        self._by_name[name] = view.uid
        self._ended.pop(name, None)
        for dependency in _dependencies(view):
            self._waiters[view.namespace, dependency].add(view.uid)
        if view.intent is not None:
            self._of_project[view.namespace, view.intent.project].add(view.uid)
        if older is not None and older != view.uid:
            # Deleted and made anew before its deletion was seen.
            self.lose_session(older)

    def _leave(self, view: Session) -> None:
        name = (view.namespace, view.name)
        del self._sessions[view.uid]
        self._stale.pop(view.uid, None)
        if self._by_name.get(name) == view.uid:
            del self._by_name[name]
        for dependency in _dependencies(view):
            _discard(self._waiters, (view.namespace, dependency), view.uid)
        if view.intent is not None:
            _discard(self._of_project, (view.namespace, view.intent.project), view.uid)

    def _wake_waiters(self, name: Name) -> None:
        self._wake_all(self._waiters.get(name, ()))

    def _wake_all(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self._wake(uid)

    # Projects.

    def project(self, name: Name) -> Project | None:
        """The project as last seen."""
        entry = self._projects.get(name)
        return entry.view if entry is not None else None

    def see_project(self, name: Name, version: str, view: Project) -> None:
        """A project as an event shows it."""
        before = self._projects.get(name)
        if before is not None and int(version) <= before.version:
            return
        self._projects[name] = _Versioned(int(version), view)
        if before is None or before.view != view:
            self._wake_all(self._of_project.get(name, ()))

    def lose_project(self, name: Name, version: str) -> None:
        """It was deleted at that resourceVersion; a newer one of the same name stays."""
        before = self._projects.get(name)
        if before is not None and before.version <= int(version):
            del self._projects[name]
            self._wake_all(self._of_project.get(name, ()))

    def projects(self) -> Iterator[tuple[Name, int]]:
        """Name and resourceVersion of every cached project."""
        return ((name, entry.version) for name, entry in self._projects.items())

    # Jobs and Pods.

    def jobs(self, session_uid: str) -> tuple[Job, ...]:
        """All Jobs that carry the session's label."""
        return tuple(entry.view for entry in self._jobs.get(session_uid, {}).values())

    def pods(self, session_uid: str) -> tuple[Pod, ...]:
        """All Pods that carry the session's label."""
        return tuple(entry.view for entry in self._pods.get(session_uid, {}).values())

    def home(self, session_uid: str) -> Name | None:
        """Where a Job says that its session is."""
        return self._homes.get(session_uid)

    def owners(self) -> list[str]:
        """The uids of all sessions that have cached Jobs."""
        return list(self._jobs)

    def prune(self) -> None:
        """Drop what is left of ended sessions: their ended Jobs, and all their pods.

        Only once all unfinished sessions are cached: before, every session looks ended.
        """
        for uid in [uid for uid in self._jobs.keys() | self._pods.keys() if uid not in self._sessions]:
            if all(entry.view.end is not None for entry in self._jobs.get(uid, {}).values()):
                self._jobs.pop(uid, None)
                self._homes.pop(uid, None)
            self._pods.pop(uid, None)

    def see_job(self, session_uid: str, home: Name, version: str, view: Job) -> None:
        """A Job as an event, or the answer to its creation, shows it."""
        self._homes[session_uid] = home
        if self._see(self._jobs[session_uid], view.uid, int(version), view):
            self._wake(session_uid)

    def see_pod(self, session_uid: str, version: str, view: Pod) -> None:
        """A Pod as an event shows it."""
        if self._see(self._pods[session_uid], view.uid, int(version), view):
            self._wake(session_uid)

    def lose_job(self, session_uid: str, uid: str) -> None:
        """It was deleted."""
        self._lose(self._jobs, session_uid, uid)
        if session_uid not in self._jobs:
            self._homes.pop(session_uid, None)

    def job_deleting(self, session_uid: str, uid: str) -> None:
        """Our deletion of it was accepted; its events will say so too."""
        entry = self._jobs.get(session_uid, {}).get(uid)
        if entry is not None:
            self._jobs[session_uid][uid] = replace(entry, view=replace(entry.view, deleting=True))

    def lose_pod(self, session_uid: str, uid: str) -> None:
        """It was deleted."""
        self._lose(self._pods, session_uid, uid)

    def _see(self, known: dict[str, _Versioned[_V]], uid: str, version: int, view: _V) -> bool:
        if uid in self._gone:
            # The answer to a create can be slower than the event of its deletion.
            return False
        before = known.get(uid)
        if before is not None and version <= before.version:
            return False
        known[uid] = _Versioned(version, view)
        return before is None or before.view != view

    def _lose(self, index: dict[str, dict[str, _Versioned[_V]]], session_uid: str, uid: str) -> None:
        _remember(self._gone, uid, None)
        known = index.get(session_uid)
        if known is None:
            return
        lost = known.pop(uid, None)
        if not known:
            del index[session_uid]
        if lost is not None:
            self._wake(session_uid)


def _dependencies(view: Session) -> tuple[str, ...]:
    return tuple(each.name for each in view.intent.dependencies) if view.intent is not None else ()


def _ready_message(view: Session) -> str:
    conditions = view.status.conditions
    return next((each.message for each in conditions if each.type == ConditionType.READY), "")


def _discard(index: dict[Name, set[str]], name: Name, uid: str) -> None:
    index[name].discard(uid)
    if not index[name]:
        del index[name]


_K = TypeVar("_K")


def _remember(memory: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
