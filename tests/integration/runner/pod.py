"""The runner as its container runs it: PID 1 of its own pid namespace, not root, its own home and token.

A user namespace maps the tests' root to uid 1000, because Claude Code refuses to work for root and the
machine's other users cannot read root's caches; where there is no root, the user's own uid does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from claude_operator.wire.session import (
    ENV_GATEWAY_CA,
    ENV_GATEWAY_PROXY,
    ENV_GATEWAY_URL,
    Termination,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[3]
_NAMESPACES = (
    "unshare",
    "--user",
    "--map-user=1000",
    "--map-group=1000",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount",
    "--mount-proc",
)


@dataclass(slots=True)
class Pod:
    folder: Path
    process: asyncio.subprocess.Process

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def ready(self) -> bool:
        return (self.home / ".runner" / "ready").exists()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    @property
    def termination(self) -> Termination:
        return Termination.model_validate_json((self.folder / "termination").read_bytes())

    def rotate_token(self, token: str) -> None:
        """As kubelet does it: a rename, so that no reader sees half of it."""
        new = self.folder / "token.new"
        new.write_text(token)
        new.replace(self.folder / "token")

    async def wait(self, within: float = 90) -> int:
        """The container's exit code."""
        async with asyncio.timeout(within):
            return await self.process.wait()

    def terminate(self) -> None:
        """SIGTERM to the container's PID 1."""
        os.kill(self._init(), signal.SIGTERM)

    async def kill(self) -> None:
        """The node is gone: nothing gets a last word."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init(), signal.SIGKILL)
            await self.process.wait()

    def _init(self) -> int:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if os.geteuid() == 0 else pid


async def start(
    folder: Path,
    *,
    claude: Path,
    gateway_url: str,
    gateway_proxy: str,
    ca: str,
    token: str,
    env: Mapping[str, str] | None = None,
) -> Pod:
    """A fresh container in `folder`."""
    _lay_out(folder, token)
    surroundings = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        ENV_GATEWAY_URL: gateway_url,
        ENV_GATEWAY_PROXY: gateway_proxy,
        ENV_GATEWAY_CA: ca,
        "CLAUDE_RUNNER_HOME": str(folder / "home"),
        "CLAUDE_RUNNER_WORKSPACE": str(folder / "workspace"),
        "CLAUDE_RUNNER_TOKEN": str(folder / "token"),
        "CLAUDE_RUNNER_TERMINATION_LOG": str(folder / "termination"),
        "CLAUDE_RUNNER_CLAUDE": str(claude),
        "CLAUDE_RUNNER_CHECKPOINT_SECONDS": "0.2",
        "CLAUDE_RUNNER_PATIENCE_SECONDS": "30",
        **(env or {}),
    }
    assert os.geteuid() != 0 or shutil.which("unshare"), "util-linux is missing"
    command = [sys.executable, "-m", "claude_operator", "runner"]
    with _log(folder) as log:
        process = await asyncio.create_subprocess_exec(
            *(_NAMESPACES if os.geteuid() == 0 else ()),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder / "workspace",
            env=surroundings,
        )
    return Pod(folder, process)


def _lay_out(folder: Path, token: str) -> None:
    folder.mkdir()
    for name in ("workspace", "home", "tmp"):
        (folder / name).mkdir()
    (folder / "token").write_text(token)


def _log(folder: Path) -> BinaryIO:
    return (folder / "log").open("wb")
