"""`claude-operator controller`: its options, each with an environment variable."""

from __future__ import annotations

from pathlib import Path

import click
import uvloop

from claude_operator.controller import settings as defaults
from claude_operator.controller.run import LeadershipLostError, run
from claude_operator.controller.settings import Settings
from claude_operator.kube.config import ConfigError, load
from claude_operator.kube.errors import ApiError
from claude_operator.kube.listwatch import INACTIVITY_SECONDS
from claude_operator.record.trust import TrustError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("controller")
@click.option("--session-image", envvar="CLAUDE_SESSION_IMAGE", required=True, help="Image of session pods.")
@click.option(
    "--gateway-url", envvar="CLAUDE_GATEWAY_URL", required=True, help="Session port, as pods reach it."
)
@click.option(
    "--gateway-internal-url",
    envvar="CLAUDE_GATEWAY_INTERNAL_URL",
    required=True,
    help="Internal port, as this process reaches it.",
)
@click.option(
    "--gateway-proxy",
    envvar="CLAUDE_GATEWAY_PROXY",
    required=True,
    help="host:port of the CONNECT port, as pods reach it.",
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
    "--namespace", envvar="POD_NAMESPACE", help="Our own namespace; default: the service account's."
)
@click.option("--identity", envvar="POD_NAME", required=True, help="Our pod's name, which holds the Lease.")
@click.option(
    "--namespaces",
    envvar="CLAUDE_NAMESPACES",
    default="",
    help="Comma-separated: run the sessions of these alone.  [default: all]",
)
@click.option(
    "--watch-silence-seconds",
    envvar="CLAUDE_WATCH_SILENCE_SECONDS",
    type=click.FloatRange(min=1),
    default=INACTIVITY_SECONDS,
    show_default=True,
    help="Open a watch again that has brought nothing for so long; a live one has a bookmark every minute.",
)
@click.option(
    "--workers",
    envvar="CLAUDE_CONTROLLER_WORKERS",
    type=click.IntRange(1, 256),
    default=defaults.WORKERS,
    show_default=True,
    help="Sessions worked on at once.",
)
@click.option(
    "--health-port",
    envvar="CLAUDE_HEALTH_PORT",
    type=click.IntRange(0, 65535),
    default=defaults.HEALTH_PORT,
    show_default=True,
    help="Port of /livez, /readyz, /metrics.",
)
@click.option(
    "--image-pull-policy",
    envvar="CLAUDE_IMAGE_PULL_POLICY",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    default="IfNotPresent",
    show_default=True,
    help="Of session pods.",
)
@click.option("--kubeconfig", type=_FILE, help="Instead of the pod's service account.")
def command(
    *,
    session_image: str,
    gateway_url: str,
    gateway_internal_url: str,
    gateway_proxy: str,
    gateway_token_file: Path | None,
    gateway_ca_file: Path | None,
    namespace: str | None,
    identity: str,
    namespaces: str,
    watch_silence_seconds: float,
    workers: int,
    health_port: int,
    image_pull_policy: str,
    kubeconfig: Path | None,
) -> None:
    """Run every ClaudeSession as Jobs, and keep its status true."""
    try:
        cluster = load(kubeconfig)
        settings = Settings(
            session_image=session_image,
            gateway_url=gateway_url,
            gateway_internal_url=gateway_internal_url,
            gateway_proxy=gateway_proxy,
            namespace=namespace or cluster.namespace,
            identity=identity,
            gateway_token_file=gateway_token_file,
            gateway_ca_file=gateway_ca_file,
            namespaces=tuple(name.strip() for name in namespaces.split(",") if name.strip()),
            watch_silence_seconds=watch_silence_seconds,
            workers=workers,
            health_port=health_port,
            image_pull_policy=image_pull_policy,
        )
        uvloop.run(run(settings, cluster))
    except* (ConfigError, TrustError, ApiError, LeadershipLostError) as group:
        raise click.ClickException("; ".join(map(str, group.exceptions))) from group
