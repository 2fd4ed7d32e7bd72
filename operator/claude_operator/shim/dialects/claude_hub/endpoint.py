"""The dialect's routes: one POST, whose errors have their documented shape whatever goes wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from aiohttp import web

from claude_operator.shim.core.errors import RefusedError
from claude_operator.shim.dialects.claude_hub import openapi, parse, render
from claude_operator.shim.dialects.claude_hub.operations import Operations
from claude_operator.shim.dialects.claude_hub.requests import MODELS
from claude_operator.shim.door import TurnedAwayError, refused
from claude_operator.shim.settings import ErrorStatus

if TYPE_CHECKING:
    from claude_operator.shim.site import Site

log = logging.getLogger(__name__)

PATH: Final = "/api/webhooks/claude"
MULTI_STATUS: Final = 207
RETRY_SECONDS: Final = "2"
_HANDLED: Final = frozenset({400, 404, 409})
"""Statuses that become 207 in the legacy mode: the errors that the original's handlers found."""


class Dialect:
    """The claude-hub webhook API."""

    provider = "claude"
    handlers = len(MODELS)

    def __init__(self, site: Site) -> None:
        self._site = site
        self._operations = Operations(
            site.sessions, site.reporter, private_callbacks=site.settings.private_callbacks
        )

    def routes(self) -> list[web.RouteDef]:
        """Where it answers; a trailing slash is as good, as it was with the original."""
        return [web.post(path, self._post) for path in (PATH, f"{PATH}/")]

    def openapi(self) -> openapi.Json:
        """Its paths and schemas."""
        return openapi.document(self._site.settings)

    async def _post(self, request: web.Request) -> web.Response:
        event, scope = "", None
        try:
            scope = self._site.door.admit(request)
            key = parse.idempotency_key(request.headers.get("Idempotency-Key"))
            content = await self._site.door.body(request)
            body = parse.decode(content, request.headers.get("Content-Type", ""))
            event = parse.event_of(body)
            asked = parse.request(body)
            answer = await self._operations.run(scope, asked, key)
        except TurnedAwayError as error:
            return self._turned_away(error)
        except RefusedError as error:
            return self._refused(event, error)
        self._site.metrics.count("operations_total", operation=event, status="ok")
        return _response(200, render.success(event, answer.message, answer.data))

    def _turned_away(self, error: TurnedAwayError) -> web.Response:
        self._site.metrics.count("operations_total", operation="none", status=str(error.status))
        answer = _response(error.status, render.bare_failure(error.message, error.detail))
        if error.status == 401:  # noqa: PLR2004 - HTTP
            answer.headers["WWW-Authenticate"] = "Bearer"
        if error.status in {400, 408, 413}:
            # What is left of the body is not waited for.
            answer.force_close()
        return answer

    def _refused(self, event: str, error: RefusedError) -> web.Response:
        status = refused(error)
        known = event if event in MODELS else "unknown"
        self._site.metrics.count("operations_total", operation=known, status=str(status))
        if status == 500:  # noqa: PLR2004 - HTTP
            log.error("%s: %s", known, error)
        if status in _HANDLED and self._site.settings.error_status is ErrorStatus.LEGACY:
            status = MULTI_STATUS
        body = render.failure(event, error.message) if event else render.bare_failure(error.message)
        answer = _response(status, body)
        if status == 503:  # noqa: PLR2004 - HTTP
            answer.headers["Retry-After"] = RETRY_SECONDS
        return answer


def _response(status: int, body: bytes) -> web.Response:
    return web.Response(
        status=status,
        body=body,
        content_type="application/json",
        # Nobody should guess another type from what an agent wrote, or keep it.
        headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
    )
