"""Processes are found again, stopped whole, and never mistaken for another that has their pid."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.places import REPOSITORY
from tests.cluster.processes import Identity, Process
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from Linux's /proc")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process("sleeper", tmp_path)
    yield made
    made.kill()


def test_a_process_name_may_hold_spaces_and_parentheses() -> None:
    fields = " ".join(str(number) for number in range(4, 30))
    assert Identity.parse(f"77 (a) b (c) S {fields}") == Identity(pid=77, started=22)


def test_it_runs_with_its_own_log_and_is_found_by_its_record(process: Process) -> None:
    process.start(["/bin/sh", "-c", "echo out; echo err >&2; exec sleep 60"])
    wait_until(lambda: "err" in process.log.read_text(), what="output", seconds=5)
    assert process.log.read_text() == "out\nerr\n"
    found = Process(process.name, process.directory)
    assert found.alive
    assert found.identity == process.identity
    found.stop()
    assert not process.alive
    assert process.identity is None


def test_starting_it_twice_leaves_the_first_alone(process: Process) -> None:
    process.start(["sleep", "60"])
    first = process.identity
    process.start(["sleep", "60"])
    assert process.identity == first


def test_stop_ends_its_children_and_insists(process: Process) -> None:
    process.start(["/bin/sh", "-c", "trap '' TERM; sleep 61 & echo $!; while :; do wait; done"])
    wait_until(lambda: process.log.read_text().strip().isdigit(), what="the child's pid", seconds=5)
    child = Path("/proc") / process.log.read_text().strip()
    assert child.exists()
    process.stop(grace_seconds=0.2)
    assert not process.alive
    assert not child.exists() or "State:\tZ" in (child / "status").read_text()


def test_a_process_that_got_the_pid_of_a_dead_one_is_not_touched(process: Process) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            stat = Path(f"/proc/{stranger.pid}/stat").read_text().split()
            stat[21] = str(int(stat[21]) - 1)  # the dead one had begun earlier
            (process.directory / "sleeper.pid").write_text(f"{boot}\n{' '.join(stat)}\n")
            assert not process.alive
            process.stop()
            assert stranger.poll() is None, "a stranger was killed"
        finally:
            stranger.kill()


def test_a_record_of_before_a_reboot_is_void(process: Process) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        try:
            stat = Path(f"/proc/{stranger.pid}/stat").read_text()
            (process.directory / "sleeper.pid").write_text(f"another-boot\n{stat}")
            process.stop()
            assert stranger.poll() is None, "a stranger was killed"
        finally:
            stranger.kill()


def test_what_a_test_starts_dies_with_it_even_when_killed(tmp_path: Path) -> None:
    script = f"""
        import sys
        from pathlib import Path
        from tests.cluster.processes import Process
        Process("orphan", Path({str(tmp_path)!r})).start(["sleep", "60"], dies_with_parent=True)
        print("started", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        orphan = Process("orphan", tmp_path)
        assert orphan.alive
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not orphan.alive, what="the orphan to die", seconds=5)
