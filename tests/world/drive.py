"""One headless run of the real Claude Code CLI, apart from the product's own runner.

Tests of the world need to know that the CLI accepts what the world says; tests
of the product need a witness that is not the product. The invocation keeps the
CLI from everything that would vary: settings of user and repository, background
tasks, other traffic, the CLI's own long retries.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

MODEL = "claude-sonnet-5-5"
TOOLS = ("Bash", "Read", "Edit", "Write", "Grep", "Glob")
# Events carry whole files: one of 6 MB has been seen.
_LINE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """What a run printed, and how it ended."""

    events: tuple[dict[str, JsonValue], ...]
    returncode: int
    stderr: str

    @property
    def result(self) -> dict[str, JsonValue]:
        """The last `result` event."""
        found = [event for event in self.events if event["type"] == "result"]
        assert found, f"no result; exit code {self.returncode}, stderr: {self.stderr[-2000:]}"
        return found[-1]


def environment(
    *, model_url: str, key: str, folder: Path, max_retries: int = 2, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A small environment with configuration and temporary files under `folder`."""
    for name in ("config", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CLAUDE_CONFIG_DIR": str(folder / "config"),
        "CLAUDE_CODE_TMPDIR": str(folder / "tmp"),
        "ANTHROPIC_BASE_URL": model_url,
        "ANTHROPIC_API_KEY": key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(max_retries),
        "DISABLE_AUTOUPDATER": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Claude",
        "GIT_AUTHOR_EMAIL": "claude@example.com",
        "GIT_COMMITTER_NAME": "Claude",
        "GIT_COMMITTER_EMAIL": "claude@example.com",
        **(extra or {}),
    }


async def drive(
    program: Path,
    prompt: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    arguments: Sequence[str] = (),
    timeout_seconds: float = 120,
) -> Run:
    """Run `program` on `prompt` in `cwd` to its end.

    Raises:
        TimeoutError: it has not ended in time; it is then killed.
    """
    process = await asyncio.create_subprocess_exec(
        program,
        "-p",
        *("--output-format", "stream-json", "--verbose"),
        *("--model", MODEL),
        *("--setting-sources", "", "--strict-mcp-config"),
        *("--tools", ",".join(TOOLS)),
        # bypassPermissions is refused to root; this is not.
        *("--permission-mode", "dontAsk", "--allowedTools", ",".join(TOOLS)),
        *arguments,
        cwd=cwd,
        env=dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            stdout, stderr = await process.communicate(prompt.encode())
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return Run(
        events=tuple(json.loads(line) for line in stdout.splitlines()),
        returncode=process.returncode,
        stderr=stderr.decode(errors="replace"),
    )
