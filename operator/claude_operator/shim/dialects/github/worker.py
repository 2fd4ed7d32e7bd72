"""Working at what the gateway keeps: screen, ask for facts, decide, make the session, say that it is done.

Every step can be repeated, and the last one is what ends a delivery: a shim that dies between any two leaves
it to the next one, after the lease. The session's name follows from what was asked for, so a repetition finds
the session that stands. Nothing is kept here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from claude_operator.github.event import Payload
from claude_operator.record.gateway import GatewayUnavailable
from claude_operator.shim.core.errors import Kind, RefusedError
from claude_operator.shim.core.scope import Scope
from claude_operator.shim.dialects.github.decide import decide
from claude_operator.shim.dialects.github.screen import Ignored, Screened, screen
from claude_operator.wire.github import Done, MadeSession

if TYPE_CHECKING:
    from claude_operator.record.github import GitHubRecord
    from claude_operator.shim.core.sessions import Sessions
    from claude_operator.shim.dialects.github.screen import Asked
    from claude_operator.telemetry.metrics import Metrics
    from claude_operator.wire.github import KeptDelivery

CLIENT: Final = "github"
"""On the sessions, as the name of the client that made them."""
_REST_SECONDS: Final = 10.0
"""Between two looks for what others have left."""
_MOST_SECONDS: Final = 25.0
"""For one delivery: less than its lease, or a second one would work at it too."""
_FINAL: Final = frozenset({Kind.INVALID, Kind.CONFLICT})
"""Refusals that no repetition mends."""

log = logging.getLogger(__name__)


class Worker:
    """Of one shim."""

    def __init__(self, record: GitHubRecord, sessions: Sessions, metrics: Metrics) -> None:
        self.record = record
        self._sessions = sessions
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._complaint = ""

    async def run(self) -> None:
        """Work at what was left, without end."""
        try:
            while True:
                try:
                    left = (await self.record.take()).deliveries
                except GatewayUnavailable as error:
                    self._complain(str(error))
                    left = []
                else:
                    self._complaint = ""
                for kept in left:
                    self.start(kept)
                if left:
                    await asyncio.wait(set(self._tasks))
                else:
                    await asyncio.sleep(_REST_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()

    def start(self, kept: KeptDelivery) -> None:
        """Work at one that is ours now, beside whatever else there is."""
        task = asyncio.create_task(self._work(kept), name=f"github-{kept.serial}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, kept: KeptDelivery) -> None:
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                done = await self._done(kept)
                await self.record.done(kept.serial, done)
        except (GatewayUnavailable, RefusedError, TimeoutError) as error:
            log.warning("%s waits: %s", _named(kept), str(error) or "it took too long")
            self._metrics.count("github_deliveries_total", result="waiting")
        except Exception:
            # One that we can't handle must not end the others; it is tried again, and given up after a day.
            log.exception("%s failed here", _named(kept))
            self._metrics.count("github_deliveries_total", result="failed")
        else:
            log.info("%s: %s", _named(kept), done.verdict)
            result = "session" if done.sessions else "ignored"
            self._metrics.count("github_deliveries_total", result=result)

    async def _done(self, kept: KeptDelivery) -> Done:
        screened, payload = judge(kept)
        if payload is None or not screened.asked:
            return Done(verdict=_verdict(screened.ignored.why if screened.ignored else "nothing to do"))
        made: list[MadeSession] = []
        said: list[str] = []
        for asked in screened.asked:
            found = await self._make(asked, payload, kept)
            if isinstance(found, str):
                said.append(found)
            else:
                made.append(found)
                said.append(f"session {kept.namespace}/{found.name}")
        return Done(verdict=_verdict("; ".join(said)), sessions=made)

    async def _make(self, asked: Asked, payload: Payload, kept: KeptDelivery) -> MadeSession | str:
        """The session; or why there is none."""
        facts = await self.record.facts(kept.serial, asked.wants)
        decision = decide(asked, payload, kept, facts)
        if isinstance(decision, Ignored):
            return decision.why
        scope = Scope(CLIENT, (kept.namespace,), (kept.project,))
        try:
            view = await self._sessions.ensure(scope, decision.name, decision.draft)
        except RefusedError as error:
            if error.kind not in _FINAL:
                raise
            return f"refused: {error.message}"
        return MadeSession(uid=view.uid, name=view.name, answer=decision.answer)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            log.warning("GitHub's events can't be fetched: %s", text)
        self._complaint = text


def judge(kept: KeptDelivery) -> tuple[Screened, Payload | None]:
    """What the event asks for."""
    try:
        payload = Payload.model_validate_json(kept.payload)
    except ValidationError:
        return Screened(ignored=Ignored("the event can't be read")), None
    return screen(kept.event, payload, kept.triggers), payload


def _named(kept: KeptDelivery) -> str:
    return f"GitHub's {kept.event} for {kept.namespace}/{kept.project} ({kept.repository}, {kept.serial})"


def _verdict(text: str) -> str:
    return text[:500]
