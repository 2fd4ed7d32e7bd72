"""The scripted Messages API: `POST /v1/messages`, streaming and not, with faults by script.

Everything that is decided about an answer is decided in `messages`; here is
what only a connection can do: check the key, wait, cut the line, notice that
the client has gone, and record it all.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aiohttp import web

from tests.world.echo import echoed_headers, echoed_text
from tests.world.ledger import Ledger
from tests.world.listening import Control, Listener, json_response
from tests.world.messages import ERROR_TYPES, choose, compose, error_object
from tests.world.records import Record, Recorder
from tests.world.request import RequestError, parse, session_of
from tests.world.script import Scenarios, ScriptError
from tests.world.sse import Event, events
from tests.world.totals import Totals

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection
    from types import TracebackType

    from pydantic import JsonValue

    from tests.world.echo import Echo, Place
    from tests.world.messages import Answer, Play
    from tests.world.request import MessagesRequest
    from tests.world.script import Delay, Drop, Error

SCENARIOS = Path(__file__).with_name("scenarios")


class ModelServer:
    """The scripted model on an address, for as long as it is entered.

    Args:
        keys: the model keys that are accepted, as `x-api-key` or as Bearer token.
        host, port: where to listen; port 0 lets the system choose.
        scenarios: the folder of the named scripts.
        control_token: opens `/_requests` and `/_usage`; made up if None.
        echo: reflect request headers into every answer, whatever its script says.
        tls: serve HTTPS.
    """

    def __init__(
        self,
        *,
        keys: Collection[str],
        host: str = "127.0.0.1",
        port: int = 0,
        scenarios: Path = SCENARIOS,
        control_token: str | None = None,
        echo: Echo | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests = Recorder()
        self.totals = Totals()
        self.keys = frozenset(keys)
        self._control = Control(control_token, self.requests, echo)
        self._listener = Listener(host=host, port=port, tls=tls)
        self.scenarios = Scenarios(scenarios)
        self.ledger = Ledger()
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """What ANTHROPIC_BASE_URL must be."""
        return self._listener.url

    @property
    def control_token(self) -> str:
        return self._control.token

    @property
    def echo(self) -> Echo | None:
        """What is reflected; assign to it to change that."""
        return self._control.echo

    @echo.setter
    def echo(self, echo: Echo | None) -> None:
        self._control.echo = echo

    async def __aenter__(self) -> Self:
        await self._listener.start(
            [
                *self._control.routes(),
                web.get("/_usage", self._control.guarded(self._usage)),
                web.route("*", "/{path:.*}", self._receive),
            ]
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.stop()

    async def _usage(self, _: web.Request) -> web.Response:
        return json_response(self.totals.json())

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        record = self.requests.begin(
            method=request.method, path=request.path, query=request.query_string, headers=request.headers
        )
        started = time.monotonic()
        exchange = _Exchange(self, request, record, request_id=f"req_world{next(self._numbers):012d}")
        try:
            return await exchange.answer()
        except (asyncio.CancelledError, ConnectionError):
            if record.outcome == "open":
                record.outcome = "hung_up"
            raise
        finally:
            record.seconds = time.monotonic() - started
            self.totals.add(record)


class _Exchange:
    """One request and its answer."""

    def __init__(self, server: ModelServer, request: web.Request, record: Record, *, request_id: str) -> None:
        self._server = server
        self._request = request
        self._record = record
        self._id = request_id
        self._echo = server.echo

    async def answer(self) -> web.StreamResponse:
        body = await self._body()
        if body is None:
            return self._refuse(413, "the request exceeds the maximum size of 32 MB")
        self._server.requests.keep_body(self._record, body)
        if (self._request.method, self._request.path) != ("POST", "/v1/messages"):
            return self._refuse(404, f"there is no {self._request.method} {self._request.path}")
        if self._key() not in self._server.keys:
            return self._refuse(401, "invalid x-api-key")
        if "anthropic-version" not in self._request.headers:
            return self._refuse(400, "anthropic-version: header is required")
        try:
            request = parse(body)
            play = choose(request, self._server.scenarios)
            return await self._play(request, play)
        except (RequestError, ScriptError) as error:
            return self._refuse(400, str(error))

    async def _body(self) -> bytes | None:
        try:
            return await self._request.read()
        except web.HTTPRequestEntityTooLarge:
            return None

    def _key(self) -> str:
        headers = self._request.headers
        return headers.get("x-api-key") or headers.get("Authorization", "").removeprefix("Bearer ")

    async def _play(self, request: MessagesRequest, play: Play) -> web.StreamResponse:
        step, delay = play.step, play.step.delay
        session = session_of(request, self._record.headers)
        self._record.details |= {
            "session": session,
            "script": play.name,
            "step": play.index,
            "model": request.model,
            "stream": request.stream,
        }
        self._echo = step.echo or self._server.echo
        place = (session, play.name, play.turn, play.index)
        attempt = self._server.ledger.count(place)
        answer = compose(
            request, play, seed="/".join(map(str, (*place, attempt))), echo=self._reflection("body")
        )
        await asyncio.sleep(delay.before)
        # A drop in mid-stream does not concern a request without streaming, and must not be spent on it.
        concerned = step.drop is not None and (request.stream or step.drop.after_events == 0)
        error = step.error if step.error and self._strikes(step.error, (*place, "error"), request) else None
        drop = step.drop if step.drop and concerned and not error else None
        if drop and not self._strikes(drop, (*place, "drop"), request):
            drop = None
        if error and (error.after_events is None or not request.stream):
            return self._fail(error)
        if drop and drop.after_events == 0:
            return self._cut(web.Response())
        if request.stream:
            stream = list(events(answer))
            _require_reached(stream, error, drop, delay)
            return await self._stream(answer, stream, delay, error, drop)
        self._record.status, self._record.outcome = 200, "answered"
        self._record.details["usage"] = answer.message["usage"]
        return json_response(answer.message, headers=self._headers())

    def _strikes(self, fault: Error | Drop, key: tuple[object, ...], request: MessagesRequest) -> bool:
        return self._server.ledger.strikes(fault, key, request.model)

    async def _stream(
        self, answer: Answer, stream: list[Event], delay: Delay, error: Error | None, drop: Drop | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
            | self._headers()
        )
        self._record.status = 200
        await response.prepare(self._request)
        for sent, event in enumerate(stream):
            if drop and sent == drop.after_events:
                return self._cut(response)
            if error and sent == error.after_events:
                self._record.outcome = "refused"
                await response.write(Event("error", self._error(error)).encode())
                return response
            if delay.stall and sent == delay.stall_after_events:
                await asyncio.sleep(delay.stall)
            if delay.between and sent:
                await asyncio.sleep(delay.between)
            await response.write(event.encode())
            if event.name == "message_start":
                self._record.details["usage"] = answer.start_usage
            elif event.name == "message_delta":
                self._record.details["usage"] = answer.message["usage"]
        await response.write_eof()
        self._record.outcome = "answered"
        return response

    def _cut(self, response: web.StreamResponse) -> web.StreamResponse:
        """Close the connection behind what was written; the client sees the stream end too early."""
        self._record.outcome = "dropped"
        transport = self._request.transport
        if transport is not None:
            transport.close()
        return response

    def _fail(self, error: Error) -> web.Response:
        self._record.status, self._record.outcome = error.status, "refused"
        headers = self._headers() | error.headers
        if error.body is not None:
            headers.setdefault("Content-Type", "text/html")
            return web.Response(
                status=error.status, text=error.body + self._reflection("error"), headers=headers
            )
        return json_response(self._error(error), status=error.status, headers=headers)

    def _error(self, error: Error) -> dict[str, JsonValue]:
        kind = error.type or ERROR_TYPES.get(error.status, "api_error")
        message = (error.message or f"scripted error {error.status}") + self._reflection("error")
        return error_object(kind, message, self._id)

    def _refuse(self, status: int, message: str) -> web.Response:
        """An error that is the caller's, not the script's."""
        self._record.status, self._record.outcome = status, "refused"
        body = error_object(ERROR_TYPES[status], message + self._reflection("error"), self._id)
        return json_response(body, status=status, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"request-id": self._id} | echoed_headers(self._echo, self._request.headers)

    def _reflection(self, place: Place) -> str:
        return echoed_text(self._echo, place, self._request.headers)


def _require_reached(stream: list[Event], error: Error | None, drop: Drop | None, delay: Delay) -> None:
    """A fault behind the end of the stream would not happen, and its test would prove nothing.

    Raises:
        ScriptError: one lies there.
    """
    places = {
        "error.after_events": error.after_events if error else None,
        "drop.after_events": drop.after_events if drop else None,
        "delay.stall_after_events": delay.stall_after_events,
    }
    for name, place in places.items():
        if place is not None and place >= len(stream):
            raise ScriptError(f"{name} is {place}, but the stream of this step has {len(stream)} events")
