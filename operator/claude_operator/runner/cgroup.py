"""CPU time and memory peak of the container, as its cgroup counted them.

Counting the CLI alone would miss the builds and tests that the agent runs. Version 2 of the interface
comes first, version 1 is still met on older nodes; where neither can be read there is no number, never
a made-up one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Consumption:
    """What the container has used so far."""

    cpu_seconds: float | None
    memory_peak_bytes: int | None


def read(root: Path = ROOT) -> Consumption:
    """The numbers below `root`."""
    cpu = _from_stat(root / "cpu.stat", "usage_usec")
    nanoseconds = _number(root / "cpuacct" / "cpuacct.usage")
    if cpu is not None:
        seconds: float | None = cpu / 1e6
    else:
        seconds = nanoseconds / 1e9 if nanoseconds is not None else None
    peak = _number(root / "memory.peak")
    if peak is None:
        peak = _number(root / "memory" / "memory.max_usage_in_bytes")
    return Consumption(cpu_seconds=seconds, memory_peak_bytes=peak)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _from_stat(path: Path, key: str) -> int | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), None)
    except (OSError, ValueError, IndexError):
        return None
