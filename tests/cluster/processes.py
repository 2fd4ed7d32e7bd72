"""Long-running processes that outlive the command that started them, and are stopped by nobody else's id.

Each has its own folder entry: `<name>.log`, and `<name>.pid`, which the process itself writes just before
it becomes its program, so that there is no moment at which a killed `up` leaves a process without a record.
A pid alone is no identity, because the kernel hands it out again: the record also holds the start time in
clock ticks and the boot it belongs to, and a process is signalled only when all three agree.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.waiting import wait_until

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# The shell's own stat line: its pid (field 1) and start time (field 22) stay the same across exec. Line
# two, after the boot id.
_RECORD_THEN_EXEC = 'read -r stat </proc/self/stat; echo "$stat" >>"$1"; shift; exec "$@"'

# Put before a command: the kernel kills it when the thread that started it ends, however that ends. Kept
# across exec, and so by the program itself. Empty where there is no such thing, as on macOS.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig=KILL") if shutil.which("setpriv") else ()

# Children of this very process: once dead they stay zombies, and so look alive, until they are reaped here.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Identity:
    """A process as the kernel cannot confuse it: pid and start time (clock ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def parse(cls, stat: str) -> "Identity":
        """Read a line of `/proc/<pid>/stat`; the name in parentheses may hold anything, spaces included."""
        head, _, tail = stat.rpartition(")")
        return cls(pid=int(head.split(" ", 1)[0]), started=int(tail.split()[19]))

    @property
    def alive(self) -> bool:
        """Whether this process runs; a zombie does not."""
        if child := _children.get(self.pid):
            child.poll()
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        state = stat.rpartition(")")[2].split()[0]
        return state not in "ZX" and Identity.parse(stat) == self


@dataclass(frozen=True, slots=True)
class Process:
    """One named process of a cluster, recorded in `directory`."""

    name: str
    directory: Path

    @property
    def log(self) -> Path:
        """Both output streams, appended over restarts."""
        return self.directory / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def identity(self) -> Identity | None:
        """Who it was when it was last started, in this boot; None when it never was."""
        try:
            boot, stat = self._record.read_text().splitlines()
            return Identity.parse(stat) if boot == _BOOT.read_text().strip() else None
        except (FileNotFoundError, ValueError):
            # ValueError: killed between the two lines, so before the program itself ran.
            return None

    @property
    def alive(self) -> bool:
        """Whether the recorded process runs."""
        identity = self.identity
        return identity is not None and identity.alive

    def start(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        dies_with_parent: bool = False,
    ) -> None:
        """Start it in a process group of its own, unless it runs already.

        Args:
            command: program and arguments.
            environment: added to this process's.
            dies_with_parent: let the kernel kill it when the thread that called this ends, however it ends.
                For what a test starts; what a command line starts outlives it.
        """
        if self.alive:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self._record.write_text(_BOOT.read_text())
        prefix = DIES_WITH_PARENT if dies_with_parent else ()
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [
                    *prefix,
                    "/bin/sh",
                    "-c",
                    _RECORD_THEN_EXEC,
                    self.name,
                    str(self._record),
                    *map(str, command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        _children[child.pid] = child
        wait_until(
            lambda: self.identity is not None or child.poll() is not None,
            what=f"{self.name} to start",
            seconds=10,
        )

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """SIGTERM to its group, SIGKILL after the grace; then forget it.

        Raises:
            TimeoutError: it survives SIGKILL for 10 s (a process stuck in the kernel).
        """
        identity = self.identity
        if identity is not None and identity.alive:
            if grace_seconds:
                self._signal_group(identity, signal.SIGTERM)
            deadline = time.monotonic() + grace_seconds
            while time.monotonic() < deadline and _group_lives(identity.pid):
                time.sleep(0.02)
            if _group_lives(identity.pid):
                self._signal_group(identity, signal.SIGKILL)
                wait_until(
                    lambda: not _group_lives(identity.pid), what=f"{self.name} to die of SIGKILL", seconds=10
                )
        self._record.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL at once, as a crash would; `start` starts it again."""
        self.stop(grace_seconds=0)

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log, for an error message."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @staticmethod
    def _signal_group(identity: Identity, number: signal.Signals) -> None:
        try:
            os.killpg(identity.pid, number)
        except ProcessLookupError:
            return


def _group_lives(group: int) -> bool:
    """Whether any process of the group still runs; the group's id is not reused while one does.

    Read from /proc, because signal 0 also finds zombies, which stay where the machine's process 1 reaps
    nothing.
    """
    if child := _children.get(group):
        child.poll()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == group and fields[0] not in "ZX":
                return True
    return False
