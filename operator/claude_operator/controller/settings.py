"""What a controller is told at its start: by options, or by environment variables in its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_operator.kube.listwatch import INACTIVITY_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

WORKERS: Final = 16
"""Sessions worked on at once. They wait for the API server mostly; more did not raise the rate."""
HEALTH_PORT: Final = 8080
LEASE_NAME: Final = "claude-operator-controller"


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one controller process."""

    session_image: str
    gateway_url: str
    """`https://host:port` of the session port, as pods reach it."""
    gateway_internal_url: str
    """`https://host:port` of the internal port, as this process reaches it."""
    gateway_proxy: str
    """`host:port` of the CONNECT port, as pods reach it."""
    namespace: str
    """Our own: of the Lease, and of the ConfigMap with the gateway's CA."""
    identity: str
    """Our pod's name: the holder of the Lease."""
    gateway_token_file: Path | None = None
    """Projected token of the audience claude-gateway-internal; None only where the gateway asks for none."""
    gateway_ca_file: Path | None = None
    """None: the ConfigMap `claude-gateway-ca`, key `ca.crt`."""
    namespaces: tuple[str, ...] = ()
    """Whose sessions are run; empty: all."""
    workers: int = WORKERS
    health_port: int = HEALTH_PORT
    """0: any free one."""
    watch_silence_seconds: float = INACTIVITY_SECONDS
    """How long a watch may bring nothing, not even a bookmark, before it is opened again."""
    image_pull_policy: str = "IfNotPresent"
