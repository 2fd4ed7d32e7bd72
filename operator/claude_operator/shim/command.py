"""`claude-operator shim`: its options, each with an environment variable."""

from __future__ import annotations

from pathlib import Path

import click
import uvloop

from claude_operator.kube.config import ConfigError, load
from claude_operator.kube.errors import ApiError
from claude_operator.record.trust import TrustError
from claude_operator.shim import settings as defaults
from claude_operator.shim.keys import KeyRefusedError
from claude_operator.shim.run import run
from claude_operator.shim.settings import ErrorStatus, Settings

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("shim")
@click.option(
    "--gateway-internal-url",
    envvar="CLAUDE_GATEWAY_INTERNAL_URL",
    required=True,
    help="Internal port of the gateway.",
)
@click.option(
    "--gateway-token-file",
    envvar="CLAUDE_GATEWAY_TOKEN_FILE",
    type=_FILE,
    help="Our projected token of the audience claude-gateway-internal.",
)
@click.option(
    "--gateway-ca-file",
    envvar="CLAUDE_GATEWAY_CA_FILE",
    type=_FILE,
    help="CA of the gateway; default: ConfigMap claude-gateway-ca in our namespace.",
)
@click.option(
    "--own-namespace", envvar="POD_NAMESPACE", help="Our own namespace; default: the service account's."
)
@click.option(
    "--namespace",
    envvar="CLAUDE_SHIM_NAMESPACE",
    default="default",
    show_default=True,
    help="Of new sessions; keys may name others.",
)
@click.option(
    "--project",
    envvar="CLAUDE_SHIM_PROJECT",
    default="default",
    show_default=True,
    help="ClaudeProject of new sessions; keys may name others.",
)
@click.option(
    "--namespaces",
    envvar="CLAUDE_NAMESPACES",
    default="",
    help="Comma-separated: know the sessions of these alone.  [default: all]",
)
@click.option("--secret", envvar="CLAUDE_WEBHOOK_SECRET", default="", help="A key, with the name `default`.")
@click.option("--secret-file", envvar="CLAUDE_WEBHOOK_SECRET_FILE", type=_FILE, help="Likewise, in a file.")
@click.option(
    "--keys-directory",
    envvar="CLAUDE_SHIM_KEYS_DIRECTORY",
    type=_FOLDER,
    help="One file for each key, named after it; read again when they change.",
)
@click.option(
    "--wait-for-keys",
    envvar="CLAUDE_SHIM_WAIT_FOR_KEYS",
    is_flag=True,
    help="Without any key: let nobody in and wait, instead of ending.",
)
@click.option("--insecure", is_flag=True, help="Without any key: let everybody in.")
@click.option("--host", envvar="CLAUDE_SHIM_HOST", help="Address to listen on.  [default: all]")
@click.option(
    "--port",
    envvar="CLAUDE_SHIM_PORT",
    type=click.IntRange(0, 65535),
    default=defaults.PORT,
    show_default=True,
)
@click.option(
    "--body-limit",
    envvar="CLAUDE_SHIM_BODY_LIMIT",
    type=click.IntRange(min=1024),
    default=defaults.BODY_LIMIT,
    show_default=True,
    help="Bytes of a request.",
)
@click.option(
    "--body-seconds",
    envvar="CLAUDE_SHIM_BODY_SECONDS",
    type=click.FloatRange(min=0.1),
    default=defaults.BODY_SECONDS,
    show_default=True,
    help="Longest time for a request's body to arrive.",
)
@click.option(
    "--head-seconds",
    envvar="CLAUDE_SHIM_HEAD_SECONDS",
    type=click.FloatRange(min=0.1),
    default=defaults.HEAD_SECONDS,
    show_default=True,
    help="Longest time from a connection to the head of its first request.",
)
@click.option(
    "--connections-per-peer",
    envvar="CLAUDE_SHIM_CONNECTIONS_PER_PEER",
    type=click.IntRange(min=0),
    default=defaults.CONNECTIONS_PER_PEER,
    show_default=True,
    help="Connections of one address (such as an ingress) at once; 0: any number.",
)
@click.option(
    "--rate-limit",
    envvar="CLAUDE_SHIM_RATE_LIMIT",
    type=click.IntRange(min=0),
    default=defaults.RATE_LIMIT,
    show_default=True,
    help="Requests of one key in one window; 0: no limit.",
)
@click.option(
    "--rate-window",
    envvar="CLAUDE_SHIM_RATE_WINDOW",
    type=click.IntRange(min=1),
    default=defaults.RATE_WINDOW,
    show_default=True,
    help="Seconds.",
)
@click.option(
    "--keep-alive/--no-keep-alive",
    envvar="CLAUDE_SHIM_KEEP_ALIVE",
    default=True,
    show_default=True,
    help="Off: close the connection after each answer.",
)
@click.option(
    "--error-status",
    envvar="CLAUDE_SHIM_ERROR_STATUS",
    type=click.Choice([one.value for one in ErrorStatus]),
    default=ErrorStatus.HTTP.value,
    show_default=True,
    help="legacy: handled errors of the claude-hub API answer 207.",
)
@click.option(
    "--private-callbacks",
    envvar="CLAUDE_SHIM_PRIVATE_CALLBACKS",
    is_flag=True,
    help="notifyUrl may name private and loopback addresses.",
)
@click.option("--kubeconfig", type=_FILE, help="Instead of the pod's service account.")
def command(
    *,
    gateway_internal_url: str,
    gateway_token_file: Path | None,
    gateway_ca_file: Path | None,
    own_namespace: str | None,
    namespace: str,
    project: str,
    namespaces: str,
    secret: str,
    secret_file: Path | None,
    keys_directory: Path | None,
    wait_for_keys: bool,
    insecure: bool,
    host: str | None,
    port: int,
    body_limit: int,
    body_seconds: float,
    head_seconds: float,
    connections_per_peer: int,
    rate_limit: int,
    rate_window: int,
    keep_alive: bool,
    error_status: str,
    private_callbacks: bool,
    kubeconfig: Path | None,
) -> None:
    """Serve the HTTP APIs: translate them into ClaudeSessions, and the record back."""
    try:
        cluster = load(kubeconfig)
        settings = Settings(
            gateway_internal_url=gateway_internal_url,
            namespace=namespace,
            project=project,
            watch_namespaces=tuple(name.strip() for name in namespaces.split(",") if name.strip()),
            own_namespace=own_namespace or cluster.namespace,
            gateway_token_file=gateway_token_file,
            gateway_ca_file=gateway_ca_file,
            secret=secret,
            secret_file=secret_file,
            keys_directory=keys_directory,
            insecure=insecure,
            wait_for_keys=wait_for_keys,
            host=host,
            port=port,
            body_limit=body_limit,
            body_seconds=body_seconds,
            head_seconds=head_seconds,
            connections_per_peer=connections_per_peer,
            rate_limit=rate_limit,
            rate_window=rate_window,
            keep_alive=keep_alive,
            error_status=ErrorStatus(error_status),
            private_callbacks=private_callbacks,
        )
        uvloop.run(run(settings, cluster))
    except* (ConfigError, TrustError, ApiError, KeyRefusedError, OSError) as group:
        raise click.ClickException("; ".join(_messages(group))) from group


def _messages(group: BaseExceptionGroup[Exception]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _messages(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return found
