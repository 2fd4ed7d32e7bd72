"""Requests to GitHub's REST API: gidgethub's, over the gateway's checked connections.

gidgethub builds requests, reads pages and rate limits, and knows what each status means; sockets are ours, so
that addresses are checked, redirects not followed, answers bounded, and a token goes to its own origin only
(a page's `next` link is the host's to write).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
from gidgethub import GitHubException, HTTPException, RateLimitExceeded
from gidgethub.abc import GitHubAPI
from typing_extensions import override
from yarl import URL

from claude_operator.gateway.credentials import origin
from claude_operator.gateway.scrub import Scrubber
from claude_operator.gateway.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from claude_operator.gateway.credentials import Credential
    from claude_operator.gateway.upstream import Upstreams

_VERSION: Final = "2022-11-28"
_SECONDS: Final = 20.0
_MOST_ANSWER: Final = 8 * 1024 * 1024
_SLOW_DOWN: Final = frozenset({403, 429})


class GitHubError(Exception):
    """GitHub does not do what it was asked; the text holds no credential, and no word of the host."""

    def __init__(self, message: str, *, status: int = 0, after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        """Of the answer; 0: there was none."""
        self.after = after
        """Seconds that GitHub wants to be left alone."""


class Api(GitHubAPI):
    """The API of one host, with one login."""

    def __init__(
        self, upstreams: Upstreams, base: URL, credential: Credential, *, oauth_token: str | None = None
    ) -> None:
        super().__init__("claude-operator", oauth_token=oauth_token, base_url=str(base))
        self._upstreams = upstreams
        self._base = base
        self._credential = credential

    @override
    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        target = URL(url, encoded=True)
        login = headers.get("authorization", "")
        if origin(target) != origin(self._base):
            raise UpstreamError(f"{origin(self._base)} leads to another host")
        answer = await self._upstreams.send(
            method,
            target,
            listed=self._credential.lists(target),
            headers={
                **{name: value for name, value in headers.items() if name != "content-length"},
                # What GitHub documents today, and its kin understand as well.
                **({"authorization": f"Bearer {login.partition(' ')[2]}"} if login else {}),
                "X-GitHub-Api-Version": _VERSION,
            },
            body=body or None,
            seconds=_SECONDS,
        )
        try:
            raw = bytearray()
            async for piece in answer.content.iter_any():
                raw += piece
                if len(raw) > _MOST_ANSWER:
                    raise UpstreamError(f"{origin(self._base)}: the answer is too large")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamError(f"{origin(self._base)}: the connection broke") from error
        finally:
            answer.close()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, bytes(raw)

    def words(self, text: str) -> str:
        """The host's words, without the login that it may have put among them."""
        return Scrubber(self._credential.traces()).text(text)[:500]

    @override
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@contextmanager
def asking(base: URL, what: str, *, words: Callable[[str], str] | None = None) -> Iterator[None]:
    """Around requests: every failure becomes a GitHubError that says `what` was asked of which host.

    Args:
        base: of the API.
        what: for people.
        words: makes the host's own words fit to be told; without it they are not.
    """
    host = origin(base)
    try:
        yield
    except UpstreamError as error:
        raise GitHubError(f"{what}: {error}") from error
    except HTTPException as error:
        status = int(error.status_code)
        raise GitHubError(
            f"{what}: {host} answers {status}{f': {words(str(error))}' if words else _hint(status)}",
            status=status,
            after=_after(error),
        ) from error
    except (GitHubException, ValueError, KeyError, TypeError) as error:
        # ValueError and its like: the answer has not the shape that GitHub's have.
        raise GitHubError(f"{what}: {host} gives no usable answer ({type(error).__name__})") from error


def _hint(status: int) -> str:
    match status:
        case 401:
            return ": it does not accept the login"
        case 403 | 404:
            return ": it does not exist, or the login may not do this"
        case _:
            return ""


def _after(error: HTTPException) -> float | None:
    if isinstance(error, RateLimitExceeded):
        return max(1.0, float(error.rate_limit.reset_datetime.timestamp()) - time.time())
    text = error.headers.get("retry-after", "")
    if int(error.status_code) in _SLOW_DOWN and text.isascii() and text.isdecimal() and len(text) < 7:  # noqa: PLR2004 - a week
        return float(text)
    return None
