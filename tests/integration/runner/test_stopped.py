"""Ends that somebody wanted: cancel, the wall clock, SIGTERM, a later claim. And going on from one."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from claude_operator.resources.lifecycle import Reason
from claude_operator.wire.session import InboxItem
from tests.integration.runner.conftest import World, assignment, script
from tests.world import Delay, Step, ToolCall

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

WORK = Step(
    text=("I begin.",),
    tools=(
        ToolCall(
            name="Bash",
            input={
                "command": "echo one > committed.txt; git add -A; git commit -qm 'First half'; "
                "echo two >> committed.txt; echo new > untracked.txt; "
                "mkdir -p __pycache__; echo no > __pycache__/x; git add untracked.txt"
            },
        ),
    ),
)
HANG = Step(tools=(ToolCall(name="Bash", input={"command": "touch ../hanging; tail -f /dev/null"}),))


async def until_exists(path: Path, within: float = 30) -> None:
    async with asyncio.timeout(within):
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - a file of another process has no event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("end", ["cancel", "timeout"])
async def test_what_was_done_is_kept_and_no_pull_request_opened(world: World, end: str) -> None:
    gateway = await world.gateway(
        assignment(
            script(WORK, HANG, Step(text=("never",))),
            timeout_seconds=5 if end == "timeout" else 120,
            pull_request={},
            artifacts=["committed.txt"],
        )
    )
    pod = await world.pod(gateway)
    await until_exists(pod.workspace / "hanging")
    started = time.monotonic()
    if end == "cancel":
        await gateway.post("cancel", "not needed any more")
    code = await pod.wait(30)
    reason = Reason.CANCELLED if end == "cancel" else Reason.TIMEOUT
    assert (code, pod.termination.reason) == (1, reason), pod.log
    if end == "cancel":
        assert time.monotonic() - started < 5
        assert pod.termination.message == "not needed any more"
    assert world.read("claude/first-abcde", "committed.txt") == "one\ntwo\n"
    assert world.read("claude/first-abcde", "untracked.txt") == "new\n"
    assert gateway.told.pull_requests == []
    assert gateway.told.artifacts == {}
    [result] = gateway.told.results
    assert result.reason is reason
    assert gateway.told.of("cli.result")[0].data["terminal_reason"] == "aborted_tools"


async def test_a_cancel_before_the_agent_starts_ends_at_once(world: World) -> None:
    gateway = await world.gateway(assignment(script(Step(text=("never",)))))
    await gateway.post("cancel")
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.CANCELLED
    assert gateway.told.of("cli.assistant") == []
    assert gateway.told.results[0].reason is Reason.CANCELLED
    assert list(world.model.requests.since(0)) == []


async def test_goes_on_from_the_checkpoint_that_sigterm_left(world: World) -> None:
    finish = Step(
        text=("I go on.",),
        tools=(ToolCall(name="Bash", input={"command": "git status --porcelain; git log --format=%s -1"}),),
    )
    first = assignment(script(WORK, HANG, finish, Step(text=("All done",))))
    gateway = await world.gateway(first)
    pod = await world.pod(gateway, {"CLAUDE_RUNNER_CHECKPOINT_SECONDS": "3600"})
    await until_exists(pod.workspace / "hanging")
    started = time.monotonic()
    pod.terminate()
    assert await pod.wait(30) == 143, pod.log
    assert time.monotonic() - started < 10
    assert pod.termination.reason is Reason.EVICTED
    assert "claude/first-abcde" not in world.branches()
    assert gateway.told.results == []
    assert gateway.told.checkpoints[-1].bundle is not None

    gateway.assignment = first.model_copy(update={"attempt": 2, "resume": gateway.resume()})
    gateway.told.events.clear()
    again = await world.pod(gateway)
    assert await again.wait() == 0, again.log
    [restored] = gateway.told.of("runner.restored")
    assert restored.data["same_task"] is True
    # The tree as it was left: staged or not is lost, committed or not is not, ignored files stay behind.
    lines = [line[9:] for line in again.log.splitlines()]
    found = lines.index("<  M committed.txt")
    assert lines[found : found + 3] == ["<  M committed.txt", "    ?? untracked.txt", "    First half"]
    assert world.read("claude/first-abcde", "committed.txt") == "one\ntwo\n"
    assert world.read("claude/first-abcde", "untracked.txt") == "new\n"
    # The conversation too: the script went on where it was instead of at its first step.
    steps = [record.details.get("step") for record in world.model.requests.since(0)]
    assert steps[-2:] == [2, 3]
    assert [event.data["is_error"] for event in gateway.told.of("cli.result")] == [False]


async def test_another_task_goes_on_from_a_finished_session(world: World) -> None:
    add = ToolCall(name="Write", input={"file_path": "${CWD}/one.txt", "content": "one\n"})
    gateway = await world.gateway(assignment(script(Step(tools=(add,)), Step(text=("First done",)))))
    pod = await world.pod(gateway)
    assert await pod.wait() == 0, pod.log
    old = gateway.assignment
    look = ToolCall(name="Bash", input={"command": "cat one.txt && echo two > two.txt"})
    gateway.assignment = assignment(
        script(Step(tools=(look,)), Step(text=("Second done",))),
        name="second",
        publish_branch="claude/second-abcde",
        claude_session_id=old.claude_session_id,
        resume=gateway.resume(),
    )
    gateway.told.events.clear()
    gateway.told.results.clear()
    again = await world.pod(gateway)
    assert await again.wait() == 0, again.log
    assert gateway.told.of("runner.restored")[0].data["same_task"] is False
    assert gateway.told.results[0].summary == "Second done"
    assert world.read("claude/second-abcde", "one.txt") == "one\n"
    assert world.read("claude/second-abcde", "two.txt") == "two\n"
    last = list(world.model.requests.since(0))[-1].body.decode()
    assert "First done" in last


async def test_a_fenced_pod_stops_and_publishes_nothing(world: World) -> None:
    gateway = await world.gateway(assignment(script(WORK, HANG)))
    pod = await world.pod(gateway)
    await until_exists(pod.workspace / "hanging")
    before = len(gateway.told.checkpoints)
    gateway.fenced = True
    await gateway.post("message", "wakes the long poll up")
    assert await pod.wait(60) == 1
    assert pod.termination.reason is Reason.CLAIM_REFUSED
    assert gateway.told.results == []
    assert len(gateway.told.checkpoints) == before
    assert "claude/first-abcde" not in world.branches()


async def test_a_message_steers_the_agent_and_an_interrupt_ends_its_turn(world: World) -> None:
    gateway = await world.gateway(assignment(script(HANG, Step(text=("never",)))))
    pod = await world.pod(gateway)
    await until_exists(pod.workspace / "hanging")
    await gateway.post("interrupt")
    await gateway.until(lambda told: len(told.of("cli.result")) == 1)
    await gateway.post("message", script(Step(text=("As you wish",))))
    assert await pod.wait(30) == 0, pod.log
    assert [event.data["is_error"] for event in gateway.told.of("cli.result")] == [True, False]
    assert gateway.told.results[0].summary == "As you wish"


@pytest.mark.parametrize(("kind", "reason"), [("message", Reason.COMPLETED), ("cancel", Reason.CANCELLED)])
async def test_what_comes_at_the_last_moment_counts(world: World, kind: str, reason: Reason) -> None:
    gateway = await world.gateway(assignment(script(Step(text=("First",)))))
    gateway.slow_inbox = True
    await gateway.post(kind, script(Step(text=("Second",))))
    pod = await world.pod(gateway)
    await pod.wait(30)
    assert pod.termination.reason is reason, pod.log
    if kind == "message":
        assert gateway.told.results[0].summary == "Second"


async def test_a_message_from_before_the_start_is_heard(world: World) -> None:
    slow = Step(text=("First",), delay=Delay(before=1))
    gateway = await world.gateway(assignment(script(slow)))
    gateway._inbox.append(InboxItem(id=1, kind="message", text="And mind the gap."))
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 0, pod.log
    sent = "".join(record.body.decode() for record in world.model.requests.since(0))
    assert "And mind the gap." in sent


async def test_nothing_that_the_agent_started_outlives_it(world: World) -> None:
    # Writes for ever, from a session of its own, ignoring what it can: the tree must hold still all the same.
    stay = "setsid nohup sh -c 'trap \"\" TERM HUP; while :; do date +%N > ../ticks; done' >/dev/null 2>&1 &"
    gateway = await world.gateway(
        assignment(
            script(Step(tools=(ToolCall(name="Bash", input={"command": stay}),)), Step(text=("Done",)))
        )
    )
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 0, pod.log
    # The pod's end would have killed it too. That it was gone before, shows in the last write being
    # older than the last step of the record.
    [finished] = gateway.told.of("runner.finished")
    last_write = (pod.workspace / "ticks").stat().st_mtime
    assert last_write < datetime.fromisoformat(finished.time).timestamp()
