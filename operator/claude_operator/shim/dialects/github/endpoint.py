"""Answering GitHub: read the body, have the gateway verify and keep it, say what will come of it.

GitHub waits ten seconds and does not repeat by itself. It is told success once the event is in the gateway's
database, and what follows does not depend on this connection or this process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from claude_operator.record.gateway import GatewayUnavailable
from claude_operator.resources.project import GitHubTask
from claude_operator.shim.dialects.github import openapi
from claude_operator.shim.dialects.github.screen import PROCESSED
from claude_operator.shim.dialects.github.worker import judge
from claude_operator.shim.door import TurnedAwayError
from claude_operator.wire.github import INVALID_SIGNATURE, Arrival

if TYPE_CHECKING:
    from claude_operator.shim.dialects.github.screen import Asked, Screened
    from claude_operator.shim.site import Site
    from claude_operator.wire.github import Deliveries, KeptDelivery

PATH: Final = "/api/webhooks/github"
_KEEP_SECONDS: Final = 1.7
"""For the gateway to keep it; the whole answer is to come within two seconds."""
_AT_ONCE: Final = 64
"""Bodies in memory: nobody has shown a signature yet when they are read."""
_ACCEPTED: Final = {
    GitHubTask.TRIAGE: "Issue accepted for triage",
    GitHubTask.COMMAND: "Command accepted; the answer will be posted",
    GitHubTask.REVIEW: "Pull request review accepted",
    GitHubTask.CHECKED_REVIEW: "Pull request review accepted",
}
_TYPES: Final = {
    GitHubTask.TRIAGE: "issues_opened",
    GitHubTask.COMMAND: "issue_comment",
    GitHubTask.REVIEW: "manual_pr_review",
    GitHubTask.CHECKED_REVIEW: "check_suite",
}
"""The original's words."""


class Dialect:
    """GitHub's webhook."""

    provider = "github"
    handlers = len(GitHubTask)

    def __init__(self, site: Site) -> None:
        self._site = site
        self._busy = 0

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [web.post(path, self._post) for path in (PATH, f"{PATH}/")]

    def openapi(self) -> openapi.Json:
        """Its path and schemas."""
        return openapi.document(self._site.settings)

    async def _post(self, request: web.Request) -> web.Response:
        if self._busy >= _AT_ONCE:
            return _failure(503, "Too many webhook requests", headers={"Retry-After": "5"})
        self._busy += 1
        try:
            return await self._answer(request)
        finally:
            self._busy -= 1

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            body = await self._site.door.body(request)
        except TurnedAwayError as error:
            answer = _failure(error.status, error.message)
            # What is left of the body is not waited for.
            answer.force_close()
            return answer
        arrival = Arrival.model_construct(
            event=_header(request, "X-GitHub-Event", 64),
            delivery_id=_header(request, "X-GitHub-Delivery", 64),
            signature=_header(request, "X-Hub-Signature-256", 200),
            content_type=request.content_type[:200],
            body=body,
        )
        try:
            async with asyncio.timeout(_KEEP_SECONDS):
                kept = await self._site.github.record.arrive(arrival)
        except TimeoutError:
            return self._unavailable()
        except GatewayUnavailable as error:
            if error.reason == INVALID_SIGNATURE:
                return _failure(
                    401, "Invalid webhook signature", detail="Webhook signature verification failed"
                )
            if error.status == 400:  # noqa: PLR2004 - HTTP
                return _failure(400, error.said or "Missing or invalid request body")
            if error.status == 413:  # noqa: PLR2004 - HTTP
                return _failure(413, "Request body is too large")
            return self._unavailable()
        for one in kept.deliveries:
            self._site.github.start(one)
        return _response(200, _told(kept))

    def _unavailable(self) -> web.Response:
        # GitHub shows it as failed, and "Redeliver" sends it again under the same id.
        return _failure(503, "The event could not be kept, deliver it again", headers={"Retry-After": "5"})


def _told(kept: Deliveries) -> dict[str, object]:
    """What becomes of it, in the original's words where it had some."""
    if not kept.deliveries:
        return {"success": True, "message": "Delivery is known already" if kept.known else PROCESSED}
    judged = [(one, judge(one)[0]) for one in kept.deliveries]
    for one, screened in judged:
        if screened.asked:
            asked = screened.asked[0]
            return {"success": True, "message": _ACCEPTED[asked.task], "context": _context(one, asked)}
    return {"success": True, "message": _ignored(judged[0][1])}


def _header(request: web.Request, name: str, most: int) -> str:
    # What is not ASCII is none of GitHub's, and would not travel in JSON.
    return request.headers.get(name, "").encode("ascii", "replace").decode()[:most]


def _ignored(screened: Screened) -> str:
    return screened.ignored.message if screened.ignored is not None else PROCESSED


def _context(kept: KeptDelivery, asked: Asked) -> dict[str, object]:
    context: dict[str, object] = {
        "repo": kept.repository.partition("/")[2],
        "type": _TYPES[asked.task],
        "pr" if asked.is_pull else "issue": asked.number,
    }
    return context | ({"sender": asked.by} if asked.by else {})


def _failure(
    status: int, error: str, *, detail: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    body = {"success": False, "error": error} | ({"message": detail} if detail else {})
    return _response(status, body, headers=headers)


def _response(status: int, body: dict[str, object], *, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", **(headers or {})},
    )
