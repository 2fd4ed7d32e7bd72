"""What clients can do with sessions: the operations that every dialect shares.

Each is one write of the API server at the most, named or guarded so that its repetition, on another replica
or after a crash, finds what the first has done instead of doing it again. Nothing is kept here: what a
client is told has been accepted by the API server before.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import SESSIONS
from claude_operator.record.gateway import GatewayUnavailable
from claude_operator.resources.identity import ANNOTATION_FINGERPRINT, LABEL_CLIENT, is_uuid
from claude_operator.resources.lifecycle import Phase
from claude_operator.resources.session import Dependency, SessionSpec
from claude_operator.shim.core import graph
from claude_operator.shim.core.directory import Thread
from claude_operator.shim.core.draft import (
    Draft,
    Place,
    digest_of,
    fingerprint,
    manifest,
    new_place,
    next_place,
)
from claude_operator.shim.core.errors import Kind, RefusedError, not_found, of_cluster
from claude_operator.shim.core.view import SessionView, echo_of, session_view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from pydantic import JsonValue

    from claude_operator.kube.client import KubeClient
    from claude_operator.record.gateway import Gateway
    from claude_operator.shim.core.directory import Directory
    from claude_operator.shim.core.scope import Scope
    from claude_operator.wire.internal import InboxPost, RecordedEvent, SessionRecord

log = logging.getLogger(__name__)

_TRIES: Final = 5
"""Of a guarded write: the controller may write the same object at any moment."""
_READS: Final = 16
"""Long texts that are read at once for one list."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A session's own words, whole."""

    requirements: str
    context: str | None


@dataclass(frozen=True, slots=True)
class Followup:
    """How a finished session goes on."""

    message: str | None
    """The next task in the same conversation; None: the same task again."""
    echo: Mapping[str, JsonValue] | None = None
    """Instead of the session's own."""
    timeout_seconds: int | None = None
    idempotency_key: str | None = None


