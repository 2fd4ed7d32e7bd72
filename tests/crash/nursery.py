"""Controllers without the second that their imports take: forked from a process that has imported everything.

A suite that kills a controller two hundred times starts it four hundred times. What is forked is the same
program with the same arguments and environment, and a process of its own that dies of kill -9 like any other.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h: the signal that a process gets when its parent dies."""


class Nursery:
    """Starts controllers; as `ControllerProcess.launch`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, environment: Mapping[str, str], log: Path) -> Child:
        """Start one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps({"environment": dict(environment), "log": str(log)})
        async with self._one_at_a_time:
            self._process.stdin.write(order.encode() + b"\n")
            await self._process.stdin.drain()
            answer = await self._process.stdout.readline()
        assert answer, "the nursery has died; its words are on stderr"
        return Child.of(int(answer))


@dataclass(slots=True)
class Child:
    """One controller, as `asyncio.subprocess.Process` would show it."""

    pid: int
    _watched: int
    """A pidfd: pids are used again, this is not."""
    returncode: int | None = None

    @classmethod
    def of(cls, pid: int) -> Child:
        try:
            return cls(pid, os.pidfd_open(pid))
        except ProcessLookupError:
            return cls(pid, -1, returncode=-1)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._watched, number)

    async def wait(self) -> int:
        """Until it is dead; how it ended is not known, -1 stands for that."""
        if self.returncode is None:
            loop, dead = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._watched, dead.set)
            try:
                await dead.wait()
            finally:
                loop.remove_reader(self._watched)
            os.close(self._watched)
            self.returncode = -1
        return self.returncode


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """A nursery of this event loop; its children die with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def _serve() -> None:
    """In the nursery's own process: one line in, one child out."""
    from claude_operator.__main__ import main  # noqa: PLC0415 - only here is it worth its second
    from claude_operator.controller import command  # noqa: F401, PLC0415 - likewise

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order["environment"], order["log"])
            main(["controller"])
        print(pid, flush=True)


def _become(environment: dict[str, str], log: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    os.environ.update(environment)
    random.seed()  # a fork inherits the sequence, and with it every "random" pause


if __name__ == "__main__":
    _serve()
