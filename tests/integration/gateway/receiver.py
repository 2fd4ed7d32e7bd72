"""Who is called back: a real HTTP server on loopback that remembers what came, and answers as it is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


@dataclass(frozen=True, slots=True)
class Call:
    """One POST."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def delivery(self) -> str:
        return self.headers["X-Claude-Operator-Delivery"]


@dataclass
class Receiver:
    """`answers` are used up one by one; then it is always 204."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    always: Any = 204
    at_once: int = 0
    most_at_once: int = 0

    @property
    def origin(self) -> str:
        """As a Secret lists it."""
        return f"http://127.0.0.1:{self.port}"

    async def called(self, count: int = 1, seconds: float = 20.0) -> list[Call]:
        """The calls, once there are so many."""
        async with asyncio.timeout(seconds):
            while True:
                if len(self.calls) >= count:
                    return self.calls
                await asyncio.sleep(0.01)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = await request.read()
            self.calls.append(Call(str(request.rel_url), request.headers, body))
            answer = self.answers.pop(0) if self.answers else self.always
            if isinstance(answer, int):
                return web.Response(status=answer)
            return answer if isinstance(answer, web.StreamResponse) else await answer(request)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def receiving(port: int = 0, *, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()
