"""The gateway's disk is full in mid-session: it says so, the runner waits, and all ends well with new room.

A real file system of a few megabytes, the real gateway, runner and Claude Code.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.attack.until import until
from tests.integration.gateway.conftest import open_world
from tests.integration.runner import pod as pods
from tests.integration.runner.conftest import claude, script
from tests.world import Step, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Fixtures are found by name in the module that uses them.
__all__ = ["claude"]

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder whose `data` has room for 6 MB."""
    folder = tmp_path / "world"
    data = folder / "data"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(data)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(data)], check=True)


def fill(ballast: Path) -> None:
    """Take every byte that is left."""
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue


async def test_a_full_disk_is_said_and_waited_for(small_disk: Path, claude: Path, tmp_path: Path) -> None:
    hold = "touch ../../there; until [ -e ../../go ]; do sleep 0.1; done; echo work > work.txt"
    steps = (Step(tools=(ToolCall(name="Bash", input={"command": hold}),)), Step(text=("Done.",)))
    ballast = small_disk / "data" / "ballast"
    async with open_world(small_disk) as world, AsyncExitStack() as stack:
        session = world.cluster.add_session(requirements=script(*steps))
        pod = world.cluster.add_pod(session)
        assert world.gateway.authority is not None
        running = await pods.start(
            tmp_path / "pod",
            claude=claude,
            gateway_url=world.url,
            gateway_proxy=f"127.0.0.1:{world.gateway.ports.connect}",
            ca=world.gateway.authority.pem,
            token=pod.token(),
        )
        stack.push_async_callback(running.kill)
        await until((running.folder / "there").exists, seconds=40)
        fill(ballast)

        event = {"seq": 10_000, "time": "2026-01-01T00:00:00Z", "type": "cli.x", "data": {"x": "y" * 100_000}}
        status, answer = await world.ask(pod, "POST", "/v1/session/events", json={"events": [event]})
        assert (status, answer["reason"]) == (503, "GatewayUnavailable")
        assert "full" in answer["message"]
        answered = world.model.totals.total["answered"]
        (running.folder / "go").touch()
        # The CLI asks the model, and is refused: nothing is sent that can't be put on record.
        await until(lambda: world.gateway.store.failing and "503" in running.log, seconds=15)
        assert world.model.totals.total["answered"] == answered
        ballast.unlink()

        assert await running.wait(90) == 0, running.log
        assert world.model.totals.total["answered"] > answered
        events = await world.journal(session)
        record = await world.record(session)

    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert [one["data"]["reason"] for one in events if one["type"] == "gateway.result"] == ["Completed"]
    assert record["published"]["branch"].startswith("claude/fix-")
    assert record["usage"]["turns"] == world.model.totals.total["answered"]
