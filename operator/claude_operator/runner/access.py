"""How anything in this pod reaches the gateway: address, CA and the token of the moment.

Kubelet replaces the token file before the token expires, so the file is read for each request; a
copy in memory would stop a session after an hour.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.runner.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The gateway's two ports, and the proof of who asks."""

    url: str
    proxy_host: str
    proxy_port: int
    tls: ssl.SSLContext
    token_path: Path

    def bearer(self) -> str:
        """The value of an Authorization header, read anew.

        Raises:
            RunError: the token file cannot be read.
        """
        try:
            return f"Bearer {self.token_path.read_text(encoding='ascii').strip()}"
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(
                Reason.GATEWAY_UNAVAILABLE,
                f"the pod's token cannot be read ({error}): the Job mounts it as a projected volume",
            ) from error


def access(settings: Settings) -> Access:
    """The access that `settings` describe.

    Raises:
        RunError: the CA is no PEM, or an address is malformed.
    """
    if not settings.gateway_url.startswith("https://"):
        raise RunError(
            Reason.GATEWAY_UNAVAILABLE, f"the gateway's URL is {settings.gateway_url!r}: it must be https"
        )
    host, separator, port = settings.gateway_proxy.rpartition(":")
    if not separator or not port.isdecimal():
        raise RunError(
            Reason.GATEWAY_UNAVAILABLE,
            f"the gateway's proxy is {settings.gateway_proxy!r}: it must be host:port",
        )
    # Only the chart's own CA: a public one has no say about who is the gateway.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_verify_locations(cadata=settings.gateway_ca)
    except ssl.SSLError as error:
        raise RunError(
            Reason.GATEWAY_UNAVAILABLE, f"the gateway's CA is not a PEM certificate: {error}"
        ) from error
    return Access(
        url=settings.gateway_url,
        proxy_host=host.strip("[]"),
        proxy_port=int(port),
        tls=tls,
        token_path=settings.token_path,
    )
