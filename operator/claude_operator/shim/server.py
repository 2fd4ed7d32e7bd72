"""The HTTP server: routes of the dialects and of the system, and what is true of every answer."""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from claude_operator.listen.listener import Bounds, Listener
from claude_operator.shim import document
from claude_operator.shim.dialects import claude_hub, github
from claude_operator.shim.door import HEADERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from aiohttp.typedefs import Handler, Middleware

    from claude_operator.shim.health import Health
    from claude_operator.shim.site import Dialect, Site

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS: Final = 10.0
"""For requests that are being answered when the process is told to stop."""
_KEEP_ALIVE_SECONDS: Final = 75.0
_INTERNAL: Final = {"success": False, "error": "Internal server error"}


def dialects(site: Site) -> list[Dialect]:
    """Everything that is spoken here."""
    return [claude_hub.Dialect(site), github.Dialect(site)]


def application(site: Site, health: Health) -> web.Application:
    """All routes."""
    spoken = dialects(site)
    app = web.Application(middlewares=[_guard(site)], client_max_size=site.settings.body_limit)
    for dialect in spoken:
        app.add_routes(dialect.routes())
    app.add_routes([*_system(health), *_providers(spoken), *_documents(spoken)])
    app.on_response_prepare.append(_finish(site))
    return app


@asynccontextmanager
async def serve(site: Site, health: Health) -> AsyncIterator[Listener]:
    """Listen for as long as the block runs, then answer what was begun."""
    # Broken requests would fill the log with stack traces; what our handlers do is logged by the guard.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    settings = site.settings
    runner = web.AppRunner(
        application(site, health),
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    assert runner.server is not None, "it is set up"
    try:
        async with Listener(
            runner.server,
            host=settings.host,
            port=settings.port,
            bounds=Bounds(head_seconds=settings.head_seconds, per_peer=settings.connections_per_peer),
            metrics=site.metrics,
        ) as listener:
            yield listener
    finally:
        await runner.cleanup()


def _guard(site: Site) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.perf_counter()
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            # aiohttp's own: no such route, no such method.
            answer = _json(error.status, {"success": False, "error": _words(error)})
            if "Allow" in error.headers:
                answer.headers["Allow"] = error.headers["Allow"]
        except ConnectionError:
            raise  # the client has gone: there is nobody to answer
        except Exception:
            # The last net: the client gets the documented error, the log the reason.
            log.exception("%s %s failed", request.method, request.path)
            answer = _json(500, _INTERNAL)
        site.metrics.observe("request_seconds", time.perf_counter() - begun)
        site.metrics.count("requests_total", status=str(answer.status))
        return answer

    return guard


def _finish(site: Site) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def finish(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(request.get(HEADERS, {}))
        if not site.settings.keep_alive:
            # A client that shares a connection pool between event loops fails on every second call else.
            response.force_close()
            # aiohttp has settled this header before it asks us.
            response.headers["Connection"] = "close"

    return finish


def _system(health: Health) -> list[web.RouteDef]:
    async def livez(_: web.Request) -> web.Response:
        complaint = health.complaint()
        return web.Response(status=503 if complaint else 200, text=complaint or "ok")

    async def readyz(_: web.Request) -> web.Response:
        unready = health.unready()
        return web.Response(status=503 if unready else 200, text=unready or "ok")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=health.render_metrics())

    async def report(_: web.Request) -> web.Response:
        return _json(200, health.report())

    return [
        web.get("/livez", livez),
        web.get("/readyz", readyz),
        web.get("/metrics", metrics),
        web.get("/health", report),
    ]


def _providers(spoken: Sequence[Dialect]) -> list[web.RouteDef]:
    async def providers(_: web.Request) -> web.Response:
        found = [{"name": one.provider, "handlerCount": one.handlers} for one in spoken]
        return _json(200, {"status": "healthy", "providers": found})

    async def unknown(_: web.Request) -> web.Response:
        return _json(404, {"success": False, "error": "Not found"})

    return [
        web.get("/api/webhooks/health", providers),
        web.post("/api/webhooks/{provider:.*}", unknown),
    ]


def _documents(spoken: Sequence[Dialect]) -> list[web.RouteDef]:
    described = document.openapi(spoken)
    as_json, as_page = orjson.dumps(described), document.page(described)

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=as_json, content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return web.Response(
            text=as_page, content_type="text/html", headers={"Content-Security-Policy": policy}
        )

    return [web.get("/openapi.json", openapi), web.get("/docs", docs)]


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def _words(error: web.HTTPException) -> str:
    return {404: "Not found", 405: "Method not allowed"}.get(error.status, error.reason or "Error")
