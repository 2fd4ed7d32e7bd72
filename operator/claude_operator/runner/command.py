"""`claude-operator runner`: init first, the runner in its child."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from claude_operator.runner import init


@click.command()
def command() -> None:
    """Run one attempt of a session: PID 1 of the session container, configured by its environment."""
    sys.exit(init.supervise(_run, _killed))


def _run(pid: int) -> int:
    # Imported in the child: PID 1 stays small.
    from claude_operator.runner import run  # noqa: PLC0415

    return run.main(pid)


def _killed(number: int) -> None:
    from claude_operator.resources.lifecycle import Reason  # noqa: PLC0415 - as above
    from claude_operator.runner import termination  # noqa: PLC0415
    from claude_operator.runner.settings import ENV_PREFIX  # noqa: PLC0415

    path = Path(os.environ.get(f"{ENV_PREFIX}TERMINATION_LOG", termination.TERMINATION_PATH))
    message = f"the runner was killed by signal {number}"
    click.echo(message, err=True)
    try:
        termination.write(path, Reason.AGENT_LOST, message)
    except OSError as error:
        click.echo(f"no termination message: {error}", err=True)
