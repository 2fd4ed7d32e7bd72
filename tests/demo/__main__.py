"""`python -m tests.demo run | down | env`, behind the Makefile's verbs."""

from __future__ import annotations

import click

from tests.cluster import environment
from tests.cluster.cluster import Cluster, NotUpError
from tests.cluster.places import DEFAULT_NAME
from tests.cluster.progress import say
from tests.demo.show import Show
from tests.stack.stack import Stack

_name = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which cluster.")


@click.group()
def cli() -> None:
    """The demo."""


@cli.command()
@_name
def run(name: str) -> None:
    """Bring everything up, run the first example and show it live."""
    stack = Stack.up(name)
    succeeded = Show(stack).first_session()
    say('\nA shell in which kubectl and curl work:  eval "$(make -s env)"')
    say("Remove everything that was started:      make demo-down")
    if not succeeded:
        raise SystemExit(1)


@cli.command()
@_name
def down(name: str) -> None:
    """Remove everything that the demo started, and nothing else."""
    try:
        stack = Stack.find(name)
    except NotUpError:
        say("nothing is up")
        return
    stack.down()


@cli.command()
@_name
def env(name: str) -> None:
    """Shell exports of what runs."""
    click.echo(environment.read(Cluster.find(name).state).exports())


def main() -> None:
    """Run a verb; what the harness foresaw is one line, not a traceback."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        say("interrupted; run it again to go on, or `make demo-down` to remove what stands")
        raise SystemExit(130) from None
    except (RuntimeError, ValueError, TimeoutError) as error:
        say(f"error: {error}")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
