"""A gateway over a real socket that answers as wire.internal says, and remembers what it was asked."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from claude_operator.resources.session_status import Usage
from claude_operator.wire.internal import (
    OUTCOMES_PATH,
    SESSIONS_PATH,
    AttemptRecord,
    CancelRequest,
    CloseRequest,
    KnownSession,
    Outcome,
    Published,
    SessionRecord,
    UnfinishedSessions,
)
from claude_operator.wire.message import Message

TOKEN = "token-of-the-controller"


@dataclass(slots=True)
class StandInGateway:
    """What a test may look at and change."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """By uid, first one stands."""
    records: dict[str, SessionRecord] = field(default_factory=dict)
    """By uid: what it saw of a session; a test puts them in."""
    closed: list[tuple[str, int]] = field(default_factory=list)
    cancelled: dict[str, CancelRequest] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    """Paths of requests without the right token."""
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def saw(self, uid: str, *, namespace: str, name: str, attempt: int = 1, commit: str = "") -> None:
        """As after an attempt that used the model and, with a commit, pushed."""
        usage = Usage(input_tokens=100, output_tokens=20, cost_usd=0.25, turns=3)
        record = AttemptRecord(number=attempt, pod_uid="pod", claimed_at="2026-01-01T00:00:00Z", usage=usage)
        self.records[uid] = SessionRecord(
            uid=uid,
            namespace=namespace,
            name=name,
            usage=usage,
            attempts=[record],
            published=Published(branch=f"claude/{name}", commit=commit) if commit else None,
        )

    async def start(self) -> None:
        application = web.Application(middlewares=[self._authenticate])
        application.add_routes(
            [
                web.get(SESSIONS_PATH, self._unfinished),
                web.post(f"{SESSIONS_PATH}/{{uid}}/attempts/{{number}}/close", self._close),
                web.post(f"{SESSIONS_PATH}/{{uid}}/cancel", self._cancel),
                web.put(f"{SESSIONS_PATH}/{{uid}}/outcome", self._put_outcome),
                web.get(f"{OUTCOMES_PATH}/{{namespace}}/{{name}}", self._get_outcome),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Nothing listens."""
        await self.stop()
        try:
            yield
        finally:
            await self.start()

    @web.middleware
    async def _authenticate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refused.append(request.path)
            return web.json_response({"reason": "Unauthorized", "message": "no token"}, status=401)
        return await handler(request)

    async def _unfinished(self, _: web.Request) -> web.Response:
        known = [
            KnownSession(uid=uid, namespace=each.namespace, name=each.name)
            for uid, each in self.records.items()
            if uid not in self.outcomes
        ]
        return _answer(UnfinishedSessions(sessions=known))

    async def _close(self, request: web.Request) -> web.Response:
        uid, number = request.match_info["uid"], int(request.match_info["number"])
        asked = CloseRequest.model_validate_json(await request.read())
        self.closed.append((uid, number))
        unseen = SessionRecord(uid=uid, namespace=asked.namespace, name=asked.name)
        record = self.records.get(uid, unseen)
        return _answer(record.model_copy(update={"cancel_requested": uid in self.cancelled}))

    async def _cancel(self, request: web.Request) -> web.Response:
        self.cancelled[request.match_info["uid"]] = CancelRequest.model_validate_json(await request.read())
        return web.Response(status=204)

    async def _put_outcome(self, request: web.Request) -> web.Response:
        outcome = Outcome.model_validate_json(await request.read())
        assert outcome.uid == request.match_info["uid"]
        return _answer(self.outcomes.setdefault(outcome.uid, outcome))

    async def _get_outcome(self, request: web.Request) -> web.Response:
        wanted = request.match_info["namespace"], request.match_info["name"]
        found = [each for each in self.outcomes.values() if (each.namespace, each.name) == wanted]
        if not found:
            return web.json_response({"reason": "NotFound", "message": str(wanted)}, status=404)
        return _answer(found[-1])


def _answer(message: Message) -> web.Response:
    return web.json_response(text=message.model_dump_json(by_alias=True))


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
