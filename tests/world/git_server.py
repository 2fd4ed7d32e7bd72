"""A git host: smart HTTP with accounts and rights, and faults when a test wants them.

It answers as hosts do: 401 with a challenge to a stranger, 404 for what an
account may not see, 403 for what it may not change.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tests.world.echo import echoed_headers, echoed_text
from tests.world.git_backend import Backend, BackendError
from tests.world.listening import Control, Listener
from tests.world.records import Record, Recorder
from tests.world.repositories import Repositories

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from tests.world.echo import Echo

_PATH = re.compile(r"/([^/]+/[^/]+?)(?:\.git)?/((?:info/|objects/|git-|HEAD).*)")
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="test world"'}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GitUser(_Model):
    """An account; `read` and `write` are patterns of `owner/repo`, and who may write may read."""

    username: Annotated[str, Field(min_length=1)]
    token: Annotated[str, Field(min_length=1)]
    read: tuple[str, ...] = ("*/*",)
    write: tuple[str, ...] = ("*/*",)


class GitFault(_Model):
    """What befalls the requests that it matches, the first `times` of them (without it: all).

    With `status` the server itself answers (a redirect is `status: 302` and a
    `Location` among the headers); without it git does, after `delay`. `reject`
    refuses a push as a host's hook does, with this text. `cut_after` ends the
    connection after so many bytes of git's answer.
    """

    repository: str = "*/*"
    service: Literal["git-upload-pack", "git-receive-pack"] | None = None
    method: Literal["GET", "POST"] | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    delay: Annotated[float, Field(ge=0, le=3600)] = 0
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""
    reject: str | None = None
    cut_after: Annotated[int, Field(ge=0)] | None = None


_FAULTS = TypeAdapter(list[GitFault])
_NO_FAULT = GitFault()


@dataclass(frozen=True, slots=True)
class _Target:
    """What a request is about."""

    repository: str
    rest: str
    service: str
    writes: bool


class GitServer:
    """A git host on an address, for as long as it is entered.

    Args:
        root: the folder of bare repositories, `<owner>/<repo>.git`; see `repositories`.
        users: the accounts, for HTTP Basic authentication.
        anonymous_read: patterns of repositories that anybody may read.
        host, port: where to listen; port 0 lets the system choose.
        control_token: opens `/_requests` and `/_faults`; made up if None.
        echo: reflect request headers into headers, error texts and what a push prints.
        tls: serve HTTPS.
    """

    def __init__(
        self,
        *,
        root: Path,
        users: Iterable[GitUser] = (),
        anonymous_read: Iterable[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        control_token: str | None = None,
        echo: Echo | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.repositories = Repositories(root)
        self.users = tuple(users)
        self.anonymous_read = tuple(anonymous_read)
        self.requests = Recorder()
        self._faults: list[tuple[GitFault, int | None]] = []
        self._control = Control(control_token, self.requests, echo)
        self._listener = Listener(host=host, port=port, tls=tls)

    @property
    def url(self) -> str:
        """Scheme, host and port; a repository is `<url>/<owner>/<repo>.git`."""
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

    @property
    def faults(self) -> list[GitFault]:
        """The faults that can still strike; assign to it to arm others in their place."""
        return [fault for fault, left in self._faults if left is None or left > 0]

    @faults.setter
    def faults(self, faults: Iterable[GitFault]) -> None:
        self._faults = [(fault, fault.times) for fault in faults]

    async def __aenter__(self) -> Self:
        guarded = self._control.guarded
        await self._listener.start(
            [
                *self._control.routes(),
                web.get("/_faults", guarded(self._show_faults)),
                web.put("/_faults", guarded(self._arm_faults)),
                web.route("*", "/{path:.*}", self._receive),
            ]
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.stop()

    async def _show_faults(self, _: web.Request) -> web.Response:
        return web.Response(body=_FAULTS.dump_json(self.faults), content_type="application/json")

    async def _arm_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults = _FAULTS.validate_json(await request.read())
        except ValidationError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        record = self.requests.begin(
            method=request.method, path=request.path, query=request.query_string, headers=request.headers
        )
        started = time.monotonic()
        try:
            response = await self._answer(request, record)
        except (asyncio.CancelledError, ConnectionError):
            record.outcome = "hung_up"
            raise
        finally:
            record.seconds = time.monotonic() - started
        record.status = response.status
        if record.outcome == "open":
            record.outcome = "answered" if response.status < 400 else "refused"
        return response

    async def _answer(self, request: web.Request, record: Record) -> web.StreamResponse:
        target = _target(request)
        if target is None:
            return self._refuse(request, 404, "Not Found")
        record.details |= {"repository": target.repository, "service": target.service}
        user = self._user(request)
        if user is None and "Authorization" in request.headers:
            return self._refuse(request, 401, "Invalid username or token.", _CHALLENGE)
        record.details["user"] = user.username if user else None
        if refusal := self._forbidden(request, target, user):
            return refusal
        fault = self._strike(request, target)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.status is not None:
            return self._refuse(request, fault.status, fault.body, fault.headers)
        return await self._serve(request, record, target, user, fault)

    def _forbidden(self, request: web.Request, target: _Target, user: GitUser | None) -> web.Response | None:
        may_write = user is not None and _matches(user.write, target.repository)
        may_read = (
            may_write
            or _matches(self.anonymous_read, target.repository)
            or (user is not None and _matches(user.read, target.repository))
        )
        if user is None and (target.writes or not may_read):
            return self._refuse(request, 401, "Authentication required.", _CHALLENGE)
        if not may_read or not self.repositories.exists(target.repository):
            return self._refuse(request, 404, "Repository not found.")
        if target.writes and not may_write:
            return self._refuse(request, 403, f"Write access to {target.repository} not granted.")
        return None

    async def _serve(
        self, request: web.Request, record: Record, target: _Target, user: GitUser | None, fault: GitFault
    ) -> web.StreamResponse:
        hooks = {
            "TEST_WORLD_ECHO": echoed_text(self.echo, "body", request.headers),
            "TEST_WORLD_REJECT": fault.reject or "",
        }
        backend = Backend(
            request,
            root=self.repositories.root.resolve(),
            path=f"/{target.repository}.git/{target.rest}",
            user=user.username if user else "",
            extra=hooks,
        )
        try:
            return await backend.answer(
                echoed_headers(self.echo, request.headers) | fault.headers, fault.cut_after
            )
        except BackendError as error:
            return self._refuse(request, 500, str(error))
        finally:
            self.requests.keep_body(record, bytes(backend.received))

    def _user(self, request: web.Request) -> GitUser | None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, token = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return next((user for user in self.users if (user.username, user.token) == (name, token)), None)

    def _strike(self, request: web.Request, target: _Target) -> GitFault:
        for index, (fault, left) in enumerate(self._faults):
            if (
                left != 0
                and fnmatchcase(target.repository, fault.repository)
                and fault.service in (None, target.service)
                and fault.method in (None, request.method)
            ):
                if left is not None:
                    self._faults[index] = (fault, left - 1)
                return fault
        return _NO_FAULT

    def _refuse(
        self, request: web.Request, status: int, text: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        body = text + echoed_text(self.echo, "error", request.headers)
        return web.Response(
            status=status, text=body, headers=echoed_headers(self.echo, request.headers) | (headers or {})
        )


def _target(request: web.Request) -> _Target | None:
    found = _PATH.fullmatch(request.path)
    if found is None or ".." in request.path.split("/"):
        return None
    repository, rest = found.groups()
    service = request.query.get("service", "") if rest == "info/refs" else rest
    return _Target(repository=repository, rest=rest, service=service, writes=service == "git-receive-pack")


def _matches(patterns: Iterable[str], repository: str) -> bool:
    return any(fnmatchcase(repository, pattern) for pattern in patterns)
