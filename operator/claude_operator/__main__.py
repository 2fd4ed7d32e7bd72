"""The one command of the distribution: `claude-operator controller|gateway|shim|runner`.

A process is imported only when it is asked for: the session image carries the dependencies of the
runner alone, and no process should pay for another one's imports. Hence the help texts stand here.
"""

from __future__ import annotations

import importlib
import logging
import time
from typing import TYPE_CHECKING

import click
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

PROCESSES: Mapping[str, tuple[str, str]] = {
    "controller": ("claude_operator.controller.command", "Turn ClaudeSessions into Jobs and keep status."),
    "gateway": ("claude_operator.gateway.command", "Hold the credentials, meter, fence, keep the record."),
    "runner": ("claude_operator.runner.command", "Run one attempt: PID 1 of a session container."),
    "shim": ("claude_operator.shim.command", "Serve the HTTP APIs: sessions for agents that speak HTTP."),
    "setup": ("claude_operator.setup.command", "Create the first projects of an installation."),
}
"""Each module has a click command named `command`."""


class Processes(click.Group):
    """A group whose commands are imported when they are asked for."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(PROCESSES)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in PROCESSES:
            return None
        command: click.Command = importlib.import_module(PROCESSES[cmd_name][0]).command
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, PROCESSES[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=Processes, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--log-level",
    envvar="CLAUDE_LOG_LEVEL",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
def main(log_level: str) -> None:
    """Run Claude Code on Kubernetes: sessions as resources, a gateway that holds every credential."""
    # One line per record, on stderr, in UTC: what `kubectl logs` shows beside other components' lines.
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=log_level.upper(),
        format="%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


if __name__ == "__main__":
    main()
