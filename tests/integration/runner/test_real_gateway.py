"""Runner and gateway together, nothing between them made up: claim, model, git, record, checkpoint."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.session import Publish
from tests.integration.gateway.conftest import World, open_world
from tests.integration.runner import pod as pods
from tests.integration.runner.conftest import script
from tests.world import Step, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from claude_operator.gateway.cluster import Session
    from tests.integration.runner.pod import Pod

pytestmark = pytest.mark.timeout(120)

WRITE = ToolCall(
    name="Bash",
    input={
        "command": "echo one > one.txt; git add -A; git commit -qm one; echo two > two.txt; "
        "mkdir out; echo built > out/report.txt"
    },
)
HANG = ToolCall(name="Bash", input={"command": "touch ../hanging; tail -f /dev/null"})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "gateway").mkdir()
    async with open_world(tmp_path / "gateway") as world:
        yield world


async def start(world: World, claude: Path, session: Session, *, attempt: int = 1) -> Pod:
    assert world.gateway.authority is not None
    return await pods.start(
        world.folder.parent / f"pod{attempt}",
        claude=claude,
        gateway_url=world.url,
        gateway_proxy=f"127.0.0.1:{world.gateway.ports.connect}",
        ca=world.gateway.authority.pem,
        token=world.cluster.add_pod(session, attempt=attempt).token(),
    )


async def test_a_session_from_claim_to_result(world: World, claude: Path) -> None:
    usage = Usage(input_tokens=11, output_tokens=7)
    session = world.cluster.add_session(
        "fix",
        requirements=script(Step(tools=(WRITE,), usage=usage), Step(text=("Wrote it.",), usage=usage)),
        publish=Publish(),
        artifacts=["out"],
    )
    before = world.branches()["refs/heads/main"]
    pod = await start(world, claude, session)
    try:
        assert await pod.wait(60) == 0, pod.log
    finally:
        await pod.kill()
    record = await world.close_attempt(session)
    branches = world.branches()
    published = record["published"]
    assert branches["refs/heads/main"] == before
    assert branches[f"refs/heads/{published['branch']}"] == published["commit"]
    assert world.git.repositories.read("acme/greetings", published["branch"], "two.txt") == "two\n"
    assert [artifact["path"] for artifact in record["artifacts"]] == ["out/report.txt"]
    assert record["hasCheckpoint"]
    assert (record["usage"]["inputTokens"], record["usage"]["outputTokens"]) == (22, 14)
    [attempt] = record["attempts"]
    assert (attempt["reported"]["reason"], attempt["reported"]["summary"]) == ("Completed", "Wrote it.")
    events = [event for event in await world.journal(session) if event["source"] == "pod"]
    assert [event["type"] for event in events][:2] == ["runner.claimed", "runner.cloned"]
    assert events[-1]["type"] == "runner.finished"


async def test_the_next_attempt_goes_on_where_sigterm_cut_the_first_off(world: World, claude: Path) -> None:
    steps = (Step(tools=(WRITE,)), Step(tools=(HANG,)), Step(text=("Went on.",)))
    session = world.cluster.add_session("fix", requirements=script(*steps))
    first = await start(world, claude, session)
    try:
        async with asyncio.timeout(40):
            while not (first.workspace / "hanging").exists():  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.02)
        first.terminate()
        assert await first.wait(40) == 143, first.log
    finally:
        await first.kill()
    assert "published" not in await world.close_attempt(session)
    second = await start(world, claude, session, attempt=2)
    try:
        assert await second.wait(60) == 0, second.log
    finally:
        await second.kill()
    record = await world.close_attempt(session, 2)
    assert record["attempts"][1]["reported"]["summary"] == "Went on."
    assert world.git.repositories.read("acme/greetings", record["published"]["branch"], "one.txt") == "one\n"
    assert world.git.repositories.read("acme/greetings", record["published"]["branch"], "two.txt") == "two\n"


async def test_a_wrong_key_ends_in_seconds_with_the_gateways_words(world: World, claude: Path) -> None:
    world.model.keys = frozenset({"another"})
    session = world.cluster.add_session("fix", requirements=script(Step(text=("never",))))
    pod = await start(world, claude, session)
    try:
        assert await pod.wait(20) == 1
    finally:
        await pod.kill()
    assert pod.termination.reason is Reason.MODEL_AUTH_FAILED
    assert "refuses the key in Secret anthropic" in pod.termination.message


async def test_a_read_only_session_sees_a_pull_request_and_leaves_nothing(world: World, claude: Path) -> None:
    """As for a fork's pull request: its commit stands in the base repository under refs/pull alone."""
    bare = world.git.repositories.root / "acme/greetings.git"
    author = ("-c", "user.name=Eve", "-c", "user.email=eve@example.com")

    def git(*args: str) -> str:
        done = subprocess.run(["git", *author, *args], cwd=bare, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    head = git("commit-tree", "main^{tree}", "-p", "main", "-m", "from a fork")
    git("update-ref", "refs/pull/7/head", head)
    session = world.cluster.add_session(
        "review",
        requirements=script(Step(tools=(WRITE,)), Step(text=("Looked.",))),
        branch="refs/pull/7/head",
        readOnly=True,
    )
    pod = await start(world, claude, session)
    try:
        assert await pod.wait(60) == 0, pod.log
    finally:
        await pod.kill()
    record = await world.close_attempt(session)
    assert record["attempts"][0]["reported"]["summary"] == "Looked."
    assert "published" not in record
    assert list(world.branches()) == ["refs/heads/main", "refs/pull/7/head"]
    cloned = next(one for one in await world.journal(session) if one["type"] == "runner.cloned")
    assert head[:12] in cloned["data"]["message"]
