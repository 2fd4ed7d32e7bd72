"""PID 1: orphans are reaped, signals arrive, a killed runner still has a last word."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PROGRAM = """
import os, signal, subprocess, sys, time
from claude_operator.runner import init

def main(pid):
    {main}

def killed(number):
    print("killed by", number, flush=True)

sys.exit(init.supervise(main, killed))
"""


async def run(main: str, *, signal_when: str = "", number: int = 0) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM.format(main=main.replace("\n", "\n    "))),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(20):
        if signal_when:
            said = await process.stdout.readuntil(signal_when.encode())
            process.send_signal(number)
        said += await process.stdout.read()
        return await process.wait(), said.decode()


async def test_the_exit_code_is_the_runners() -> None:
    assert await run("return 7") == (7, "")
    assert (await run("raise SystemExit(3)"))[0] == 3


async def test_an_exception_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    assert (await run("raise ValueError('lost?')"))[0] == 1
    assert "ValueError: lost?" in capfd.readouterr().err


async def test_orphans_come_to_init_and_are_reaped() -> None:
    code, said = await run(
        """
orphan = int(subprocess.check_output(["sh", "-c", "sleep 0.2 >/dev/null & echo $!"]))
parent = int(open(f"/proc/{orphan}/stat").read().rpartition(")")[2].split()[1])
print("parent is init:", parent == pid == os.getppid(), flush=True)
deadline = time.monotonic() + 10
while os.path.exists(f"/proc/{orphan}") and time.monotonic() < deadline:
    time.sleep(0.02)
print("gone:", not os.path.exists(f"/proc/{orphan}"), flush=True)
return 0"""
    )
    assert (code, said) == (0, "parent is init: True\ngone: True\n")


async def test_sigterm_goes_to_the_runner_even_while_it_starts() -> None:
    # Blocked until the runner is ready for it, delivered then.
    code, said = await run(
        """
print("starting", flush=True)
while signal.SIGTERM not in signal.sigpending():
    time.sleep(0.01)
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
return 0""",
        signal_when="starting",
        number=15,
    )
    assert (code, said) == (0, "starting\nheard\n")


async def test_a_killed_runner_is_told() -> None:
    assert await run("os.kill(os.getpid(), 9)") == (137, "killed by 9\n")


async def test_the_container_says_that_its_runner_was_killed(tmp_path: Path) -> None:
    # The command itself: its child stops in the imports, which this sitecustomize makes long.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'claude_operator.runner.run':\n"
        "            import os\n"
        "            os.kill(os.getpid(), 9)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    log = tmp_path / "termination"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "claude_operator", "runner"),
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(tmp_path),
            "CLAUDE_RUNNER_TERMINATION_LOG": str(log),
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await asyncio.wait_for(process.wait(), 20) == 137
    assert log.read_text() == '{"reason":"AgentLost","message":"the runner was killed by signal 9"}'
