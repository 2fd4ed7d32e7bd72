"""The whole outside world in one process: model and git host, their secrets, and where they are.

The harness starts it as a process and reads `world.json`, which appears, whole,
when both servers answer and goes when they stop. Secrets are in files of their
own, readable by their owner alone, and stay the same when the world is started
again in the same directory; so do the repositories with what was pushed.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import signal
import ssl
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.world.git_server import GitServer, GitUser
from tests.world.model_server import SCENARIOS, ModelServer
from tests.world.repositories import Repositories, read_seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydantic import JsonValue

    from tests.world.echo import Echo

GIT_USERNAME = "claude-bot"
STATE_FILE = "world.json"


class WorldError(Exception):
    """The world cannot be started; the text says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the world stands and what it is like."""

    directory: Path
    host: str = "127.0.0.1"
    model_port: int = 0
    git_port: int = 0
    scenarios: Path = SCENARIOS
    accounts: tuple[GitUser, ...] = ()
    """Besides `claude-bot`, who may read and write everything."""
    anonymous_read: tuple[str, ...] = ()
    echo: Echo | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Secrets:
    """The files of the world's secrets, made when they do not exist."""

    model_key: Path
    git_token: Path
    control_token: Path


def make_secrets(directory: Path) -> Secrets:
    """The secrets in `directory/credentials`: one line each, mode 0600."""
    folder = directory / "credentials"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = Secrets(
        model_key=folder / "model-key", git_token=folder / "git-token", control_token=folder / "control-token"
    )
    # The shapes of the real ones, so that what looks for such shapes finds these.
    _make_secret(found.model_key, "sk-ant-api03-world-")
    _make_secret(found.git_token, "ghp_world")
    _make_secret(found.control_token, "control-")
    return found


def _make_secret(path: Path, prefix: str) -> None:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"{prefix}{secrets.token_hex(20)}\n")


async def run(settings: Settings, *, progress: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        WorldError: another world runs in this directory, or an address is not to be had.
    """
    settings.directory.mkdir(parents=True, exist_ok=True)
    with _alone(settings.directory):
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        state_file = settings.directory / STATE_FILE
        try:
            async with AsyncExitStack() as stack:
                state = await _start(settings, stack)
                _write_whole(state_file, state)
                progress(f"the test world is up: {state_file}")
                await stopped.wait()
        finally:
            state_file.unlink(missing_ok=True)
    progress("the test world is down")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorldError(
                f"another test world runs in {directory}; stop it or take another folder"
            ) from None
        yield


async def _start(settings: Settings, stack: AsyncExitStack) -> dict[str, JsonValue]:
    """Start both servers on `stack`; what `world.json` says of them."""
    files = make_secrets(settings.directory)
    control = _read(files.control_token)
    tls = _tls(settings)
    repositories = Repositories(settings.directory / "repositories")
    for name, seed in read_seeds().items():
        if not repositories.exists(name):
            repositories.create(name, seed)
    bot = GitUser(username=GIT_USERNAME, token=_read(files.git_token))
    try:
        model = await stack.enter_async_context(
            ModelServer(
                keys=[_read(files.model_key)],
                host=settings.host,
                port=settings.model_port,
                scenarios=settings.scenarios,
                control_token=control,
                echo=settings.echo,
                tls=tls,
            )
        )
        git = await stack.enter_async_context(
            GitServer(
                root=repositories.root,
                users=(bot, *settings.accounts),
                anonymous_read=settings.anonymous_read,
                host=settings.host,
                port=settings.git_port,
                control_token=control,
                echo=settings.echo,
                tls=tls,
            )
        )
    except OSError as error:
        raise WorldError(f"cannot listen on {settings.host}: {error.strerror}") from None
    return {
        "pid": os.getpid(),
        "model": {"url": model.url, "keyFile": str(files.model_key)},
        "git": {
            "url": git.url,
            "username": GIT_USERNAME,
            "tokenFile": str(files.git_token),
            "repositories": str(repositories.root),
        },
        "controlTokenFile": str(files.control_token),
        "caFile": str(settings.tls_cert) if settings.tls_cert else None,
    }


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise WorldError("TLS wants both --tls-cert and --tls-key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise WorldError(f"--tls-cert {settings.tls_cert}, --tls-key {settings.tls_key}: {error}") from None
    return context


def _read(path: Path) -> str:
    return path.read_text().strip()


def _write_whole(path: Path, value: JsonValue) -> None:
    # By a rename: whoever waits for the file must not read half of it.
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(value, indent=2) + "\n")
    scratch.replace(path)
