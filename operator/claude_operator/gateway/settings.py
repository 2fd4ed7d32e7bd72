"""What an installation decides for the gateway: command-line options, each also an environment variable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_operator.gateway.outbox.pace import Pace

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

DEFAULT_TOOLS = ("Bash", "Read", "Edit", "Write", "Grep", "Glob")
"""Tools of a session whose spec and project name none: work on files and commands, no timers, no web."""


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

    outbox: Pace = field(default_factory=Pace)
    """When what is owed to the outside is tried again."""

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL that holds."""
        return self.database or f"sqlite:///{self.data / 'gateway.db'}"
