"""The real Claude Code CLI accepts what the scripted model says, and does what it is told."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.world import (
    Delay,
    Drop,
    Error,
    GitServer,
    GitUser,
    ModelServer,
    Script,
    Step,
    ToolCall,
    Usage,
    inline,
    read_seeds,
)
from tests.world.claude_code import FETCH_TIMEOUT_SECONDS, ClaudeCodeUnavailableError, fetch
from tests.world.drive import Run, drive, environment
from tests.world.repositories import git_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pydantic import JsonValue

# The first test may have to fetch the CLI.
pytestmark = pytest.mark.timeout(FETCH_TIMEOUT_SECONDS + 300)

KEY = "sk-ant-test"
USER = GitUser(username="claude-bot", token="g-token")


@pytest.fixture(scope="session")
def claude() -> Path:
    try:
        return fetch()
    except ClaudeCodeUnavailableError as error:
        pytest.skip(f"the Claude Code CLI cannot be had: {error}")


@dataclass(frozen=True, slots=True)
class World:
    claude: Path
    model: ModelServer
    git: GitServer
    folder: Path

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    async def run(self, prompt: str, *arguments: str, max_retries: int = 2) -> Run:
        env = environment(
            model_url=self.model.url, key=KEY, folder=self.folder / "home", max_retries=max_retries
        )
        return await drive(self.claude, prompt, cwd=self.clone, env=env, arguments=arguments)

    async def in_clone(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=self.clone, env=git_environment(), stdout=asyncio.subprocess.PIPE
        )
        stdout, _ = await process.communicate()
        assert process.returncode == 0
        return stdout.decode()


@asynccontextmanager
async def world(claude: Path, folder: Path) -> AsyncIterator[World]:
    async with ModelServer(keys=[KEY]) as model, GitServer(root=folder / "repositories", users=[USER]) as git:
        git.repositories.create("acme/greetings", read_seeds()["acme/greetings"])
        one = World(claude=claude, model=model, git=git, folder=folder)
        one.clone.mkdir()
        account = f"://{USER.username}:{USER.token}@"
        await one.in_clone("clone", "-q", git.url.replace("://", account) + "/acme/greetings.git", ".")
        yield one


def bash(command: str) -> ToolCall:
    return ToolCall(name="Bash", input={"command": command})


def tokens(run: Run) -> dict[str, JsonValue]:
    usage = run.result["usage"]
    assert isinstance(usage, dict)
    return {name: usage[name] for name in sorted(usage) if name.endswith("_tokens")}


def answered(one: World) -> list[tuple[str, JsonValue, str]]:
    return [
        (str(record.details.get("script")), record.details.get("step"), record.outcome)
        for record in one.model.requests.since()
    ]


async def test_the_first_session_reads_edits_tests_commits_and_sums_up(claude: Path, tmp_path: Path) -> None:
    async with world(claude, tmp_path) as one:
        base = one.git.repositories.branches("acme/greetings")["main"]
        run = await one.run(
            "Greet the world when there is no name, and in German. [[scenario:first-session]]"
        )
        assert run.returncode == 0, run.stderr
        assert run.result["is_error"] is False
        assert "speaks German" in str(run.result["result"])
        assert run.result["permission_denials"] == []
        assert answered(one) == [("first-session", step, "answered") for step in range(8)]

        # What the model sent is what the CLI counted, to the token.
        sent = one.model.totals.scripts["first-session"]
        assert tokens(run) == {
            "cache_creation_input_tokens": 13101,
            "cache_read_input_tokens": 77537,
            "input_tokens": 454,
            "output_tokens": 1736,
        }
        assert {name: sent[name] for name in tokens(run)} == tokens(run)
        (session,) = one.model.totals.sessions
        assert session == run.result["session_id"]

        # The tests failed before the edit and pass after it.
        results = [
            str(block["content"])
            for event in run.events
            if event["type"] == "user"
            for block in _content(event)
            if "test_without_a_name" in str(block.get("content")) and "Ran " in str(block.get("content"))
        ]
        assert ["FAILED" in text for text in results] == [True, False]
        assert results[1].endswith("OK")

        # One commit on top of the base, pushed: nothing else is left or changed.
        assert (await one.in_clone("rev-list", f"{base}..HEAD")).count("\n") == 1
        assert await one.in_clone("status", "--porcelain") == ""
        await one.in_clone("push", "-q", "origin", "HEAD:claude/first")
        greetings = one.git.repositories.read("acme/greetings", "claude/first", "greetings.py")
        assert '"de": ("Hallo", "Welt")' in greetings
        assert one.git.repositories.branches("acme/greetings")["main"] == base


def _content(event: dict[str, JsonValue]) -> list[dict[str, JsonValue]]:
    message = event["message"]
    assert isinstance(message, dict)
    content = message["content"]
    assert isinstance(content, list)
    return [block for block in content if isinstance(block, dict)]


async def test_an_inline_script_with_text_around_it(claude: Path, tmp_path: Path) -> None:
    script = Script(
        id="inline",
        usage=Usage(input_tokens=11, output_tokens=7),
        steps=(
            Step(
                tools=(ToolCall(name="Write", input={"file_path": "${CWD}/ü ]].txt", "content": "[[ok]]\n"}),)
            ),
            Step(tools=(bash("cat ./*.txt; echo ${HOME:+home}"),)),
            Step(text=("It says: ${LAST_TOOL_RESULT}",)),
        ),
    )
    async with world(claude, tmp_path) as one:
        run = await one.run(f'Do it, with "quotes" and $(substitution):\n\n{inline(script)}\n\nThank you. 🎉')
        assert run.result["result"] == "It says: [[ok]]\nhome"
        assert (one.clone / "ü ]].txt").read_text() == "[[ok]]\n"
        assert tokens(run)["input_tokens"] == 33
        assert tokens(run)["output_tokens"] == 21


async def test_an_overloaded_model_answers_after_two_retries(claude: Path, tmp_path: Path) -> None:
    script = Script(steps=(Step(text=("at last",), error=Error(status=529, times=2)),))
    async with world(claude, tmp_path) as one:
        run = await one.run(inline(script))
        assert (run.returncode, run.result["result"]) == (0, "at last")
        retries = [event for event in run.events if event.get("subtype") == "api_retry"]
        assert [event["error_status"] for event in retries] == [529, 529]
        assert [outcome for _, _, outcome in answered(one)] == ["refused", "refused", "answered"]


async def test_a_model_that_stays_overloaded_fails_the_run(claude: Path, tmp_path: Path) -> None:
    async with world(claude, tmp_path) as one:
        run = await one.run(inline(Script(steps=(Step(error=Error(status=529)),))), max_retries=1)
        assert (run.returncode, run.result["is_error"]) == (1, True)
        assert run.result["api_error_status"] == 529
        assert [outcome for _, _, outcome in answered(one)] == ["refused", "refused"]


async def test_an_unknown_scenario_ends_the_run_at_once_and_says_why(claude: Path, tmp_path: Path) -> None:
    async with world(claude, tmp_path) as one:
        run = await one.run("[[scenario:nonesuch]]")
        assert (run.returncode, run.result["api_error_status"]) == (1, 400)
        assert "there is no scenario 'nonesuch'" in str(run.result["result"])
        # The CLI repeats a request that was called invalid, at once, with fewer beta features,
        # but does not wait and retry.
        assert [event for event in run.events if event.get("subtype") == "api_retry"] == []
        assert {outcome for _, _, outcome in answered(one)} == {"refused"}


async def test_a_dropped_stream_is_repeated_and_nothing_is_done_twice(claude: Path, tmp_path: Path) -> None:
    # Slow enough that a whole block has arrived when the stream is cut: the CLI keeps it and
    # asks the model to resume. Of the second stream nothing survives.
    slow = Delay(between=0.1)
    script = Script(
        id="dropped",
        steps=(
            Step(
                text=("Let me see.",),
                tools=(bash("echo once >> log"),),
                delay=slow,
                drop=Drop(after_events=6, times=1),
            ),
            Step(text=("Done: ${LAST_TOOL_RESULT}",), drop=Drop(after_events=3, times=1)),
        ),
    )
    async with world(claude, tmp_path) as one:
        run = await one.run(inline(script))
        assert run.returncode == 0, run.result
        assert (one.clone / "log").read_text() == "once\n"
        outcomes = [(step, outcome) for _, step, outcome in answered(one)]
        assert outcomes == [(0, "dropped"), (0, "answered"), (1, "dropped"), (1, "answered")]
        resumed = str(list(one.model.requests.since())[1].parsed())
        assert "Your response above was cut off mid-stream." in resumed


async def test_a_resumed_session_goes_on_with_the_next_step(claude: Path, tmp_path: Path) -> None:
    script = Script(
        id="long", steps=(Step(text=("one",)), Step(tools=(bash("echo two"),)), Step(text=("three",)))
    )
    session = str(uuid.uuid4())
    async with world(claude, tmp_path) as one:
        first = await one.run(inline(script), "--session-id", session)
        assert first.result["result"] == "one"
        second = await one.run("Go on.", "--resume", session)
        assert second.result["result"] == "three"
        assert answered(one) == [("long", step, "answered") for step in range(3)]


async def test_sub_agents_and_parallel_runs_play_their_own_scripts(claude: Path, tmp_path: Path) -> None:
    async with world(claude, tmp_path) as one:

        async def run(number: int) -> None:
            script = Script(
                id=f"parallel-{number}",
                steps=(Step(tools=(bash(f"echo {number}"),)), Step(text=("${LAST_TOOL_RESULT}",))),
            )
            ended = await one.run(inline(script))
            assert ended.result["result"] == str(number)

        await asyncio.gather(*(run(number) for number in range(3)))
        inner = inline(
            Script(id="inner", steps=(Step(tools=(bash("echo deep"),)), Step(text=("from within",))))
        )
        agent = ToolCall(
            name="Agent", input={"description": "Look", "prompt": inner, "subagent_type": "general-purpose"}
        )
        outer = Script(id="outer", steps=(Step(tools=(agent,)), Step(text=("${LAST_TOOL_RESULT}",))))
        ended = await one.run(inline(outer), "--tools", "Bash,Agent", "--allowedTools", "Bash,Agent")
        assert "from within" in str(ended.result["result"])
        assert answered(one)[-4:] == [
            ("outer", 0, "answered"),
            ("inner", 0, "answered"),
            ("inner", 1, "answered"),
            ("outer", 1, "answered"),
        ]
