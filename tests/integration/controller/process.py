"""The controller as its own process, as it runs in a pod."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import aiohttp

from tests.cluster import ports


class Started(Protocol):
    """What is needed of a process that runs."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, number: int, /) -> None: ...

    async def wait(self) -> int: ...


async def as_a_program(environment: Mapping[str, str], log: Path) -> Started:
    """Start it as its image does."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "claude_operator", "controller"),
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )


@dataclass(slots=True)
class ControllerProcess:
    """One replica; `start` and `kill` as often as a test likes."""

    name: str
    log: Path
    environment: Mapping[str, str]
    health_port: int = field(default_factory=lambda: ports.choose(("health",))["health"])
    launch: Callable[[Mapping[str, str], Path], Awaitable[Started]] = as_a_program
    _process: Started | None = None

    async def start(self, *, ready: bool = True) -> None:
        """Start it; with `ready`, wait until it leads and has listed everything."""
        own = {"POD_NAME": self.name, "CLAUDE_HEALTH_PORT": str(self.health_port)}
        self._process = await self.launch({**self.environment, **own}, self.log)
        if ready:
            await self.until_metric("claude_controller_synced", 1)

    @property
    def running(self) -> Started:
        assert self._process is not None, "not started"
        return self._process

    async def until_metric(self, name: str, value: float, *, seconds: float = 20) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while (await self.metrics()).get(name) != value:
            if self.running.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{self.name} did not reach {name}={value:g}:\n{self.tail()}")
            await asyncio.sleep(0.02)

    async def metrics(self) -> dict[str, float]:
        """All of /metrics; empty while nothing answers."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.health_port}/metrics") as response,
            ):
                text = await response.text()
        except aiohttp.ClientError:
            return {}
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    async def kill(self) -> None:
        """Kill it without warning (-9)."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: it sees and does nothing, and does not know it."""
        self.running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.running.send_signal(signal.SIGCONT)

    async def ended(self, *, seconds: float = 20) -> int:
        """Wait for its own end; the exit code."""
        async with asyncio.timeout(seconds):
            return await self.running.wait()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    async def _end(self, number: signal.Signals) -> int:
        process = self.running
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(20):
            return await process.wait()
