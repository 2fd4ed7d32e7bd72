"""The stand-in's server: authentication, the check of each request's shape, faults, and the answers.

A request that GitHub would not know, or whose shape is not the published one, is noted in `violations` and
refused; a test ends by looking there.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import jwt
import orjson
from aiohttp import web
from pydantic import ValidationError

from tests.world.github import answers
from tests.world.github.operations import find
from tests.world.github.state import App, Minted, Repository

if TYPE_CHECKING:
    from types import TracebackType

    from tests.world.github.operations import Operation

Json = dict[str, Any]
BOT = "claude-bot"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request."""

    operation: str
    method: str
    path: str
    body: Any
    token: str


@dataclass(slots=True)
class Fault:
    """What befalls requests of an operation, the first `times` of them."""

    operation: str
    status: int = 500
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = field(default_factory=lambda: {"message": "a fault"})
    after: bool = False
    """The request is carried out, and its answer lost."""
    delay: float = 0


@dataclass(slots=True)
class GitHubServer:
    """GitHub's REST API below `url`; an async context manager."""

    token: str = "ghp_standInToken0123456789abcdefABCDEF"
    """Of the bot's account."""
    app: App = field(default_factory=App)
    repositories: dict[str, Repository] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    prefix: str = "/api/v3"
    """As on a GitHub Enterprise Server."""
    host: str = "127.0.0.1"
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}{self.prefix}"

    def add(self, name: str, web_url: str) -> Repository:
        made = Repository(name, web_url)
        self.repositories[name.lower()] = made
        return made

    def of(self, operation: str) -> list[Sent]:
        return [one for one in self.sent if one.operation == operation]

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(self.prefix)
        found = find(request.method, path)
        if found is None or not request.path.startswith(f"{self.prefix}/"):
            return self._violates(request, "no such operation is known here")
        operation, values = found
        data = await request.read()
        fault = self._shape(request, operation, data)
        if fault is not None:
            return self._violates(request, fault)
        body = orjson.loads(data) if data else None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        self.sent.append(Sent(operation.id, request.method, path, body, token))
        befalls = next((one for one in self.faults if one.operation == operation.id and one.times > 0), None)
        if befalls is not None:
            befalls.times -= 1
            await asyncio.sleep(befalls.delay)
            if not befalls.after and befalls.status:
                return web.json_response(befalls.body, status=befalls.status, headers=befalls.headers)
        refused = self._refused(operation, values, scheme.lower(), token)
        if refused is not None:
            return refused
        answer = self._answer(operation, values, request, body)
        if befalls is not None and befalls.after:
            assert request.transport is not None
            request.transport.abort()
        return answer

    def _shape(self, request: web.Request, operation: Operation, data: bytes) -> str | None:
        if request.headers.get("X-GitHub-Api-Version") != "2022-11-28":
            return "X-GitHub-Api-Version is missing"
        if "github" not in request.headers.get("Accept", "") or not request.headers.get("User-Agent"):
            return "Accept or User-Agent is missing"
        if unknown := set(request.query) - operation.query:
            return f"unknown query {unknown}"
        if operation.body is None:
            return "a body that is not expected" if data else None
        try:
            operation.body.model_validate_json(data)
        except ValidationError as error:
            return str(error)
        return None

    def _refused(
        self, operation: Operation, values: dict[str, str], scheme: str, token: str
    ) -> web.Response | None:
        """As GitHub refuses a login."""
        if not operation.permissions:
            return None if scheme == "bearer" and self._is_app(token) else _error(401, "Bad credentials")
        minted = self.app.minted.get(token)
        if token == self.token:
            return None
        if minted is None or minted.expires < time.time():
            return _error(401, "Bad credentials")
        if values["repo"].lower() not in [one.lower() for one in minted.repositories]:
            return _error(404, "Not Found")
        for name, level in operation.permissions:
            held = minted.permissions.get(name)
            if held == level or (held == "write" and level == "read"):
                return None
        return _error(403, "Resource not accessible by integration")

    def _is_app(self, token: str) -> bool:
        try:
            claims = jwt.decode(
                token,
                self.app.key.public_key(),
                algorithms=["RS256"],
                issuer=self.app.id,
                options={"require": ["iat", "exp", "iss"]},
            )
        except jwt.PyJWTError:
            return False
        return bool(claims["exp"] - time.time() <= 600)

    def _answer(
        self, operation: Operation, values: dict[str, str], request: web.Request, body: Any
    ) -> web.Response:
        if operation.id == "apps/create-installation-access-token":
            return self._mint(int(values["installation_id"]), body)
        repository = self.repositories.get(f"{values['owner']}/{values['repo']}".lower())
        if repository is None:
            return _error(404, "Not Found")
        if operation.id == "apps/get-repo-installation":
            return web.json_response({"id": self.app.installation, "permissions": self.app.permissions})
        made = answers.answer(operation, answers.Call(values, repository, dict(request.query), body, BOT))
        if isinstance(made, answers.Refused):
            return _error(made.status, made.message, made.errors)
        if not isinstance(made, list) and not (isinstance(made, dict) and "check_suites" in made):
            return web.json_response(made, status=operation.status)
        return self._page(made, request, operation)

    def _page(self, made: Any, request: web.Request, operation: Operation) -> web.Response:
        """One page, with a link to the next."""
        size, page = int(request.query.get("per_page", "30")), int(request.query.get("page", "1"))
        items = made if isinstance(made, list) else made["check_suites"]
        part = items[(page - 1) * size : page * size]
        headers = {}
        if len(items) > page * size:
            following = request.url.update_query(page=page + 1)
            headers["Link"] = f'<{self.origin}{following.path_qs}>; rel="next"'
        answer = part if isinstance(made, list) else {"total_count": len(items), "check_suites": part}
        return web.json_response(answer, status=operation.status, headers=headers)

    def _mint(self, installation: int, body: Json) -> web.Response:
        if installation != self.app.installation:
            return _error(404, "Not Found")
        wanted = body.get("permissions") or self.app.permissions
        for name, level in wanted.items():
            held = self.app.permissions.get(name)
            if held != level and not (held == "write" and level == "read"):
                return _error(422, "The permissions requested are not granted to this installation.")
        token = self.app.next_tokens.pop(0) if self.app.next_tokens else f"ghs_{secrets.token_hex(18)}"
        minted = Minted(body.get("repositories") or [], wanted, time.time() + self.app.seconds)
        self.app.minted[token] = minted
        expires = datetime.fromtimestamp(minted.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = {"token": token, "expires_at": expires, "permissions": wanted}
        return web.json_response(made, status=201)

    def _violates(self, request: web.Request, what: str) -> web.Response:
        self.violations.append(f"{request.method} {request.path_qs}: {what}")
        return _error(400, what)


def _error(status: int, message: str, errors: list[str] | None = None) -> web.Response:
    body: Json = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    return web.json_response(body | ({"errors": errors} if errors else {}), status=status)
