"""One answer of the model on its way to the pod: streamed, read along, booked.

Nothing is held back: each complete event goes on as it comes. A client that hangs up does not stop the
reading, since the tokens are spent either way and the last event says how many; a stream that breaks before
that is booked as its reservation, marked as estimated.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson
from aiohttp import web

from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.model.fault import response_headers
from claude_operator.gateway.model.leak import DeltaScrubber
from claude_operator.gateway.model.sse import EventSplitter, StreamError, UsageReader, event_data
from claude_operator.gateway.model.usage import Spent, Tokens, read_usage, spent
from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Live
    from claude_operator.gateway.model.accounts import Reservation
    from claude_operator.gateway.model.meter import Meter
    from claude_operator.gateway.model.pricing import Price
    from claude_operator.gateway.scrub import Scrubber
    from claude_operator.gateway.verdicts import Verdicts
    from claude_operator.telemetry.metrics import Metrics

_DRAIN_SECONDS: Final = 600.0
"""How long an answer that nobody reads any more is read on."""
_MOST_BODY: Final = 64 * 1024 * 1024


class _Broken(Exception):  # noqa: N818 - a turn of events, caught in this module
    """The upstream's stream ended before its end."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One answer with status 200."""

    live: Live
    answer: aiohttp.ClientResponse
    scrub: Scrubber
    meter: Meter
    reservation: Reservation
    price: Price | None
    journal: Journal
    verdicts: Verdicts
    metrics: Metrics
    begun: float
    _tokens: Tokens | None = field(default=None, init=False)
    """The final counts, once they are known."""
    _connected: bool = field(default=True, init=False)
    _booked: bool = field(default=False, init=False)

    async def run(self, request: web.Request, *, stream: bool) -> web.StreamResponse:
        """Pass the answer on and book it, whatever becomes of either side."""
        self.metrics.add("model_streams", 1)
        try:
            if stream and self.answer.content_type == "text/event-stream":
                return await self._stream(request)
            return await self._whole()
        finally:
            # In a task of its own: this one may be cancelled, the booking may not.
            booking = asyncio.create_task(self._book())
            self.metrics.add("model_streams", -1)
            await asyncio.shield(booking)

    async def _whole(self) -> web.Response:
        try:
            body = await self._body()
            self._tokens = _told(body)
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError, _Broken) as error:
            self._broke(error)
            raise Refusal(502, Reason.MODEL_OVERLOADED, f"the model's answer broke off: {error}") from error
        return web.Response(
            body=self.scrub.whole(body),
            content_type="application/json",
            headers=response_headers(self.answer.headers, self.scrub),
        )

    async def _body(self) -> bytes:
        body = bytearray()
        async for chunk in self.answer.content.iter_any():
            body += chunk
            if len(body) > _MOST_BODY:
                raise _Broken(f"the answer exceeds {_MOST_BODY} bytes")
        return bytes(body)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                **response_headers(self.answer.headers, self.scrub),
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
            }
        )
        try:
            await response.prepare(request)
        except ConnectionError:
            self._connected = False
        usage = UsageReader()
        try:
            async with asyncio.timeout(None) as limit:
                await self._pass_on(response, usage, limit)
            _require_complete(usage)
        except (aiohttp.ClientError, OSError, TimeoutError, StreamError, _Broken) as error:
            self._broke(error)
            if usage.error is None and request.transport is not None:
                # An orderly end would make a broken answer look whole.
                request.transport.abort()
            elif self._connected:
                await response.write_eof()
            return response
        self._tokens = usage.tokens
        await self._book()
        if self._connected:
            try:
                await response.write_eof()
            except ConnectionError:
                self._connected = False
        return response

    async def _pass_on(
        self, response: web.StreamResponse, usage: UsageReader, limit: asyncio.Timeout
    ) -> None:
        splitter, clean = EventSplitter(), DeltaScrubber(self.scrub)
        first = True
        async for chunk in self.answer.content.iter_any():
            out = bytearray()
            for event in splitter.feed(chunk):
                data = event_data(event)
                if data is not None:
                    usage.observe(data)
                out += clean.pass_on(event, data)
            if out and self._connected:
                try:
                    await response.write(bytes(out))
                except ConnectionError:
                    self._connected = False
                    limit.reschedule(asyncio.get_running_loop().time() + _DRAIN_SECONDS)
                    self.journal.note_of(self.live, "model_client_gone", {"model": self.reservation.model})
                if first:
                    first = False
                    self.metrics.observe("model_first_byte_seconds", time.monotonic() - self.begun)

    def _broke(self, error: BaseException) -> None:
        message = f"the model's answer broke off: {str(error) or type(error).__name__}"
        self.verdicts.set(self.live, "model", Reason.MODEL_OVERLOADED, message)
        data = {"message": message, "booked": "the reservation"}
        self.journal.note_of(self.live, "model_broke", data)
        self.metrics.count("model_broken_total")

    async def _book(self) -> None:
        """Settle the reservation, once."""
        if self._booked:
            return
        self._booked = True
        reservation, tokens = self.reservation, self._tokens
        if tokens is None:
            used = reservation.whole()
        else:
            used = spent(tokens, self.price.cost(tokens) if self.price else 0)
            # Before the booking wakes the next request: what that is refused for must stand.
            self.verdicts.clear(self.live, "model")
        await self.meter.settle(reservation, used)
        self._note(used)

    def _note(self, used: Spent) -> None:
        usage = used.to_usage().to_api()
        data = {"model": self.reservation.model, **usage, "seconds": round(time.monotonic() - self.begun, 3)}
        self.journal.note_of(self.live, "model_response", data)
        self.metrics.count("model_responses_total", model=self.reservation.model)
        self.metrics.count("model_cost_nanousd_total", by=used.cost_nanousd)


def _told(body: bytes) -> Tokens:
    """The counts in an answer that was not streamed."""
    message = orjson.loads(body)
    usage = message.get("usage") if isinstance(message, dict) else None
    if not isinstance(usage, dict):
        raise _Broken("the answer tells no usage")
    return read_usage(usage)


def _require_complete(usage: UsageReader) -> None:
    if not usage.complete:
        raise _Broken(
            f"an error inside the stream ({usage.error})" if usage.error else "the stream ended early"
        )
