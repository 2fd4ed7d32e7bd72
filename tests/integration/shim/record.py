"""The gateway's internal port as the shim reads it, over a real socket, with what a test has put in."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from claude_operator.resources.session_status import Usage
from claude_operator.wire.internal import SESSIONS_PATH, AttemptRecord, RecordedEvent, SessionRecord
from claude_operator.wire.session import RunResult

TOKEN = "token-of-the-shim"


@dataclass(slots=True)
class Record:
    """What a test may look at and change."""

    records: dict[str, SessionRecord] = field(default_factory=dict)
    events: dict[str, list[RecordedEvent]] = field(default_factory=dict)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    inbox: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, uid: str, *, result: RunResult | None = None, **more: Any) -> None:
        """What the gateway saw of a session's only attempt."""
        attempt = AttemptRecord(
            number=1, pod_uid="pod", claimed_at="2026-01-01T00:00:00Z", usage=Usage(), reported=result
        )
        self.records[uid] = SessionRecord(
            uid=uid, namespace="any", name="any", attempts=[attempt], **{"has_checkpoint": True, **more}
        )

    def tell(self, uid: str, *told: tuple[str, dict[str, Any]]) -> None:
        """Append events to the journal; of the gateway where their type says so."""
        journal = self.events.setdefault(uid, [])
        for kind, data in told:
            journal.append(
                RecordedEvent(
                    seq=len(journal) + 1,
                    attempt=1,
                    source="gateway" if kind.startswith("gateway.") else "pod",
                    time="2026-01-01T00:00:00Z",
                    type=kind,
                    data=data,
                )
            )

    async def start(self) -> None:
        application = web.Application()
        session = f"{SESSIONS_PATH}/{{uid}}"
        application.add_routes(
            [
                web.get(session, self._record),
                web.get(f"{session}/events", self._events),
                web.post(f"{session}/inbox", self._inbox),
                web.get(f"{session}/artifacts/{{path:.+}}", self._artifact),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
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

    def _known(self, request: web.Request) -> str:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refused.append(request.path)
            raise web.HTTPUnauthorized
        uid = request.match_info["uid"]
        if uid not in self.records:
            raise web.HTTPNotFound
        return uid

    async def _record(self, request: web.Request) -> web.Response:
        return web.json_response(text=self.records[self._known(request)].model_dump_json(by_alias=True))

    async def _events(self, request: web.Request) -> web.Response:
        lines = [event.model_dump_json(by_alias=True) for event in self.events.get(self._known(request), [])]
        return web.Response(text="\n".join(lines) + "\n", content_type="application/x-ndjson")

    async def _inbox(self, request: web.Request) -> web.Response:
        self.inbox.append((self._known(request), json.loads(await request.read())))
        return web.json_response({"id": 1, "kind": "message"})

    async def _artifact(self, request: web.Request) -> web.Response:
        found = self.files.get((self._known(request), request.match_info["path"]))
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found)
