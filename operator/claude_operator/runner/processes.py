"""Ending what the agent has started.

The CLI's process group does not hold everything: its Bash tool starts commands in sessions of their
own, and `nohup server &` survives them all. What is left would go on writing while the tree is
committed, so everything below the runner's init is ended, found by parentage: orphans fall to init,
which is their reaper.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PROC = Path("/proc")
_ROUNDS = 50
_PAUSE_SECONDS = 0.02


def parse_stat(text: str) -> tuple[int, str, int] | None:
    """(pid, state, parent) from a line of /proc/PID/stat; the name may hold spaces and brackets."""
    pid, _, rest = text.partition(" ")
    fields = rest[rest.rfind(")") + 1 :].split()
    try:
        return int(pid), fields[0], int(fields[1])
    except (ValueError, IndexError):
        return None


def below(root: int, parents: Mapping[int, int]) -> set[int]:
    """Every process that descends from `root`, given each process's parent."""
    found: set[int] = set()
    layer = {root}
    while layer:
        layer = {pid for pid, parent in parents.items() if parent in layer} - found - {root}
        found |= layer
    return found


def running(root: int, spare: Iterable[int]) -> set[int]:
    """The living descendants of `root`, without those in `spare`."""
    parents: dict[int, int] = {}
    zombies: set[int] = set()
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            stat = parse_stat((folder / "stat").read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue  # it has ended since the folder was listed
        if stat is not None:
            pid, state, parent = stat
            parents[pid] = parent
            if state in "ZX":
                zombies.add(pid)
    return below(root, parents) - zombies - set(spare)


async def kill_below(root: int, spare: Iterable[int]) -> set[int]:
    """Kill every descendant of `root` but those in `spare`; returns what is still there after a second.

    Rounds, because a process may fork between the look and the signal. A process that sits in an
    uninterruptible system call dies later; the pod's end is its end.
    """
    kept = set(spare)
    for _ in range(_ROUNDS):
        left = running(root, kept)
        if not left:
            return set()
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_PAUSE_SECONDS)
    return running(root, kept)