class Sessions:
    """The operations; every one raises RefusedError."""

    def __init__(self, directory: Directory, client: KubeClient, gateway: Gateway) -> None:
        self.directory = directory
        self._client = client
        self._gateway = gateway
        self._reads = asyncio.Semaphore(_READS)

    async def create(
        self,
        scope: Scope,
        draft: Draft,
        *,
        session_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Thread:
        """Make a session, or find the one that the same request has made before."""
        place, digest = new_place(scope, session_id, idempotency_key), fingerprint(draft)
        known = self.directory.find([scope.home], place.id)
        if known is not None:
            return _repeated(scope, known, digest)
        names = tuple(self._name_of(scope, one) for one in draft.dependencies)
        self._check_graph(scope.home, place.name, names)
        spec = _complete(draft.spec, project=scope.home_project, dependencies=names)
        return await self._create(
            scope, scope.home, manifest(scope, place, draft, spec, digest=digest), place
        )

    async def ensure(self, scope: Scope, name: str, draft: Draft) -> SessionView:
        """The session of a name that its origin determines, made unless it is there.

        Unlike `create` it does not compare: what is asked for may look different by now, and is still the
        same thing. A session that another client has given this name is a conflict.
        """
        spec = _complete(draft.spec, project=scope.home_project, dependencies=())
        place = Place(id=name, name=name)
        body = manifest(scope, place, draft, spec, digest=fingerprint(draft))
        try:
            found = await self._client.create(SESSIONS, body, namespace=scope.home)
        except ApiError as error:
            if not error.already_exists:
                raise of_cluster(error) from error
            found = await self._read(scope.home, name)
            if (found["metadata"].get("labels") or {}).get(LABEL_CLIENT) != scope.client:
                raise _collision(name) from error
        view = session_view(found)
        self.directory.see(view)
        return view

    async def find(self, scope: Scope, session_id: str) -> Thread:
        """The session that answers to an id."""
        thread = self.directory.find(scope.namespaces, session_id)
        if thread is None and is_uuid(session_id):
            thread = await self._look_for(scope, session_id.lower())
        if thread is None or not scope.sees(thread.latest):
            raise not_found(session_id)
        return thread

    async def texts(self, view: SessionView) -> Texts:
        """The session's requirements and context, however long they are."""
        if view.complete:
            return Texts(view.requirements, view.context)
        async with self._reads:
            obj = await self._read(view.namespace, view.name)
        spec = obj["spec"]
        return Texts(spec["requirements"], spec.get("context"))

    async def start(self, scope: Scope, session_id: str) -> tuple[Thread, bool]:
        """Start a session that was made suspended; False: it was not suspended, or has ended."""

        def suspended(view: SessionView) -> bool:
            return view.suspend and not view.final

        return await self._change(scope, session_id, {"suspend": False}, when=suspended)

    async def cancel(self, scope: Scope, session_id: str) -> tuple[Thread, bool]:
        """Stop a session and keep what was done; False: it had ended before."""

        def unfinished(view: SessionView) -> bool:
            return not view.final

        return await self._change(scope, session_id, {"cancel": True}, when=unfinished)

    async def delete(self, scope: Scope, session_id: str) -> Thread:
        """Delete a session with its continuations; the record of it stays with the gateway."""
        thread = await self.find(scope, session_id)
        # The latest first: while some are left, the id still answers, and the request can be repeated.
        for view in reversed(thread.views):
            try:
                await self._client.delete(SESSIONS, view.name, namespace=view.namespace, uid=view.uid)
            except ApiError as error:
                # Gone, or another one by now: either way this one is deleted.
                if not (error.not_found or error.conflict):
                    raise of_cluster(error) from error
            self.directory.lose(view.namespace, view.name, view.uid)
        return thread

    async def go_on(self, scope: Scope, session_id: str, followup: Followup) -> Thread:
        """Continue a finished session under its id: same conversation and working tree.

        The same task again (a retry) begins afresh where there is nothing to go on from.
        """
        thread = await self.find(scope, session_id)
        latest, digest = thread.latest, _digest(scope, followup)
        if followup.idempotency_key is not None and any(one.fingerprint == digest for one in thread.views):
            return thread
        if not latest.final:
            raise RefusedError(
                Kind.CONFLICT,
                f"Session has not finished: {session_id} is {latest.phase}; wait for its end, or cancel it",
            )
        record = await self.record(latest)
        resumable = record is not None and record.has_checkpoint
        if followup.message is not None and not resumable:
            raise RefusedError(
                Kind.CONFLICT,
                f"Session has left no conversation to continue: {session_id}; retry it, or create another",
            )
        spec = SessionSpec.model_validate((await self._read(latest.namespace, latest.name))["spec"])
        changes = self._changes(latest, spec, followup, resumable=resumable)
        place = next_place(latest.namespace, latest.id, latest.continuation + 1)
        echo = echo_of(latest) if followup.echo is None else followup.echo
        draft = Draft(spec=spec.model_copy(update=changes), batch=latest.batch, echo=echo)
        body = manifest(scope, place, draft, draft.spec, digest=digest)
        return await self._create(scope, latest.namespace, body, place)

    def _changes(
        self, latest: SessionView, spec: SessionSpec, followup: Followup, *, resumable: bool
    ) -> dict[str, Any]:
        """How the next session's spec differs from the last one's."""
        changes: dict[str, Any] = {"suspend": False, "cancel": False}
        changes["resume_from"] = latest.name if resumable else None
        # A conversation that goes on knows their results already.
        changes["dependencies"] = [] if resumable else self._renewed(latest.namespace, spec)
        if followup.message is not None:
            changes |= {"requirements": followup.message, "context": None}
        if followup.timeout_seconds is not None:
            changes["timeout_seconds"] = followup.timeout_seconds
        return changes

    async def message(self, scope: Scope, session_id: str, message: InboxPost) -> Thread:
        """Say something to the agent of a running session, or interrupt it."""
        thread = await self.find(scope, session_id)
        if thread.latest.phase is not Phase.RUNNING:
            raise RefusedError(Kind.CONFLICT, f"Session {session_id} is not running: {thread.latest.phase}")
        try:
            await self._gateway.post(thread.latest.uid, message)
        except GatewayUnavailable as error:
            raise _unavailable(error) from error
        return thread

    async def record(self, view: SessionView) -> SessionRecord | None:
        """What the gateway has on record of a session; None: no pod of it has ever come."""
        try:
            return await self._gateway.record(view.uid)
        except GatewayUnavailable as error:
            raise _unavailable(error) from error

    async def events(
        self, view: SessionView, *, after: int = 0, follow: bool = False
    ) -> AsyncIterator[RecordedEvent]:
        """The session's journal from a cursor on."""
        try:
            async for event in self._gateway.events(view.uid, after=after, follow=follow):
                yield event
        except GatewayUnavailable as error:
            raise _unavailable(error) from error

    async def artifact(self, view: SessionView, path: str) -> bytes | None:
        """The content of a file that the session has left."""
        try:
            return await self._gateway.artifact(view.uid, path)
        except GatewayUnavailable as error:
            raise _unavailable(error) from error

    # How they do it.

    async def _create(self, scope: Scope, namespace: str, body: dict[str, Any], place: Place) -> Thread:
        try:
            created = await self._client.create(SESSIONS, body, namespace=namespace)
        except ApiError as error:
            if not error.already_exists:
                raise of_cluster(error) from error
            # By the same request, when its answer was lost or another replica took it; or by another one.
            created = await self._read(namespace, place.name)
            standing, digest = session_view(created), body["metadata"]["annotations"][ANNOTATION_FINGERPRINT]
            self.directory.see(standing)
            if standing.fingerprint != digest or not scope.sees(standing):
                raise _collision(place.id) from error
        self.directory.see(session_view(created))
        thread = self.directory.find([namespace], place.id)
        # None: deleted by somebody within these milliseconds.
        return thread if thread is not None else Thread((session_view(created),))

    async def _change(
        self, scope: Scope, session_id: str, spec: dict[str, Any], *, when: Callable[[SessionView], bool]
    ) -> tuple[Thread, bool]:
        """Patch the latest session's spec, guarded by the version that the decision was taken on."""
        thread = await self.find(scope, session_id)
        for _ in range(_TRIES):
            view = thread.latest
            if not when(view):
                return thread, False
            patch = {"metadata": {"resourceVersion": str(view.version)}, "spec": spec}
            try:
                changed = await self._client.patch(SESSIONS, view.name, patch, namespace=view.namespace)
            except ApiError as error:
                if not error.conflict:
                    raise (not_found(session_id) if error.not_found else of_cluster(error)) from error
                changed = await self._read(view.namespace, view.name)
                self.directory.see(session_view(changed))
                thread = _with_latest(thread, session_view(changed))
                continue
            self.directory.see(session_view(changed))
            return _with_latest(thread, session_view(changed)), True
        raise RefusedError(Kind.UNAVAILABLE, f"session {session_id} is changing too fast: try again")

    async def _look_for(self, scope: Scope, name: str) -> Thread | None:
        """A session that the watch has not brought yet: made a moment ago through another replica."""
        for namespace in scope.namespaces:
            try:
                obj = await self._client.get(SESSIONS, name, namespace=namespace)
            except ApiError as error:
                if error.not_found:
                    continue
                raise of_cluster(error) from error
            view = session_view(obj)
            if view.id != name:
                return None  # a continuation answers to the first one's id alone
            self.directory.see(view)
            return self.directory.find([namespace], name)
        return None

    async def _read(self, namespace: str, name: str) -> dict[str, Any]:
        try:
            return await self._client.get(SESSIONS, name, namespace=namespace)
        except ApiError as error:
            raise (not_found(name) if error.not_found else of_cluster(error)) from error

    def _name_of(self, scope: Scope, session_id: str) -> str:
        thread = self.directory.find([scope.home], session_id)
        if thread is None or not scope.sees(thread.latest):
            return session_id.lower()  # a session that is made later gets its id as its name
        return thread.latest.name

    def _renewed(self, namespace: str, spec: SessionSpec) -> list[Dependency]:
        """Dependencies of a retry: where one has been retried too, its latest."""
        renewed = []
        for one in spec.dependencies:
            view = self.directory.named(namespace, one.name)
            thread = self.directory.find([namespace], view.id) if view is not None else None
            name = thread.latest.name if thread is not None else one.name
            renewed.append(one.model_copy(update={"name": name}))
        return renewed

    def _check_graph(self, namespace: str, name: str, dependencies: tuple[str, ...]) -> None:
        graph.check(
            name,
            dependencies,
            dependencies_of=self.directory.dependencies_of(namespace),
            dependents_of=self.directory.dependents_of(namespace),
        )


def _complete(spec: SessionSpec, *, project: str, dependencies: tuple[str, ...]) -> SessionSpec:
    found = [Dependency(name=name) for name in dict.fromkeys(dependencies)]
    return spec.model_copy(update={"project": project, "dependencies": found})


def _repeated(scope: Scope, thread: Thread, digest: str) -> Thread:
    """The thread that stands under a new session's id, if the same request has made it."""
    first = thread.first
    if first.continuation or first.fingerprint != digest or not scope.sees(first):
        raise _collision(first.id)
    return thread


def _collision(session_id: str) -> RefusedError:
    return RefusedError(
        Kind.CONFLICT,
        f"Session already exists: {session_id}; it was made by another request: choose another id or key",
    )


def _digest(scope: Scope, followup: Followup) -> str:
    said = (followup.message, followup.timeout_seconds, followup.echo)
    return digest_of(["continue", scope.client, followup.idempotency_key, *said])


def _with_latest(thread: Thread, latest: SessionView) -> Thread:
    return Thread((*thread.views[:-1], latest))


def _unavailable(error: GatewayUnavailable) -> RefusedError:
    log.warning("the gateway gave no answer: %s", error)
    return RefusedError(Kind.UNAVAILABLE, "the gateway, which keeps the record, does not answer: try again")
