"""What an installation decides for the gateway: command-line options, each also an environment variable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from claude_operator.gateway.outbox.pace import Pace
from claude_operator.gateway.room import WAIT_SECONDS

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

DEFAULT_TOOLS = ("Bash", "Read", "Edit", "Write", "Grep", "Glob")
"""Tools of a session whose spec and project name none: work on files and commands, no timers, no web."""

MIB: Final = 1024 * 1024
BODY_MIB: Final = 256
"""A quarter of the memory limit that install.yaml sets. On top come the process itself, the objects of one
large request at a time, and what streams."""
BODY_SECONDS: Final = 60.0
HEAD_SECONDS: Final = 20.0
CONNECTIONS_PER_PEER: Final = 256
"""A pod's own few and 64 tunnels are well below."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The gateway's configuration."""

    namespace: str
    """Its own: the CA's Secret and ConfigMap live here."""
    data: Path
    """Folder of the SQLite database, on a volume that outlives the pod."""
    database: str | None = None
    """SQLAlchemy URL; None: SQLite in the data folder."""
    host: str = "0.0.0.0"  # noqa: S104 - a service in a pod; NetworkPolicy says who reaches it
    session_port: int = 8443
    internal_port: int = 8444
    connect_port: int = 8445
    tls_names: tuple[str, ...] = ()
    """Further DNS names and addresses of the certificate, beside the Service's."""
    internal_subjects: frozenset[str] = frozenset()
    """`system:serviceaccount:NAMESPACE:NAME` of those who may use the internal port."""
    upstream_ca: Path | None = None
    """PEM of further CAs that model and git hosts may be signed by."""
    private_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks that CONNECT may reach; none by default."""
    log_only: bool = False
    """Let model requests outside the allow-list pass, with a journal entry: for trying a new CLI version."""
    author_name: str = "Claude"
    author_email: str = "noreply@anthropic.com"
    drain_seconds: float = 25.0
    """How long a stop waits for streams that are under way; the pod's grace period must exceed it."""

    head_seconds: float = HEAD_SECONDS
    """From a connection to the head of its first request; the TLS handshake has as much for itself."""
    body_seconds: float = BODY_SECONDS
    """For a body that is read whole, or the next piece of one that is passed on."""
    connections_per_peer: int = CONNECTIONS_PER_PEER
    """Of one address at once, at each port; 0: any number."""
    body_bytes: int = BODY_MIB * MIB
    """Of requests in memory at once, over all sessions."""
    body_wait_seconds: float = WAIT_SECONDS
    """For room among them."""

    outbox: Pace = field(default_factory=Pace)
    """When what is owed to the outside is tried again."""

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL that holds."""
        return self.database or f"sqlite:///{self.data / 'gateway.db'}"
