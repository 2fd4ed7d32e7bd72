"""`python -m tests.world`: the outside world of the tests, from a shell."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

import click
import yaml
from pydantic import TypeAdapter, ValidationError

from tests.world import claude_code
from tests.world.echo import Echo
from tests.world.git_server import GitUser
from tests.world.model_server import SCENARIOS
from tests.world.world import STATE_FILE, Settings, WorldError, run

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_TIMEOUT_SECONDS = 30

directory_option = click.option(
    "--directory", type=_FOLDER, required=True, help="Holds world.json, secrets and repositories."
)


@click.group()
def main() -> None:
    """A scripted model and a git host, for tests and the demo."""


@main.command()
@directory_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--model-port", default=0, help="0: any free port.")
@click.option("--git-port", default=0, help="0: any free port.")
@click.option("--scenarios", type=_FOLDER, default=SCENARIOS, help="The folder of the named scripts.")
@click.option("--accounts", type=_FILE, help="YAML list of further git accounts (see README.md).")
@click.option("--anonymous-read", multiple=True, help="Pattern of repositories that anybody may read.")
@click.option("--echo", is_flag=True, help="Reflect credentials into every answer.")
@click.option("--tls-cert", type=_FILE, help="Serve HTTPS.")
@click.option("--tls-key", type=_FILE)
def up(
    *,
    directory: Path,
    host: str,
    model_port: int,
    git_port: int,
    scenarios: Path,
    accounts: Path | None,
    anonymous_read: tuple[str, ...],
    echo: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Serve both until SIGTERM; world.json appears when they answer."""
    settings = Settings(
        directory=directory.resolve(),
        host=host,
        model_port=model_port,
        git_port=git_port,
        scenarios=scenarios,
        accounts=_read_accounts(accounts),
        anonymous_read=anonymous_read,
        echo=Echo() if echo else None,
        tls_cert=tls_cert.resolve() if tls_cert else None,
        tls_key=tls_key.resolve() if tls_key else None,
    )
    try:
        asyncio.run(run(settings, progress=click.echo))
    except WorldError as error:
        raise click.ClickException(str(error)) from None


def _read_accounts(file: Path | None) -> tuple[GitUser, ...]:
    if file is None:
        return ()
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
        return TypeAdapter(tuple[GitUser, ...]).validate_python(value)
    except (yaml.YAMLError, ValidationError) as error:
        raise click.ClickException(f"--accounts {file}: {error}") from None


@main.command()
@directory_option
@click.option("--server", type=click.Choice(["model", "git"]), default="model", show_default=True)
@click.option("--since", default=0, help="Only those after this number.")
def requests(directory: Path, server: Literal["model", "git"], since: int) -> None:
    """What a server was sent, as JSON."""
    _print(directory, server, f"/_requests?since={since}")


@main.command()
@directory_option
def usage(directory: Path) -> None:
    """The tokens that the model really sent, as JSON."""
    _print(directory, "model", "/_usage")


@main.command("claude-code")
def fetch_claude_code() -> None:
    """Fetch the Claude Code CLI into the cache (175 MB, once) and print its path."""
    try:
        path = claude_code.fetch(progress=lambda text: click.echo(text, err=True))
    except claude_code.ClaudeCodeUnavailableError as error:
        raise click.ClickException(str(error)) from None
    click.echo(path)


def _print(directory: Path, server: Literal["model", "git"], path: str) -> None:
    try:
        state = json.loads((directory / STATE_FILE).read_text())
    except FileNotFoundError:
        raise click.ClickException(f"no test world runs in {directory}") from None
    token = Path(state["controlTokenFile"]).read_text().strip()
    request = urllib.request.Request(
        state[server]["url"] + path, headers={"Authorization": f"Bearer {token}"}
    )
    tls = ssl.create_default_context(cafile=state["caFile"]) if state["caFile"] else None
    # No proxy of the environment: the world is on this machine.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            sys.stdout.write(response.read().decode() + "\n")
    except urllib.error.URLError as error:
        raise click.ClickException(f"{state[server]['url']}: {error.reason}") from None


if __name__ == "__main__":
    main()
