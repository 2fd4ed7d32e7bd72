"""An aiohttp application on an address: start, port, stop, and the endpoints for the test itself.

Those endpoints (`/_...`) tell what was received, real credentials included, and
stand on an address that pods can reach. So they want a token of their own:
otherwise the test world would be the hole through which an agent reads the keys
that the product keeps from it.
"""

from __future__ import annotations

import hmac
import json
import secrets
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from tests.world.echo import Echo, EchoSetting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from pydantic import JsonValue

    from tests.world.records import Recorder

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ECHO: TypeAdapter[Echo | None] = TypeAdapter(EchoSetting)
_BODY_BYTES = 32 << 20
"""The Messages API's own limit."""


class Listener:
    """One application, listening from `start` to `stop`."""

    def __init__(self, *, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}"

    async def start(self, routes: list[web.RouteDef]) -> None:
        """Listen.

        Raises:
            OSError: the address is not free or not this machine's.
        """
        app = web.Application(client_max_size=_BODY_BYTES)
        app.add_routes([web.get("/healthz", _healthz), *routes])
        runner = web.AppRunner(
            app,
            access_log=None,
            # A client that leaves must end its handler: that it left is recorded there.
            handler_cancellation=True,
            # git's gzipped requests belong to http-backend as they are.
            auto_decompress=False,
            shutdown_timeout=1,
        )
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=self._tls, backlog=1024).start()
        except OSError:
            await self.stop()
            raise
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


class Control:
    """The endpoints for the test: a token, the records, the echo, and what a server adds."""

    def __init__(self, token: str | None, recorder: Recorder, echo: Echo | None) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self.echo = echo
        self._recorder = recorder

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_requests", self.guarded(self._requests)),
            web.delete("/_requests", self.guarded(self._forget)),
            web.put("/_echo", self.guarded(self._set_echo)),
        ]

    def guarded(self, handler: Handler) -> Handler:
        """`handler` for those alone who know the token."""

        async def answer(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return web.Response(status=401, text="this endpoint wants the test world's control token\n")
            return await handler(request)

        return answer

    async def _requests(self, request: web.Request) -> web.Response:
        try:
            since = int(request.query.get("since", "0"))
        except ValueError:
            return web.Response(status=400, text="since: expects a request's number\n")
        records: list[JsonValue] = [record.json() for record in self._recorder.since(since)]
        value: JsonValue = {"requests": records, "first": self._recorder.first, "last": self._recorder.last}
        return json_response(value)

    async def _set_echo(self, request: web.Request) -> web.Response:
        try:
            self.echo = _ECHO.validate_json(await request.read())
        except ValidationError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)

    async def _forget(self, _: web.Request) -> web.Response:
        self._recorder.clear()
        return web.Response(status=204)


def json_response(
    value: JsonValue, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), status=status, headers=headers, content_type="application/json"
    )
