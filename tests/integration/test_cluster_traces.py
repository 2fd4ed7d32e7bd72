"""What a native cluster leaves behind: nothing, however its `up` ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.ability import why_no_cluster
from tests.cluster.kubectl import Kubectl
from tests.cluster.places import REPOSITORY, cache_dir

pytestmark = pytest.mark.cluster
_TUNABLES = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")


@dataclass(frozen=True, slots=True)
class Traces:
    """Everything on a machine that a cluster could have changed, this cluster's processes by its folder."""

    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[str]
    settings: tuple[str, ...]
    files: frozenset[str]

    @classmethod
    def now(cls, marks: tuple[str, ...]) -> "Traces":
        """Look; `marks` are strings of which a process of the cluster has one in its command line."""
        return cls(
            processes=frozenset(_processes(marks)),
            mounts=frozenset(Path("/proc/self/mounts").read_text().splitlines()),
            links=frozenset(link["ifname"] for link in json.loads(_out("ip", "-json", "link", "show"))),
            routes=frozenset(_out("ip", "route", "show", "table", "all").splitlines()),
            tables=frozenset(_out("nft", "list", "tables").splitlines()),
            cgroups=frozenset(
                str(path) for path in Path("/sys/fs/cgroup").glob("**/claude*") if path.is_dir()
            ),
            settings=tuple((Path("/proc/sys") / name).read_text() for name in _TUNABLES),
            files=frozenset(
                str(path)
                for folder in ("/run", "/var/lib", "/var/log", "/etc/cni", "/etc/containerd", "/opt")
                for path in Path(folder).glob("*")
            )
            | frozenset(str(path) for path in (cache_dir() / "networks").glob("*")),
        )


@dataclass(frozen=True, slots=True)
class Command:
    """The command line, with a cluster of its own in a folder of its own."""

    name: str
    state: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*arguments),
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def line(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.cluster", *arguments, "--name", self.name]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CLAUDE_OPERATOR_STATE": str(self.state)}


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    if reason := why_no_cluster():
        pytest.skip(reason)
    if os.geteuid() != 0:
        pytest.skip("a native cluster needs root")
    made = Command("traces", tmp_path / "state")
    yield made
    made("down")


def test_down_leaves_nothing_and_up_twice_starts_nothing_twice(command: Command) -> None:
    before = Traces.now((str(command.state),))
    assert before.processes == frozenset()

    first = command("up", "--provider", "native")
    assert first.returncode == 0, first.stderr
    run_a_pod(command)
    processes = command("status")
    assert processes.returncode == 0
    assert "kubelet" in processes.stdout

    again = command("up")
    assert again.returncode == 0, again.stderr
    assert command("status").stdout == processes.stdout, "a process was started again"
    # Else the comparison below would prove nothing.
    during = Traces.now((str(command.state),))
    assert during.processes
    assert during.links != before.links
    assert during.cgroups != before.cgroups
    assert during.settings == before.settings, "the node changed a setting of the machine"
    assert during.mounts == before.mounts, "the node's mounts are seen outside"
    assert during.tables == before.tables, "the node's firewall rules are seen outside"

    assert command("down").returncode == 0
    assert Traces.now((str(command.state),)) == before
    assert not command.state.exists()
    assert command("down").returncode == 0, "down twice"
    assert command("status").returncode == 1


@pytest.mark.parametrize("moment", ["making the node", "starting the control plane", "starting the node"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_up_can_be_repeated_and_removed(
    command: Command, moment: str, number: signal.Signals
) -> None:
    before = Traces.now((str(command.state),))
    interrupt_up(command, moment, number)
    assert command("down").returncode == 0
    assert Traces.now((str(command.state),)) == before

    interrupt_up(command, moment, number)
    completed = command("up", "--provider", "native")
    assert completed.returncode == 0, completed.stderr
    assert command("status").returncode == 0
    assert command("down").returncode == 0
    assert Traces.now((str(command.state),)) == before


def test_a_component_that_crashed_is_seen_and_started_again(command: Command) -> None:
    assert command("up", "--provider", "native").returncode == 0
    for victim in ("kubelet", "kube-apiserver", "node"):
        os.kill(pid_of(command, victim), signal.SIGKILL)
        status = command("status")
        assert status.returncode == 1
        assert any(line.split()[:2] == [victim, "DOWN"] for line in status.stdout.splitlines())
        repaired = command("up")
        assert repaired.returncode == 0, repaired.stderr
        status = command("status")
        assert status.returncode == 0, f"after {victim}:\n{status.stdout}"
    run_a_pod(command)


def test_two_clusters_live_side_by_side(command: Command, tmp_path: Path) -> None:
    other = Command("traces-too", tmp_path / "other")
    assert command("up", "--provider", "native").returncode == 0
    try:
        second = other("up", "--provider", "native")
        assert second.returncode == 0, second.stderr
        run_a_pod(command)
        run_a_pod(other)
    finally:
        assert other("down").returncode == 0
    assert command("status").returncode == 0, "one cluster's end touched the other"


def test_a_folder_that_holds_something_else_is_not_taken_over(command: Command) -> None:
    command.state.mkdir()
    (command.state / "thesis.txt").write_text("dear")
    refused = command("up", "--provider", "native")
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert command("down").returncode == 0
    assert (command.state / "thesis.txt").read_text() == "dear"
    shutil.rmtree(command.state)


def run_a_pod(command: Command) -> None:
    """A pod of the pause image, which every node has."""
    kubectl = Kubectl(command.state / "bin" / "kubectl", command.state / "control-plane" / "kubeconfig")
    kubectl.run("delete", "pod", "probe", "--ignore-not-found", "--now")
    kubectl.run("run", "probe", "--image=localhost/claude-operator-pause:1", "--image-pull-policy=Never")
    kubectl.run("wait", "--for=condition=Ready", "pod/probe", "--timeout=40s")


def interrupt_up(command: Command, moment: str, number: signal.Signals) -> None:
    """Start `up` and end it shortly after it has announced the step."""
    with subprocess.Popen(
        command.line("up", "--provider", "native"),
        cwd=REPOSITORY,
        env=command.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if moment in line and "▸" in line:
                break
        else:
            pytest.fail(f"up never announced {moment!r}")
        # Into the step, not beside it.
        time.sleep(0.05)
        up.send_signal(number)
        up.stderr.read()
        assert up.wait(timeout=30) != 0


def pid_of(command: Command, process: str) -> int:
    lines = [line.split() for line in command("status").stdout.splitlines()]
    return next(int(fields[2]) for fields in lines if fields[0] == process)


def _processes(marks: tuple[str, ...]) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(mark in line for mark in marks) and int(entry.name) != os.getpid():
                yield f"{entry.name} {line}"


def _out(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
