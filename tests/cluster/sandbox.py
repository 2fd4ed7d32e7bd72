"""The node's own namespaces: what makes `down` complete by the kernel's guarantee rather than by bookkeeping.

Kubelet, containerd and kube-proxy litter a machine: mounts by the dozen, network namespaces, veth pairs,
nft tables that can't be told from another cluster's, shims that outlive their parent, kernel settings.
Listing all that and removing it piece by piece leaks whenever a piece is forgotten or a removal is
interrupted. So the node gets a network, a mount and a process namespace of its own, as a kind node does
without saying so. When process 1 of it ends, the kernel kills every other process in it, and mounts, links
and tables go with the namespaces.

Inside, `/run`, `/var/lib` and `/var/log` are private, so that every program keeps its default paths and two
nodes share none.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import DIES_WITH_PARENT, Identity, Process
from tests.cluster.waiting import wait_until

# What the kubelet would otherwise set for the whole machine. It sets only what differs, so a file with the
# expected value, mounted over the setting and visible in here alone, keeps its hands off.
_TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# $1: the node's folder. $2: the program that becomes process 1.
_SETUP = """
set -eu
# Until proc is mounted anew, /proc/self shows this shell as the outside sees it.
read -r stat </proc/self/stat
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
(cd "$1/tunables" && find . -type f) | while read -r tunable; do
    mount --bind "$1/tunables/$tunable" "/proc/sys/$tunable"
done
# The kubelet hands mounts on to containers; shared among these namespaces only.
mount --make-rshared /
echo "$stat" >"$1/init.stat.new"
mv "$1/init.stat.new" "$1/init.stat"
exec "$2"
"""
_MASKED = (Path("/run"), Path("/var/run"), Path("/var/lib"), Path("/var/log"))


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The namespaces of one node, kept open by its process 1."""

    directory: Path
    init: Path

    @property
    def process(self) -> Process:
        """The process outside that is the parent of process 1; either one's end ends both."""
        return Process("node", self.directory)

    @property
    def init_pid(self) -> int:
        """Process 1, by the pid that it has outside.

        Raises:
            RuntimeError: the node does not run.
        """
        identity = self._init_identity()
        if identity is None or not self.alive:
            raise RuntimeError(f"the node in {self.directory} does not run; `up` starts it")
        return identity.pid

    @property
    def alive(self) -> bool:
        """Whether the namespaces are there."""
        identity = self._init_identity()
        return self.process.alive and identity is not None and identity.alive

    def up(self) -> None:
        """Make the namespaces, unless they are there.

        Raises:
            ValueError: the folder is below one that is private inside.
            RuntimeError: the kernel refused; the log's last lines are in the message.
        """
        if self.alive:
            return
        for masked in _MASKED:
            if self.directory.is_relative_to(masked):
                raise ValueError(
                    f"{self.directory}: a node's state can't be below {masked}, which is private inside it; "
                    "set CLAUDE_OPERATOR_STATE (or CLAUDE_OPERATOR_CACHE) to another place"
                )
        # What ran in namespaces that have just ended may look alive for a moment, and would not be started.
        for record in self.directory.glob("*.pid"):
            Process(record.stem, self.directory).kill()
        for folder in ("lib", "log"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        self._write_tunables()
        self._stat.unlink(missing_ok=True)
        self.process.start(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"),
                *("/bin/sh", "-c", _SETUP, "node", self.directory, self.init),
            ]
        )
        wait_until(
            self._stat.exists,
            what="the node's namespaces",
            seconds=10,
            fails=lambda: None if self.process.alive else f"it ended:\n{self.process.tail()}",
        )

    def down(self) -> None:
        """End process 1 and with it everything inside."""
        self.process.stop(grace_seconds=5)

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """The command that runs `argv` inside; it ends when the command does, and the other way round.

        Entering a process namespace takes a child. The parent is the one whose pid is known outside, so a
        child that outlived it would run on unseen, and keep the ports that its successor needs.
        """
        enter = ["nsenter", f"--target={self.init_pid}", "--net", "--mount", "--pid", "--"]
        return [*enter, *DIES_WITH_PARENT, *map(str, argv)]

    def run(self, *argv: str | Path, stdin: int | None = None) -> str:
        """Run a short command inside and return what it printed.

        Raises:
            RuntimeError: it failed; its words are in the message.
        """
        done = subprocess.run(self.command(argv), stdin=stdin, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, argv))} (inside the node): {done.stderr.strip()}")
        return done.stdout

    @property
    def _stat(self) -> Path:
        return self.directory / "init.stat"

    def _init_identity(self) -> Identity | None:
        try:
            return Identity.parse(self._stat.read_text())
        except FileNotFoundError:
            return None

    def _write_tunables(self) -> None:
        for name, value in _TUNABLES.items():
            if (Path("/proc/sys") / name).exists():
                file = self.directory / "tunables" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{value}\n")
