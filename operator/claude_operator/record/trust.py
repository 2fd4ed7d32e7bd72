"""The CA that signed the gateway's certificate: for our own calls to it, and for every session pod.

The gateway makes it at its first start and publishes it in a ConfigMap, so at installation this process may
be earlier: it waits. Later it looks again now and then, and whenever the gateway can't be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from typing import TYPE_CHECKING, Final

from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import CONFIG_MAPS

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.kube.client import KubeClient

log = logging.getLogger(__name__)

CONFIG_MAP: Final = "claude-gateway-ca"
KEY: Final = "ca.crt"
WAIT_SECONDS: Final = 300.0
"""How long a first start waits for the gateway to publish it, before the process gives up and says so."""
_PAUSE: Final = 1.0
_REFRESH_SECONDS: Final = 300.0
_SHORTEST_REFRESH: Final = 5.0
"""However often the gateway can't be reached."""


class TrustError(Exception):
    """The CA is not to be had; the message says where it was looked for."""


class GatewayTrust:
    """The CA as last read.

    Attributes:
        pem: the certificates, as text; empty when the gateway is spoken to without TLS.
        tls: a context that trusts them alone. Renewed in place, so connections opened later use the new one.
    """

    def __init__(self, client: KubeClient, *, namespace: str, file: Path | None) -> None:
        self.pem = ""
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = client
        self._namespace = namespace
        self._file = file
        self._doubted = asyncio.Event()

    def doubt(self) -> None:
        """The gateway could not be reached: perhaps it has another certificate by now."""
        self._doubted.set()

    async def load(self, *, wait: float = WAIT_SECONDS) -> None:
        """Read it for the first time.

        Raises:
            TrustError: it did not appear in time.
        """
        deadline = time.monotonic() + wait
        while True:
            try:
                self._accept(await self._read())
            except TrustError as error:
                if time.monotonic() >= deadline:
                    raise
                log.info("waiting for the gateway's CA: %s", error)
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def keep_fresh(self) -> None:
        """Look for a renewed one, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_SECONDS):
                    await self._doubted.wait()
            try:
                self._accept(await self._read())
            except TrustError as error:
                log.warning("the gateway's CA could not be read again; keeping the old one: %s", error)
            await asyncio.sleep(_SHORTEST_REFRESH)
            self._doubted.clear()

    async def _read(self) -> str:
        if self._file is not None:
            try:
                return self._file.read_text()
            except OSError as error:
                raise TrustError(f"{self._file}: {error.strerror}") from error
        where = f"ConfigMap {self._namespace}/{CONFIG_MAP}"
        try:
            config_map = await self._client.get(CONFIG_MAPS, CONFIG_MAP, namespace=self._namespace)
        except ApiError as error:
            raise TrustError(f"{where}: {error}") from error
        pem = (config_map.get("data") or {}).get(KEY, "")
        if not pem:
            raise TrustError(f"{where} has no {KEY}")
        return str(pem)

    def _accept(self, pem: str) -> None:
        if pem == self.pem:
            return
        try:
            self.tls.load_verify_locations(cadata=pem)
        except ssl.SSLError as error:
            raise TrustError(f"the gateway's CA is not PEM: {error}") from error
        self.pem = pem
