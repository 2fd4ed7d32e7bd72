"""The CLI as a process: what goes in, what comes out, and its certain end.

Both directions are stream-json. An interrupt is a control request on stdin, never a signal: after
SIGINT or SIGTERM the CLI leaves no result and forgets what was spent last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError
from claude_operator.runner.stream import LineSplitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

STDERR_LINES = 20
STDERR_LINE_BYTES = 2000
_BLOCK_BYTES = 256 << 10


class Agent:
    """One run of the CLI."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._interrupts = 0
        self._writing = asyncio.Lock()

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Agent:
        """Start the CLI in a process group of its own.

        Raises:
            RunError: there is no such program, or it cannot be run.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            raise RunError(
                Reason.AGENT_ERROR, f"the CLI cannot be started: {error}: is {command[0]} in the image?"
            ) from error
        return cls(process)

    async def say(self, text: str) -> None:
        """Send a user message; one that comes in the middle of a turn steers it."""
        await self._write({"type": "user", "message": {"role": "user", "content": text}})

    async def interrupt(self) -> None:
        """End the turn that is under way; its result follows, and the process goes on."""
        self._interrupts += 1
        await self._write(
            {
                "type": "control_request",
                "request_id": f"interrupt-{self._interrupts}",
                "request": {"subtype": "interrupt"},
            }
        )

    def close_input(self) -> None:
        """No further message will come: the CLI ends after the turns that it still has."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def lines(self) -> AsyncIterator[bytes]:
        """What it prints, line by line, until it closes its output."""
        assert self._process.stdout is not None, "started with pipes"
        splitter = LineSplitter()
        while block := await self._process.stdout.read(_BLOCK_BYTES):
            for line in splitter.feed(block):
                yield line
        for line in splitter.finish():
            yield line

    async def complaints(self) -> AsyncIterator[str]:
        """What it writes to stderr, line by line; the last lines are kept (`stderr`)."""
        assert self._process.stderr is not None, "started with pipes"
        splitter = LineSplitter()
        while block := await self._process.stderr.read(_BLOCK_BYTES):
            for line in splitter.feed(block):
                yield self._keep(line)
        for line in splitter.finish():
            yield self._keep(line)

    @property
    def stderr(self) -> str:
        """The end of what it wrote to stderr."""
        return "\n".join(self._stderr)

    @property
    def pid(self) -> int:
        """Of the CLI, and of its process group."""
        return self._process.pid

    async def wait(self, within: float) -> int | None:
        """Its exit code (negative for a signal), or None when it still runs after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                return await self._process.wait()
        except TimeoutError:
            return None

    async def end(self, *, grace_seconds: float) -> int:
        """SIGTERM, then SIGKILL, to the CLI and its group; returns its exit code."""
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            await self.wait(grace_seconds)
        # Always: the group may outlive its leader.
        self._signal(signal.SIGKILL)
        return await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _keep(self, line: bytes) -> str:
        text = line[:STDERR_LINE_BYTES].decode("utf-8", "replace")
        self._stderr.append(text)
        return text

    async def _write(self, message: dict[str, object]) -> None:
        stdin = self._process.stdin
        assert stdin is not None, "started with pipes"
        async with self._writing:
            # A CLI that has ended, or is ending, takes no more; the reader of its output sees that.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if not stdin.is_closing():
                    stdin.write(json.dumps(message).encode() + b"\n")
                    await stdin.drain()
