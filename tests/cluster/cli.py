"""The harness from a shell: `up`, `status`, `logs`, `env`, `images`, `down`.

Progress goes to stderr; stdout holds what a shell or a person evaluates.
"""

import os
import sys
from pathlib import Path
from typing import get_args

import click

from tests.cluster import buildah, environment, images, kind
from tests.cluster.ability import why_no_cluster, why_no_control_plane
from tests.cluster.build import Binaries
from tests.cluster.cluster import KUBECONFIG_VARIABLE, Cluster, NotUpError, ProviderName
from tests.cluster.native import ensure_parts
from tests.cluster.places import DEFAULT_NAME
from tests.cluster.progress import say

_name = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which cluster.")


@click.group(context_settings={"max_content_width": 100})
def cli() -> None:
    """A local Kubernetes cluster for the demo and the tests."""


@cli.command()
@_name
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Use this cluster; make none.")
@click.option("--provider", type=click.Choice(get_args(ProviderName)), help="Insist on one.")
@click.option("--images/--no-images", "with_images", default=False, help="Also build and load the images.")
def up(name: str, kubeconfig: Path | None, provider: ProviderName | None, *, with_images: bool) -> None:
    """Bring the cluster up; repeat it after an interrupt."""
    cluster = Cluster.up(name, kubeconfig=kubeconfig, provider=provider)
    if with_images:
        _print_images(cluster)
    say(f'ready: eval "$({Path(sys.executable).name} -m tests.cluster env --name {name})"')


@cli.command()
def prepare() -> None:
    """Install and build what tests need of a cluster, as far as this machine can.

    The first time it takes minutes: more than a test may, and with the reason why it waits on the screen.
    """
    if reason := why_no_control_plane():
        say(f"{reason}: tests that need one will be skipped")
        return
    Binaries.for_control_plane()
    if reason := why_no_cluster():
        say(f"{reason}: tests that need one will be skipped")
    elif not os.environ.get(KUBECONFIG_VARIABLE) and not kind.available():
        ensure_parts()
        for image in images.ALL:
            buildah.build(image)


@cli.command()
@_name
def down(name: str) -> None:
    """Remove all that `up` made; nothing else."""
    try:
        cluster = Cluster.find(name)
    except NotUpError as nothing:
        say(str(nothing))
        return
    cluster.down()


@cli.command()
@_name
def status(name: str) -> None:
    """Each part with its pid, health and log; exit code 1 when a part is down."""
    components = Cluster.find(name).provider.components()
    for part in components:
        health = "up" if part.healthy else "DOWN"
        click.echo(f"{part.name:<26} {health:<5} {part.pid or '-':<8} {part.log or ''}".rstrip())
    if not components or not all(part.healthy for part in components):
        raise SystemExit(1)


@cli.command()
@_name
@click.option("--follow", "-f", is_flag=True, help="Go on as it grows.")
@click.argument("process")
def logs(name: str, process: str, *, follow: bool) -> None:
    """Show the log of one process."""
    parts = {part.name: part.log for part in Cluster.find(name).provider.components() if part.log}
    log = parts.get(process)
    if log is None:
        raise click.BadParameter(
            f"{process}: choose one of {', '.join(parts) or '(no process has a log here)'}"
        )
    sys.stdout.flush()
    arguments = ["tail", "-n", "+1", *(["-F"] if follow else []), str(log)]
    os.execvp(arguments[0], arguments)


@cli.command()
@_name
def env(name: str) -> None:
    """Shell exports: KUBECONFIG, PATH with kubectl, and what later steps have added."""
    click.echo(environment.read(Cluster.find(name).state).exports())


@cli.command("images")
@_name
def images_command(name: str) -> None:
    """Build and load the product's images where that is needed; prints the names that pods use."""
    _print_images(Cluster.find(name))


def _print_images(cluster: Cluster) -> None:
    for image, reference in images.provide_all(cluster.provider).items():
        click.echo(f"{image} {reference}")


def main() -> None:
    """Run the command line; an error that the harness foresaw is one line, not a traceback."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.Abort:
        raise SystemExit(130) from None
    except (RuntimeError, ValueError, TimeoutError) as error:
        say(f"error: {error}")
        raise SystemExit(1) from None
