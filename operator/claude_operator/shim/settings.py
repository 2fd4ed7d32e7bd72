"""What a shim is told at its start: by options, or by environment variables in its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PORT: Final = 8080
BODY_LIMIT: Final = 1024 * 1024
RATE_LIMIT: Final = 6000
RATE_WINDOW: Final = 60
"""Seconds. 100 requests a second for each key: fifty agents that share one never meet the limit, a loop gone
wild does."""
BODY_SECONDS: Final = 30.0
HEAD_SECONDS: Final = 20.0
CONNECTIONS_PER_PEER: Final = 1024
"""Everybody who comes through one ingress has its address."""


class ErrorStatus(StrEnum):
    """How the claude-hub dialect answers an error that it handles."""

    HTTP = "http"
    """As documented: 400, 404, 409."""
    LEGACY = "legacy"
    """207, as the original server did: for clients that throw away the body of a 4xx."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one shim process."""

    gateway_internal_url: str
    namespace: str = "default"
    """Of new sessions, and what a key without namespaces of its own may see."""
    project: str = "default"
    """Of new sessions."""
    watch_namespaces: tuple[str, ...] = ()
    """Whose sessions are known at all; empty: all."""
    own_namespace: str = "claude-operator"
    """Of the ConfigMap with the gateway's CA."""
    gateway_token_file: Path | None = None
    gateway_ca_file: Path | None = None
    secret: str = ""
    secret_file: Path | None = None
    keys_directory: Path | None = None
    insecure: bool = False
    """Serve without any key; everybody is let in."""
    wait_for_keys: bool = False
    """Without any key yet: run, but not ready, and let nobody in."""
    host: str | None = None
    """Address to listen on; None: all."""
    port: int = PORT
    body_limit: int = BODY_LIMIT
    """Bytes."""
    body_seconds: float = BODY_SECONDS
    """Longest time for a body to arrive."""
    head_seconds: float = HEAD_SECONDS
    """From a connection to the head of its first request."""
    connections_per_peer: int = CONNECTIONS_PER_PEER
    """Of one address at once; 0: any number."""
    rate_limit: int = RATE_LIMIT
    """Requests of one key in one window; 0: no limit."""
    rate_window: int = RATE_WINDOW
    """Seconds."""
    keep_alive: bool = True
    error_status: ErrorStatus = ErrorStatus.HTTP
    private_callbacks: bool = False
    """Callbacks to loopback and private addresses are in order."""
