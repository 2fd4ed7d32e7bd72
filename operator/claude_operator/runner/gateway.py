"""The gateway's API for a session pod, as `wire.session` has it.

Every request of it may be repeated (the gateway drops what it has already), so one retry policy
serves them all: back off and try again until a deadline while the gateway is away or overloaded;
anything that it says about the request itself is final at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import aiohttp
from pydantic import ValidationError

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError
from claude_operator.wire import session as wire
from claude_operator.wire.message import ErrorBody, Message

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.runner.access import Access

M = TypeVar("M", bound=Message)

REQUEST_SECONDS = 60.0
"""Longest time for one try of one request; chunks are 1 MiB."""
CONNECT_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class GatewayUnavailableError(RunError):
    """The gateway did not answer, or only with its own trouble, until the deadline."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.GATEWAY_UNAVAILABLE, message)


class GatewayRefusedError(RunError):
    """The gateway understood and said no."""

    def __init__(self, status: int, said: ErrorBody) -> None:
        reason = said.reason if said.reason in set(Reason) else Reason.CLAIM_REFUSED
        super().__init__(Reason(reason), said.message)
        self.status = status
        self.word = said.reason

    @property
    def fenced(self) -> bool:
        """Whether this pod has no business with the gateway any more, rather than one bad request."""
        return self.status in {401, 403, 409, 410}


def pauses() -> list[float]:
    """Waiting times between tries, in seconds, before jitter; the last one repeats."""
    found = [_FIRST_PAUSE_SECONDS]
    while found[-1] < _LONGEST_PAUSE_SECONDS:
        found.append(min(found[-1] * 2, _LONGEST_PAUSE_SECONDS))
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response with a status below 400."""

    status: int
    body: bytes


class Gateway:
    """A client of the session port; use it as an async context."""

    def __init__(self, access: Access, *, patience_seconds: float) -> None:
        self._access = access
        self._patience = patience_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # No environment proxies, no redirects (see `_try`): the token goes to the gateway alone.
            connector=aiohttp.TCPConnector(ssl=self._access.tls),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def claim(self) -> wire.Assignment:
        """Become the session's one live pod; repeatable by the same pod.

        Raises:
            GatewayRefusedError: another pod, an ended or a cancelled session.
            GatewayUnavailableError: no answer.
        """
        return await self._ask("POST", wire.CLAIM_PATH, None, wire.Assignment)

    async def send(self, batch: wire.EventBatch, *, within: float | None = None) -> wire.EventReceipt:
        """Hand events over; `within` is the deadline in seconds."""
        return await self._ask("POST", wire.EVENTS_PATH, batch, wire.EventReceipt, within=within)

    async def inbox(self, *, after: int, wait: int) -> wire.Inbox:
        """What has come since item `after`; the gateway holds the request for up to `wait` seconds."""
        path = f"{wire.INBOX_PATH}?after={after}&wait={wait}"
        return await self._ask("GET", path, None, wire.Inbox)

    async def put_chunk(self, sha256: str, index: int, chunk: bytes) -> None:
        """Upload one chunk of a blob."""
        await self._request("PUT", f"{wire.BLOBS_PATH}/{sha256}/{index}", chunk)

    async def checkpoint(self, checkpoint: wire.Checkpoint) -> None:
        """Replace the last checkpoint; its blobs are uploaded already."""
        await self._request("POST", wire.CHECKPOINT_PATH, _json(checkpoint))

    async def artifact(self, upload: wire.ArtifactUpload) -> None:
        """Keep an uploaded blob as a file of the session."""
        await self._request("POST", wire.ARTIFACTS_PATH, _json(upload))

    async def result(self, result: wire.RunResult, *, within: float) -> None:
        """Say how the run ended."""
        await self._request("POST", wire.RESULT_PATH, _json(result), within=within)

    async def pull_request(self, wanted: wire.PullRequestRequest) -> wire.PullRequestOpened:
        """Open the pull request, or find the one that is open."""
        return await self._ask("POST", wire.PULL_REQUEST_PATH, wanted, wire.PullRequestOpened)

    async def download(self, sha256: str, target: Path) -> None:
        """Write a blob to `target`; the caller checks its digest (`blobs.fetch`)."""
        answer = await self._request("GET", f"{wire.BLOBS_PATH}/{sha256}", None, into=target)
        assert answer.status == 200, answer.status  # noqa: PLR2004 - OK

    async def _ask(
        self,
        method: str,
        path: str,
        message: Message | None,
        expected: type[M],
        *,
        within: float | None = None,
    ) -> M:
        body = None if message is None else _json(message)
        answer = await self._request(method, path, body, within=within)
        try:
            return expected.model_validate_json(answer.body)
        except ValidationError as error:
            raise GatewayUnavailableError(
                f"{method} {path}: the gateway's answer is no {expected.__name__}: {error}"
            ) from error

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        within: float | None = None,
        into: Path | None = None,
    ) -> Answer:
        deadline = time.monotonic() + (self._patience if within is None else within)
        waits = pauses()
        trouble = "nothing"
        for attempt in range(10_000):
            left = deadline - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0.05)):
                    answer = await self._try(method, path, body, into)
            except aiohttp.ClientConnectorCertificateError as error:
                # No restart mends a certificate that another CA has signed.
                raise GatewayUnavailableError(f"the gateway's certificate is not trusted: {error}") from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                if answer.status < 400:  # noqa: PLR2004 - HTTP's border between yes and no
                    return answer
                said = _error(answer)
                if answer.status not in _AGAIN:
                    raise GatewayRefusedError(answer.status, said)
                trouble = f"{answer.status} {said.reason}: {said.message}"
            pause = waits[min(attempt, len(waits) - 1)] * random.uniform(0.7, 1.3)  # noqa: S311 - jitter
            if time.monotonic() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise GatewayUnavailableError(
            f"the gateway did not answer {method} {path} within its deadline; last: {trouble}"
        )

    async def _try(self, method: str, path: str, body: bytes | None, into: Path | None) -> Answer:
        assert self._session is not None, "use the gateway as an async context"
        headers = {"Authorization": self._access.bearer()}
        if body is not None:
            raw = path.startswith(wire.BLOBS_PATH)
            headers["Content-Type"] = "application/octet-stream" if raw else "application/json"
        async with self._session.request(
            method, self._access.url + path, data=body, headers=headers, allow_redirects=False
        ) as response:
            if 300 <= response.status < 400:  # noqa: PLR2004 - HTTP's redirections
                raise GatewayUnavailableError(
                    f"the gateway answered {response.status}: is the URL the gateway's?"
                )
            if into is None or response.status >= 400:  # noqa: PLR2004
                return Answer(response.status, await response.read())
            with into.open("wb") as file:
                async for chunk in response.content.iter_chunked(1 << 20):
                    file.write(chunk)
            return Answer(response.status, b"")


def _json(message: Message) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()


def _error(answer: Answer) -> ErrorBody:
    try:
        return ErrorBody.model_validate_json(answer.body)
    except ValidationError:
        text = answer.body[:500].decode(errors="replace").strip()
        return ErrorBody(reason=f"Status{answer.status}", message=text or "no body")
