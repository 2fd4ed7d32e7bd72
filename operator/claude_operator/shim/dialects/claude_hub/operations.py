"""The operations, one function each: parse, call the core, render."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, assert_never

import orjson

from claude_operator.shim.core.errors import Kind, RefusedError
from claude_operator.shim.core.sessions import Texts
from claude_operator.shim.core.view import echo_of
from claude_operator.shim.dialects.claude_hub import parse, render
from claude_operator.shim.dialects.claude_hub.requests import (
    Orchestrate,
    SessionCancel,
    SessionContinue,
    SessionCreate,
    SessionDelete,
    SessionGet,
    SessionList,
    SessionOutput,
    SessionRetry,
    SessionStart,
)

if TYPE_CHECKING:
    from claude_operator.shim.core.directory import Thread, Waiting
    from claude_operator.shim.core.report import Reporter
    from claude_operator.shim.core.scope import Scope
    from claude_operator.shim.core.sessions import Sessions
    from claude_operator.shim.dialects.claude_hub.requests import Request

Json = dict[str, Any]
_CURSOR_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler says when all went well."""

    message: str
    data: Json


class Operations:
    """Of one server; all raise RefusedError."""

    def __init__(self, sessions: Sessions, reporter: Reporter, *, private_callbacks: bool) -> None:
        self._sessions = sessions
        self._reporter = reporter
        self._private_callbacks = private_callbacks

    async def run(self, scope: Scope, asked: Request, key: str | None) -> Answer:
        """Do what a request asks for; `key` is its Idempotency-Key."""
        match asked:
            case SessionCreate():
                return await self._create(scope, asked, key)
            case SessionStart():
                return await self._start(scope, parse.session_id(asked.session_id))
            case SessionGet():
                thread = await self._sessions.find(scope, parse.session_id(asked.session_id))
                return Answer("Session found", await self._data(thread))
            case SessionOutput():
                return await self._output(scope, parse.session_id(asked.session_id))
            case SessionList():
                return await self._list(scope, asked)
            case SessionCancel():
                return await self._cancel(scope, parse.session_id(asked.session_id))
            case SessionDelete():
                return await self._delete(scope, parse.session_id(asked.session_id))
            case SessionRetry() | SessionContinue():
                return await self._go_on(scope, asked, key)
            case Orchestrate():
                return await self._orchestrate(scope, asked, key)
            case _:
                assert_never(asked)

    async def _create(self, scope: Scope, asked: SessionCreate, key: str | None) -> Answer:
        draft = parse.created(asked, private_callbacks=self._private_callbacks)
        wanted = parse.wanted_id(asked.session.id)
        thread = await self._sessions.create(scope, draft, session_id=wanted, idempotency_key=key)
        return Answer("Session created successfully", await self._data(thread))

    async def _orchestrate(self, scope: Scope, asked: Orchestrate, key: str | None) -> Answer:
        draft = parse.orchestrated(asked, private_callbacks=self._private_callbacks)
        thread = await self._sessions.create(scope, draft, idempotency_key=key)
        return Answer("Orchestration session created", render.orchestration_data(await self._shown(thread)))

    async def _start(self, scope: Scope, session_id: str) -> Answer:
        thread, started = await self._sessions.start(scope, session_id)
        view, waiting = thread.latest, self._waiting(thread)
        # A client that creates with autoStart and then starts, as some do by default, gets what it wanted.
        if not started and (view.final or (waiting is None and not _auto_start(thread))):
            status = render.status_of(view, waiting)
            raise RefusedError(
                Kind.CONFLICT, f"Session already started: it cannot be started in status: {status}"
            )
        message = "Session started successfully" if waiting is None else "Session queued"
        return Answer(message, await self._data(thread))

    async def _output(self, scope: Scope, session_id: str) -> Answer:
        thread = await self._sessions.find(scope, session_id)
        output = await self._reporter.output(thread.latest)
        texts = await self._sessions.texts(thread.latest)
        shown = render.session(thread, texts, self._sessions.directory, output=output)
        return Answer("Session output retrieved", render.output_data(shown))

    async def _list(self, scope: Scope, asked: SessionList) -> Answer:
        directory = self._sessions.directory

        def wanted(thread: Thread) -> bool:
            view = thread.latest
            if not scope.sees(view) or asked.orchestration_id not in {None, view.batch, view.id}:
                return False
            if asked.status in {None, "all"}:
                return True
            return render.status_of(view, directory.waiting(view)) == asked.status

        before = _read_cursor(asked.continue_) if asked.continue_ is not None else None
        matching = (thread for thread in directory.newest_first(before) if wanted(thread))
        # One more than asked for: whether there is a further page.
        page = list(islice(matching, asked.limit + 1))
        more, page = len(page) > asked.limit, page[: asked.limit]
        shown = await asyncio.gather(*(self._shown(thread) for thread in page))
        after = _cursor(page[-1]) if more else None
        return Answer("Sessions retrieved", {"sessions": shown, "continue": after})

    async def _cancel(self, scope: Scope, session_id: str) -> Answer:
        thread, cancelled = await self._sessions.cancel(scope, session_id)
        status = render.status_of(thread.latest, None)
        if not cancelled and status != "cancelled":
            raise RefusedError(
                Kind.CONFLICT, f"Session already finished: it cannot be cancelled in status: {status}"
            )
        message = "Session is being cancelled" if cancelled else "Session is cancelled"
        return Answer(message, await self._data(thread))

    async def _delete(self, scope: Scope, session_id: str) -> Answer:
        data = await self._data(await self._sessions.find(scope, session_id))
        await self._sessions.delete(scope, session_id)
        return Answer("Session deleted", data | {"deleted": True})

    async def _go_on(self, scope: Scope, asked: SessionRetry | SessionContinue, key: str | None) -> Answer:
        session_id = parse.session_id(asked.session_id)
        thread = await self._sessions.go_on(scope, session_id, parse.followup(asked, key))
        message = "Session continued" if isinstance(asked, SessionContinue) else "Session retried"
        return Answer(message, await self._data(thread))

    async def _data(self, thread: Thread) -> Json:
        return render.session_data(await self._shown(thread), self._waiting(thread))

    async def _shown(self, thread: Thread) -> Json:
        view = thread.latest
        try:
            texts = await self._sessions.texts(view)
        except RefusedError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            # Deleted since: one that has just gone must not fail a list of hundreds.
            texts = Texts(view.requirements, view.context)
        return render.session(thread, texts, self._sessions.directory)

    def _waiting(self, thread: Thread) -> Waiting | None:
        return self._sessions.directory.waiting(thread.latest)


def _auto_start(thread: Thread) -> bool:
    options = echo_of(thread.latest).get("options")
    return isinstance(options, dict) and options.get("autoStart") is True


def _cursor(thread: Thread) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(thread.order)).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[str, str, str]:
    try:
        found = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if isinstance(found, list) and len(found) == _CURSOR_PARTS and all(isinstance(one, str) for one in found):
        created, session_id, namespace = found
        return created, session_id, namespace
    raise RefusedError(Kind.INVALID, "continue: not a value that session.list has given")
