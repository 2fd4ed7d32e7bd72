"""`POST /v1/messages`: checked, paid, passed on; the answer streamed through and booked."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from aiohttp import web
from yarl import URL

from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal, StoreUnavailableError
from claude_operator.gateway.model import allow
from claude_operator.gateway.model.exchange import Exchange
from claude_operator.gateway.model.fault import error_body, explain, response_headers
from claude_operator.gateway.model.pricing import price_of
from claude_operator.gateway.model.request import ModelRequest, forwarded_headers, read_request, size_held
from claude_operator.gateway.scope import caps_of
from claude_operator.gateway.scrub import Scrubber
from claude_operator.gateway.upstream import UpstreamError
from claude_operator.resources.choices import models_of
from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from claude_operator.gateway.credentials import Credential, Credentials
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Live
    from claude_operator.gateway.model.accounts import Reservation
    from claude_operator.gateway.model.meter import Meter
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.room import Held, Room
    from claude_operator.gateway.upstream import Upstreams
    from claude_operator.gateway.verdicts import Verdicts
    from claude_operator.resources.project import ProjectSpec
    from claude_operator.telemetry.metrics import Metrics

_MOST_WAITING: Final = 64
"""Requests of one session that wait for one of its slots."""
_MOST_ERROR_BYTES: Final = 64 * 1024
_OK: Final = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Call:
    """What is needed to carry an admitted request."""

    asked: ModelRequest
    rules: ProjectSpec
    credential: Credential
    reservation: Reservation
    begun: float
    held: Held
    """The body that goes on: nothing else may hold it while the answer streams."""


class ModelProxy:
    """The model part of the session port."""

    def __init__(
        self,
        *,
        projects: Projects,
        credentials: Credentials,
        upstreams: Upstreams,
        meter: Meter,
        journal: Journal,
        verdicts: Verdicts,
        metrics: Metrics,
        room: Room,
        log_only: bool,
    ) -> None:
        self._projects = projects
        self._credentials = credentials
        self._upstreams = upstreams
        self._meter = meter
        self._journal = journal
        self._verdicts = verdicts
        self._metrics = metrics
        self._room = room
        self._log_only = log_only
        self._large = asyncio.Lock()

    async def handle(self, request: web.Request, live: Live) -> web.StreamResponse:
        """One request of the session's pod.

        Raises:
            Refusal: it is not allowed, or can't be paid or carried.
        """
        begun = time.monotonic()
        live.require_model()
        grant = live.grant
        try:
            rules = await self._projects.rules(grant.namespace, grant.project)
            # Of the reading too: what waits for a slot waits in the pod, not in the gateway's memory.
            async with self._slot(live), self._room.hold(grant.session_uid, size_held(request)) as held:
                policy = allow.Policy(models=models_of(rules), server_tools=rules.model.server_tools)
                asked = await read_request(request, policy, self._large)
                held.keep(asked.payload)
                asked = replace(asked, payload=b"")
                self._require_allowed(live, asked)
                live.require_model()  # it may have been fenced while it waited
                credential = await self._credential(live, rules)
                reservation = await self._reserve(live, asked, rules)
                if live.fenced or live.cancel_deadline is not None:
                    self._meter.release(reservation)
                    live.require_model()
                # No await from here to where the close of the attempt sees it as under way.
                call = _Call(asked, rules, credential, reservation, begun, held)
                return await self._carry(request, live, call)
        except Refusal as refused:
            if refused.status in (400, 403, 413, 415):
                data = {"reason": refused.reason, "message": refused.message}
                self._journal.note_of(live, "model_refused", data)
                self._verdicts.set(live, "model", _verdict(refused), refused.message)
            self._metrics.count("model_refused_total", reason=refused.reason)
            raise

    def _require_allowed(self, live: Live, asked: ModelRequest) -> None:
        if not asked.faults:
            return
        message = "; ".join(asked.faults)
        if not self._log_only:
            raise Refusal(403, Reason.MODEL_REFUSED, message)
        self._journal.note_of(live, "model_would_be_refused", {"message": message})

    @asynccontextmanager
    async def _slot(self, live: Live) -> AsyncIterator[None]:
        """One of the session's slots. Waiting costs less than a 429, which the CLI would back off from."""
        if live.model_waiting >= _MOST_WAITING:
            raise Refusal(
                429, Reason.MODEL_OVERLOADED, f"{_MOST_WAITING} model requests of this session wait already"
            )
        live.model_waiting += 1
        try:
            await live.model_slots.acquire()
        finally:
            live.model_waiting -= 1
        try:
            yield
        finally:
            live.model_slots.release()

    async def _credential(self, live: Live, rules: ProjectSpec) -> Credential:
        try:
            credential = await self._credentials.get(live.grant.namespace, rules.model.credentials_secret)
            credential.require(URL(rules.model.upstream_url))
        except CredentialError as error:
            raise Refusal(403, Reason.MODEL_AUTH_FAILED, str(error)) from error
        return credential

    async def _reserve(self, live: Live, asked: ModelRequest, rules: ProjectSpec) -> Reservation:
        price = price_of(asked.model, rules.model.prices)
        return await self._meter.reserve(
            live.grant,
            caps_of(live.grant.spec, rules),
            rules.budgets,
            model=asked.model,
            input_tokens=asked.input_tokens,
            output_tokens=asked.max_tokens,
            cost_nanousd=price.most(asked.input_tokens, asked.max_tokens) if price else None,
        )

    async def _carry(self, request: web.Request, live: Live, call: _Call) -> web.StreamResponse:
        """From the reservation on: whatever happens, it is booked or released."""
        # Beside the connection to the upstream, so that it costs no time; awaited before the first byte out.
        recorded = asyncio.create_task(self._meter.record(call.reservation))
        recorded.add_done_callback(_look_at)
        answer: aiohttp.ClientResponse | None = None
        billed = False
        task = asyncio.current_task()
        assert task is not None
        # The close of the attempt waits for it: what the model has sent by then is in the final numbers.
        live.under_way.add(task)
        try:
            if self._meter.failing:
                await recorded  # nothing is asked of the model that can't be put on record
            answer = await self._send(request, live, call)
            try:
                await recorded
            except StoreUnavailableError:
                billed = True
                self._meter.book_unrecorded(call.reservation)
                raise
            scrub = Scrubber(call.credential.traces())
            if answer.status != _OK:
                return await self._fail(live, answer, call.credential, scrub)
            billed = True
            exchange = Exchange(
                live=live,
                answer=answer,
                scrub=scrub,
                meter=self._meter,
                reservation=call.reservation,
                price=price_of(call.asked.model, call.rules.model.prices),
                journal=self._journal,
                verdicts=self._verdicts,
                metrics=self._metrics,
                begun=call.begun,
            )
            return await exchange.run(request, stream=call.asked.stream)
        except asyncio.CancelledError:
            # Cut off by the close while the model was still thinking: what that costs nobody will tell, and
            # a pod that asks and goes must not have it for nothing.
            if not billed:
                billed = True
                await self._cut_off(live, call.reservation)
            raise
        finally:
            live.under_way.discard(task)
            if answer is not None:
                answer.close()
            if not billed:
                recorded.cancel()
                self._meter.release(call.reservation)

    async def _cut_off(self, live: Live, reservation: Reservation) -> None:
        told = {"message": "the attempt ended before the model had answered", "booked": "the reservation"}
        self._journal.note_of(live, "model_broke", told)
        # In a task of its own: this one is cancelled, the booking is not.
        await asyncio.shield(asyncio.create_task(self._meter.settle(reservation, reservation.whole())))

    async def _send(self, request: web.Request, live: Live, call: _Call) -> aiohttp.ClientResponse:
        asked, credential = call.asked, call.credential
        query = f"?{request.query_string}" if request.query_string else ""
        url = URL(f"{call.rules.model.upstream_url.rstrip('/')}/v1/messages{query}")
        headers = forwarded_headers(
            request.headers, asked.betas, live.grant.claude_session_id, credential.model_headers()
        )
        headers["Content-Length"] = str(len(call.held.body))
        try:
            answer = await self._upstreams.send(
                "POST", url, listed=credential.lists(url), headers=headers, body=call.held.outgoing()
            )
        except UpstreamError as error:
            message = f"the model's API can't be reached: {error}"
            self._verdicts.set(live, "model", Reason.MODEL_OVERLOADED, message)
            self._journal.note_of(live, "model_failed", {"status": 0, "message": message})
            raise Refusal(502, Reason.MODEL_OVERLOADED, message) from error
        call.held.release()
        return answer

    async def _fail(
        self, live: Live, answer: aiohttp.ClientResponse, credential: Credential, scrub: Scrubber
    ) -> web.Response:
        body = await answer.content.read(_MOST_ERROR_BYTES)
        fault = explain(answer.status, body, secret=credential.name, scrub=scrub)
        self._verdicts.set(live, "model", fault.reason, fault.message)
        self._journal.note_of(
            live, "model_failed", {"status": answer.status, "reason": fault.reason, "message": fault.message}
        )
        self._metrics.count("model_failed_total", status=str(answer.status))
        return web.Response(
            status=fault.status,
            body=fault.body(),
            content_type="application/json",
            headers=response_headers(answer.headers, scrub),
        )


def _look_at(task: asyncio.Task[None]) -> None:
    # Whoever awaits it sees its exception; when nobody does any more, that is no news.
    if not task.cancelled():
        task.exception()


def _verdict(refused: Refusal) -> Reason:
    try:
        return Reason(refused.reason)
    except ValueError:
        return Reason.MODEL_REFUSED


def refusal_response(refused: Refusal) -> web.Response:
    """A refusal in the shape that the Messages API's clients read."""
    return web.Response(
        status=refused.status,
        body=error_body(refused.status, refused.message, refused.reason),
        content_type="application/json",
        headers=refused.headers,
    )
