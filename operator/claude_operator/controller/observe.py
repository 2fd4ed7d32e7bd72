"""From the cache to what one decision sees.

Dependencies are the only part that may need more than the cache: one that ended before this process began
left the watch, and is looked up once: in the cluster, else in the gateway's archive. Afterwards it is
remembered, so a steady controller reads nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from claude_operator.controller.cache import Ended
from claude_operator.engine.attempt import open_attempt
from claude_operator.engine.dependencies import find_cycle
from claude_operator.engine.observation import DependencyState, Observed
from claude_operator.engine.views import session_view
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import SESSIONS
from claude_operator.record.gateway import GatewayUnavailable
from claude_operator.resources.lifecycle import Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_operator.controller.cache import Cache, Name
    from claude_operator.controller.memory import Memory
    from claude_operator.engine.observation import Session
    from claude_operator.kube.client import KubeClient
    from claude_operator.record.gateway import Gateway


ABSENT_SECONDS: Final = 60.0
"""How long a dependency that is nowhere stays so without being looked up again. Its creation is seen by
the watch at once; this is only the net below it."""
_ABSENT_REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen, and what could not be."""

    observed: Observed
    missing: str = ""
    """Why a dependency could not be looked up; it counts as absent, which neither starts nor fails its
    dependent, and the key has to come back."""


class Observer:
    """Builds what the engine sees."""

    def __init__(self, cache: Cache, client: KubeClient, gateway: Gateway) -> None:
        self._cache = cache
        self._client = client
        self._gateway = gateway
        self._absent: dict[Name, float] = {}
        """When a name was last looked up in vain, on the monotonic clock."""

    async def observe(
        self, session: Session, memory: Memory, *, job_conflict: str = "", job_refused: str = ""
    ) -> Sight:
        """Everything that a decision on this session sees."""
        intent, namespace = session.intent, session.namespace
        observed = Observed(
            session=session,
            project=self._cache.project((namespace, intent.project)) if intent is not None else None,
            jobs=self._cache.jobs(session.uid),
            pods=self._cache.pods(session.uid),
            gateway=memory.gateway,
            proposal=memory.proposal,
            job_conflict=job_conflict,
            job_refused=job_refused,
        )
        if intent is None or not intent.dependencies or session.status.phase.final:
            return Sight(observed)
        if open_attempt(observed) is not None:
            # A session that has started no longer asks what it once waited for.
            unasked = tuple(DependencyState(each.name, None) for each in intent.dependencies)
            return Sight(replace(observed, dependencies=unasked))
        states, missing = [], ""
        for each in intent.dependencies:
            try:
                states.append(await self._state(session, each.name))
            except (ApiError, GatewayUnavailable) as error:
                missing = f"the dependency {each.name!r} can't be looked up: {error}"
                states.append(DependencyState(each.name, None))
        return Sight(replace(observed, dependencies=tuple(states)), missing)

    async def _state(self, session: Session, name: str) -> DependencyState:
        namespace = session.namespace
        live = self._cache.session_named((namespace, name))
        if live is not None:
            return DependencyState(name, live.status.phase, cycle=self._cycle(session, name))
        ended = self._cache.ended((namespace, name)) or await self._look_up((namespace, name))
        if ended is None:
            return DependencyState(name, None)
        cycle = self._cycle(session, name) if ended.reason is Reason.DEPENDENCY_CYCLE else ()
        if cycle:
            # It failed because of this very circle: so does this one, and not "because a dependency failed".
            return DependencyState(name, Phase.WAITING, cycle=cycle)
        return DependencyState(name, ended.phase, ended.reason, ended.message)

    def _cycle(self, session: Session, through: str) -> tuple[str, ...]:
        """The circle from the session through this dependency back to itself."""

        def edges(name: str) -> Iterable[str]:
            if name == session.name:
                return (through,)
            live = self._cache.session_named((session.namespace, name))
            if live is not None:
                return [each.name for each in live.intent.dependencies] if live.intent is not None else ()
            ended = self._cache.ended((session.namespace, name))
            return ended.dependencies if ended is not None else ()

        return find_cycle(session.name, edges)

    async def _look_up(self, name: Name) -> Ended | None:
        """A session that is not in the watch: ended and there, ended and deleted, or never seen.

        Raises:
            ApiError, GatewayUnavailable: it can't be told now.
        """
        now = time.monotonic()
        if now - self._absent.get(name, float("-inf")) < ABSENT_SECONDS:
            return None
        found = await self._read(name) or await self._archived(name)
        if found is not None:
            self._cache.remember_end(name, found)
            self._absent.pop(name, None)
            return found
        if len(self._absent) >= _ABSENT_REMEMBERED:
            self._absent.clear()
        self._absent[name] = now
        return None

    async def _read(self, name: Name) -> Ended | None:
        try:
            view = session_view(await self._client.get(SESSIONS, name[1], namespace=name[0]))
        except ApiError as error:
            if error.not_found:
                return None
            raise
        # An unfinished one is ahead of the watch: it goes into the cache like an event, and wakes us.
        self._cache.see_session(view)
        return self._cache.ended(name) if view.status.phase.final else None

    async def _archived(self, name: Name) -> Ended | None:
        outcome = await self._gateway.outcome(*name)
        if outcome is None or outcome.phase == "Deleted":
            return None
        return Ended(uid=outcome.uid, phase=outcome.phase, reason=outcome.reason, message=outcome.message)
