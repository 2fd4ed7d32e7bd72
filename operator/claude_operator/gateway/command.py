"""`claude-operator gateway`: its options, each with an environment variable."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import click
import uvloop

from claude_operator.gateway import settings as defaults
from claude_operator.gateway.cluster import ClusterUnavailableError, ForbiddenError
from claude_operator.gateway.errors import Refusal, StoreUnavailableError
from claude_operator.gateway.kube_cluster import KubeCluster
from claude_operator.gateway.serve import serve
from claude_operator.gateway.settings import MIB, Settings
from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import ClusterConfig, ConfigError, load

_FILE = click.Path(dir_okay=False, path_type=Path)
_PORT = click.IntRange(0, 65535)


def _words(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split())


def _networks(_: click.Context, option: click.Parameter, value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(word) for word in value.replace(",", " ").split())
    except ValueError as error:
        raise click.BadParameter(f"{error}: write networks such as 10.1.0.0/16", param=option) from error


@click.command("gateway")
@click.option(
    "--data",
    envvar="CLAUDE_GATEWAY_DATA",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the SQLite database, on a volume that outlives the pod.",
)
@click.option(
    "--database",
    envvar="CLAUDE_GATEWAY_DATABASE",
    help="SQLAlchemy URL of another database.  [default: gateway.db in the data folder]",
)
@click.option(
    "--namespace", envvar="POD_NAMESPACE", help="Our own namespace; default: the service account's."
)
@click.option(
    "--internal-subjects",
    envvar="CLAUDE_GATEWAY_INTERNAL_SUBJECTS",
    default="",
    callback=_words,
    help="Comma-separated: system:serviceaccount:NAMESPACE:NAME of those who may use the internal port.",
)
@click.option("--host", envvar="CLAUDE_GATEWAY_HOST", default="0.0.0.0", show_default=True, help="Listen on.")  # noqa: S104 - a service in a pod
@click.option(
    "--session-port", envvar="CLAUDE_GATEWAY_SESSION_PORT", type=_PORT, default=8443, show_default=True
)
@click.option(
    "--internal-port", envvar="CLAUDE_GATEWAY_INTERNAL_PORT", type=_PORT, default=8444, show_default=True
)
@click.option(
    "--connect-port", envvar="CLAUDE_GATEWAY_CONNECT_PORT", type=_PORT, default=8445, show_default=True
)
@click.option(
    "--tls-names",
    envvar="CLAUDE_GATEWAY_TLS_NAMES",
    default="",
    callback=_words,
    help="Comma-separated: further DNS names and addresses of the certificate.",
)
@click.option(
    "--upstream-ca",
    envvar="CLAUDE_GATEWAY_UPSTREAM_CA",
    type=_FILE,
    help="PEM of further CAs that model and git hosts are signed by.",
)
@click.option(
    "--private-networks",
    envvar="CLAUDE_GATEWAY_PRIVATE_NETWORKS",
    default="",
    callback=_networks,
    help="Comma-separated: private networks that egress hosts may be in.  [default: none]",
)
@click.option(
    "--body-mib",
    envvar="CLAUDE_GATEWAY_BODY_MIB",
    type=click.IntRange(min=64),
    default=defaults.BODY_MIB,
    show_default=True,
    help="MiB of requests in memory at once, over all sessions: a quarter of the process's memory limit.",
)
@click.option(
    "--body-seconds",
    envvar="CLAUDE_GATEWAY_BODY_SECONDS",
    type=click.FloatRange(min=0.1),
    default=defaults.BODY_SECONDS,
    show_default=True,
    help="Longest time for a request's body to arrive, or for its next piece where it is passed on.",
)
@click.option(
    "--head-seconds",
    envvar="CLAUDE_GATEWAY_HEAD_SECONDS",
    type=click.FloatRange(min=0.1),
    default=defaults.HEAD_SECONDS,
    show_default=True,
    help="Longest time from a connection to the head of its first request.",
)
@click.option(
    "--connections-per-peer",
    envvar="CLAUDE_GATEWAY_CONNECTIONS_PER_PEER",
    type=click.IntRange(min=0),
    default=defaults.CONNECTIONS_PER_PEER,
    show_default=True,
    help="Connections of one address at once, at each port; 0: any number.",
)
@click.option(
    "--log-only",
    envvar="CLAUDE_GATEWAY_LOG_ONLY",
    is_flag=True,
    help="Let model requests outside the allow-list pass, with a journal entry: to try a new CLI version.",
)
@click.option("--author-name", envvar="CLAUDE_AUTHOR_NAME", default="Claude", show_default=True)
@click.option(
    "--author-email", envvar="CLAUDE_AUTHOR_EMAIL", default="noreply@anthropic.com", show_default=True
)
@click.option("--kubeconfig", type=_FILE, help="Instead of the pod's service account.")
def command(
    *,
    data: Path,
    database: str | None,
    namespace: str | None,
    internal_subjects: tuple[str, ...],
    host: str,
    session_port: int,
    internal_port: int,
    connect_port: int,
    tls_names: tuple[str, ...],
    upstream_ca: Path | None,
    private_networks: tuple[IPv4Network | IPv6Network, ...],
    body_mib: int,
    body_seconds: float,
    head_seconds: float,
    connections_per_peer: int,
    log_only: bool,
    author_name: str,
    author_email: str,
    kubeconfig: Path | None,
) -> None:
    """Hold every credential, meter the model, fence the pushes, keep the record."""
    try:
        cluster = load(kubeconfig)
        settings = Settings(
            namespace=namespace or cluster.namespace,
            data=data,
            database=database,
            host=host,
            session_port=session_port,
            internal_port=internal_port,
            connect_port=connect_port,
            tls_names=tls_names,
            internal_subjects=frozenset(internal_subjects),
            upstream_ca=upstream_ca,
            private_networks=private_networks,
            body_bytes=body_mib * MIB,
            body_seconds=body_seconds,
            head_seconds=head_seconds,
            connections_per_peer=connections_per_peer,
            log_only=log_only,
            author_name=author_name,
            author_email=author_email,
        )
        uvloop.run(_run(settings, cluster))
    except (
        ConfigError,
        ClusterUnavailableError,
        ForbiddenError,
        Refusal,
        StoreUnavailableError,
        ValueError,
        OSError,
    ) as error:
        raise click.ClickException(str(error)) from error


async def _run(settings: Settings, cluster: ClusterConfig) -> None:
    async with KubeClient(cluster) as client:
        await serve(settings, KubeCluster(client, settings.namespace))
