"""The gateway's internal port, as controller and shim use it; all calls are repeatable.

Transport, retries and the error type are those of the API server's client. What matters to the engine is
only whether there is an answer, so every failure becomes GatewayUnavailable with a text for people.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from claude_operator.kube.config import ClusterConfig, ConfigError, TokenFile
from claude_operator.kube.errors import ApiError
from claude_operator.kube.request import Request
from claude_operator.kube.retry import RetryPolicy
from claude_operator.kube.transport import Transport
from claude_operator.wire.internal import (
    OUTCOMES_PATH,
    SESSIONS_PATH,
    CancelRequest,
    CloseRequest,
    InboxPost,
    KnownSession,
    Outcome,
    RecordedEvent,
    SessionRecord,
    UnfinishedSessions,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

    from claude_operator.wire.message import Message

RETRY: Final = RetryPolicy(deadline=3.0, longest_delay=1.0)
"""Short: a session that needs the gateway comes back by the key queue, and must not hold a worker."""
_SILENCE_SECONDS: Final = 45.0
"""A followed journal sends an empty line every 15 seconds."""

_M = TypeVar("_M", bound="Message")


class GatewayUnavailable(Exception):  # noqa: N818 - the word that status uses
    """The gateway gave no usable answer; the message says why."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "", said: str = "") -> None:
        super().__init__(message)
        self.status = status
        """Of a refusal; 0: there was no answer."""
        self.reason = reason
        self.said = said
        """The gateway's own words."""


class Gateway:
    """One gateway; an async context manager."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        token_file: Path | None,
        on_unreachable: Callable[[], None],
    ) -> None:
        token = TokenFile(token_file) if token_file is not None else None
        self._on_unreachable = on_unreachable
        self._transport = Transport(ClusterConfig(url.rstrip("/"), tls, token), retry=RETRY)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def close_attempt(self, uid: str, attempt: int, request: CloseRequest) -> SessionRecord:
        """Fence an attempt, also one that never claimed, and get the session's final numbers.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        path = f"{SESSIONS_PATH}/{quote(uid, safe='')}/attempts/{attempt}/close"
        return _owed(await self._ask(Request("POST", path, _json(request)), SessionRecord), path)

    async def cancel(self, uid: str, request: CancelRequest) -> None:
        """Refuse the model from now on and tell the runner to stop.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        path = f"{SESSIONS_PATH}/{quote(uid, safe='')}/cancel"
        await self._carry(Request("POST", path, _json(request)))

    async def report(self, outcome: Outcome) -> Outcome:
        """Put the end on record; the one that stands.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        path = f"{SESSIONS_PATH}/{quote(outcome.uid, safe='')}/outcome"
        return _owed(await self._ask(Request("PUT", path, _json(outcome)), Outcome), path)

    async def outcome(self, namespace: str, name: str) -> Outcome | None:
        """How the latest session of that name ended; None: none is on record.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        path = f"{OUTCOMES_PATH}/{quote(namespace, safe='')}/{quote(name, safe='')}"
        return await self._ask(Request("GET", path), Outcome)

    async def unfinished(self) -> list[KnownSession]:
        """The sessions that the gateway knows, and whose end nobody has reported to it.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        answer = await self._ask(Request("GET", SESSIONS_PATH), UnfinishedSessions)
        return _owed(answer, SESSIONS_PATH).sessions

    async def record(self, uid: str) -> SessionRecord | None:
        """What is on record of a session; None: nothing is, no pod of it has ever claimed.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        return await self._ask(Request("GET", f"{SESSIONS_PATH}/{quote(uid, safe='')}"), SessionRecord)

    async def post(self, uid: str, message: InboxPost) -> None:
        """Put something into the inbox of a session's runner. Not retried: it could arrive twice.

        Raises:
            GatewayUnavailable: no usable answer; it may have arrived.
        """
        path = f"{SESSIONS_PATH}/{quote(uid, safe='')}/inbox"
        await self._carry(Request("POST", path, _json(message), repeatable=False))

    async def artifact(self, uid: str, path: str) -> bytes | None:
        """The content of a kept file; None: there is none of that path.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        target = f"{SESSIONS_PATH}/{quote(uid, safe='')}/artifacts/{quote(path)}"
        try:
            return await self._carry(Request("GET", target, accept="*/*"))
        except _NotOnRecord:
            return None

    async def events(self, uid: str, *, after: int = 0, follow: bool = False) -> AsyncIterator[RecordedEvent]:
        """The journal from a cursor on; with `follow` until the session has ended.

        Not retried: the reader knows the last event that it got, and asks again from there.

        Raises:
            GatewayUnavailable: no usable answer, or the stream broke.
        """
        target = f"{SESSIONS_PATH}/{quote(uid, safe='')}/events?after={after}&follow={int(follow)}"
        request = Request("GET", target)
        try:
            async with aclosing(self._transport.stream(request, inactivity=_SILENCE_SECONDS)) as lines:
                async for line in lines:
                    yield RecordedEvent.model_validate_json(line)
        except ApiError as error:
            if error.not_found:
                return
            raise self._unavailable(error) from error
        except (ValidationError, ConfigError) as error:
            raise GatewayUnavailable(f"{request}: {error}") from error

    async def tell(self, path: str, message: Message | None = None) -> None:
        """A repeatable POST whose answer holds nothing.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        await self._carry(Request("POST", path, _json(message) if message is not None else b""))

    async def ask(self, path: str, kind: type[_M], message: Message | None = None) -> _M:
        """A repeatable POST and its answer.

        Raises:
            GatewayUnavailable: no usable answer.
        """
        body = _json(message) if message is not None else b""
        return _owed(await self._ask(Request("POST", path, body), kind), path)

    async def _ask(self, request: Request, kind: type[_M]) -> _M | None:
        try:
            body = await self._carry(request)
        except _NotOnRecord:
            return None
        try:
            return kind.model_validate_json(body)
        except ValidationError as error:
            raise GatewayUnavailable(
                f"{request}: an answer that is not a {kind.__name__}: {error}"
            ) from error

    async def _carry(self, request: Request) -> bytes:
        try:
            return await self._transport.carry(request)
        except ApiError as error:
            if error.not_found:
                raise _NotOnRecord(str(error)) from error
            raise self._unavailable(error) from error
        except ConfigError as error:
            raise GatewayUnavailable(str(error)) from error

    def _unavailable(self, error: ApiError) -> GatewayUnavailable:
        if error.unreachable:
            self._on_unreachable()
        status = 0 if error.unreachable else error.status
        # `POST /internal/...: what was refused`
        said = error.message.partition(": ")[2]
        return GatewayUnavailable(str(error), status=status, reason=error.reason, said=said)


class _NotOnRecord(GatewayUnavailable):
    """404: as unusable as any failure, where an answer is owed."""


def _owed(answer: _M | None, path: str) -> _M:
    if answer is None:
        raise GatewayUnavailable(f"{path} does not exist: is this the gateway's internal port?")
    return answer


def _json(message: Message) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()
