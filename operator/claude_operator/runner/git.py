"""How the runner calls git: always the same way, whatever a repository or its configuration says.

Git executes commands that configuration names (hooks, filters, helpers, monitors, transports), and the
agent can write the configuration of its clone. The runner's calls therefore
- start from an environment of their own, with the runner's values and no global or system file;
- may use the transport that the forwarder speaks, and no other (`ext::` runs any command);
- override by `-c` whatever would run a command.
What is committed and pushed goes through a git directory of the runner's own (`shadow`), in which
there is no configuration of the agent's at all; this here is the second fence. The agent shares the
uid, so both are for robustness: secrets there are none in the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STDERR_BYTES = 2000
"""How much of the end of git's complaint is kept for a message."""

_OVERRIDES = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.attributesFile": "/dev/null",
    "core.sshCommand": "false",
    "core.gitProxy": "",
    "core.askPass": "",
    "core.editor": "false",
    "core.pager": "cat",
    "core.alternateRefsCommand": "true",
    "credential.helper": "",
    "commit.gpgSign": "false",
    "push.gpgSign": "false",
    "push.recurseSubmodules": "no",
    "fetch.recurseSubmodules": "no",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # The forwarder is on loopback: no proxy, and it follows no redirect, so there is none to follow.
    "http.proxy": "",
    "http.followRedirects": "false",
    "transfer.bundleURI": "false",
    "protocol.ext.allow": "never",
}


class GitError(Exception):
    """A git command failed or took too long; the text is the end of what it said."""

    def __init__(self, arguments: tuple[str, ...], said: str, code: int | None = None) -> None:
        super().__init__(f"git {arguments[0]}: {said}")
        self.said = said
        self.code = code
        """The exit code; None: it was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """Calls git with the runner's own configuration; `with_dir` makes one for another git directory."""

    home: Path
    values: tuple[tuple[str, str], ...] = ()
    """Identity and the way to the forwarder; held here, since the agent may change the file that its own git
    reads (`git config --global`, `git lfs install`)."""
    git_dir: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None

    async def run(
        self,
        *arguments: str,
        within: float,
        cwd: Path | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> str:
        """The command's output, without the last newline; `within` is its deadline in seconds.

        Raises:
            GitError: it failed, or its deadline passed.
        """
        overrides = [part for key, value in _OVERRIDES.items() for part in ("-c", f"{key}={value}")]
        process = await asyncio.create_subprocess_exec(
            "git",
            *overrides,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd or self.home,
            env={**self.environment(), **(env or {})},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(within):
                output, complaint = await process.communicate(stdin)
        except TimeoutError:
            raise GitError(arguments, f"not done after {within:.0f} s") from None
        finally:
            # Also when cancelled: git's children (remote-http, index-pack) die with it.
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode != 0:
            said = complaint[-STDERR_BYTES:].decode("utf-8", "replace").strip()
            raise GitError(arguments, said or f"exit code {process.returncode}", process.returncode)
        return output.decode("utf-8", "surrogateescape").removesuffix("\n")

    def environment(self) -> dict[str, str]:
        """The whole environment of a call."""
        found = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            # What git says is read (ls-remote) and shown: in one language.
            "LC_ALL": "C.UTF-8",
            "LANGUAGE": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": str(len(self.values)),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "http",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
        }
        for index, (key, value) in enumerate(self.values):
            found[f"GIT_CONFIG_KEY_{index}"], found[f"GIT_CONFIG_VALUE_{index}"] = key, value
        for name, path in (
            ("GIT_DIR", self.git_dir),
            ("GIT_WORK_TREE", self.work_tree),
            ("GIT_INDEX_FILE", self.index),
        ):
            if path is not None:
                found[name] = str(path)
        return found


async def write_global_config(path: Path, *, home: Path, values: Mapping[str, str]) -> Git:
    """Write the global configuration for the agent's git; the runner's caller has the same values.

    Raises:
        GitError: a value is none that git can store.
    """
    git = Git(home=home, values=tuple(values.items()))
    for key, value in values.items():
        # By git itself: it knows how a value is quoted.
        await git.run("config", "--file", str(path), key, value, within=10)
    return git
