"""Connections to model and git hosts: checked addresses, no redirects, no proxies, no cookies.

Two pools, because a name that no Secret lists must not ride on a connection that was opened for one that
a Secret lists.
"""

from __future__ import annotations

import io
import ssl
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from claude_operator.gateway.addresses import CheckedResolver, check, lookup
from claude_operator.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from yarl import URL

    from claude_operator.resources.lifecycle import Reason

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)
"""Seconds. 600 of silence is the CLI's own limit (x-stainless-timeout)."""


_LARGE: Final = 256 * 1024


class UpstreamError(Exception):
    """The upstream can't be reached, or its connection broke; the text is short and holds no credential."""


class Upstreams:
    """The client side of the gateway; an async context manager."""

    def __init__(self, authorities: Path | None = None) -> None:
        self._tls = ssl.create_default_context()
        if authorities is not None:
            self._tls.load_verify_locations(authorities)
            # Private CAs often lack the extensions that Python 3.13 demands by default.
            self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._pools: dict[bool, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        for listed in (False, True):
            self._pools[listed] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=CheckedResolver(listed=listed),
                    use_dns_cache=False,
                    ssl=self._tls,
                    limit=0,
                    keepalive_timeout=30,
                ),
                timeout=_TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                trust_env=False,
                read_bufsize=64 * 1024,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()

    async def send(
        self,
        method: str,
        url: URL,
        *,
        listed: bool,
        headers: Mapping[str, str],
        body: bytes | AsyncIterable[bytes] | None = None,
        seconds: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return once the answer's headers are here; the caller releases it.

        Args:
            method: of the request.
            url: where to.
            listed: whether a Secret lists this origin: only then it may have a private address.
            headers: complete but for Host and the framing.
            body: bytes, or a stream of them.
            seconds: for the whole exchange; None: as long as bytes move.

        Raises:
            UpstreamError: no connection, or none to an address that is allowed.
        """
        try:
            # aiohttp does not ask the resolver about an IP literal.
            assert url.host is not None
            if url.host.replace(".", "").isdigit() or ":" in url.host:
                check(url.host, await lookup(url.host, url.port or 0), listed=listed)
            return await self._pools[listed].request(
                method,
                url,
                headers=headers,
                # In pieces: a large one as a whole would hold up every other stream.
                data=io.BytesIO(body) if isinstance(body, bytes) and len(body) > _LARGE else body,
                allow_redirects=False,
                timeout=_TIMEOUT if seconds is None else aiohttp.ClientTimeout(total=seconds),
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UpstreamError(_fault(url, error)) from error


def _fault(url: URL, error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{url.host}: its TLS certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return f"{url.host}: TLS failed ({cause.reason})"
        cause = cause.__cause__ or getattr(cause, "os_error", None)
    if isinstance(error, TimeoutError):
        return f"{url.host}:{url.port} does not answer"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{url.host}:{url.port}: {error.os_error.strerror or error.os_error}"
    return f"{url.host}:{url.port}: {str(error) or type(error).__name__}"


def bad_gateway(error: UpstreamError, what: str, reason: Reason) -> Refusal:
    """502 for an upstream that can't be reached."""
    return Refusal(502, reason, f"{what} can't be reached: {error}")
