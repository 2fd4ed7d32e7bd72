"""The control group below which the node's pods live, in cgroup v1, hybrid and v2 alike.

Two kubelets would both own `/kubepods`; so each cluster's kubelet gets a root of its own. That root must
exist in every hierarchy before the kubelet starts, and be removed from every one afterwards.
"""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cluster.waiting import wait_until

_V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A group of one name at the top of every hierarchy."""

    name: str

    def create(self) -> None:
        """Make it wherever the kubelet looks."""
        if is_v2():
            _enable_controllers(_V2)
            (_V2 / self.name).mkdir(exist_ok=True)
            return
        for hierarchy in _hierarchies("cgroup"):
            group = hierarchy / self.name
            group.mkdir(exist_ok=True)
            # A new v1 cpuset is empty, and a process can't join an empty one.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if (group / setting).exists() and not (group / setting).read_text().strip():
                    (group / setting).write_text((hierarchy / setting).read_text())

    def remove(self) -> None:
        """Remove it with everything below; its processes must have ended.

        Raises:
            TimeoutError: a process still lives in it after 10 s.
        """
        for hierarchy in [*_hierarchies("cgroup"), *_hierarchies("cgroup2")]:
            group = hierarchy / self.name
            if group.exists():
                # The kernel releases a dead process's group a moment after its parent has seen it die.
                wait_until(partial(_try_remove, group), what=f"{group} to empty", seconds=10)


def is_v2() -> bool:
    """Whether the unified hierarchy alone is mounted."""
    return (_V2 / "cgroup.controllers").exists()


def _hierarchies(kind: str) -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(target) for _, target, fstype, *_ in mounts if fstype == kind]


def _enable_controllers(group: Path) -> None:
    controllers = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _try_remove(group: Path) -> bool:
    """Remove bottom-up; rmdir is the only operation that a group knows."""
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return True
