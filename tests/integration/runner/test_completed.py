"""The way it should go: the real CLI edits and commits, the branch arrives, everything is told."""

from __future__ import annotations

import json

import pytest

from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.session import PullRequest, SessionType
from claude_operator.wire.session import DependencyResult
from tests.integration.runner.conftest import KEY, USER, World, assignment, script
from tests.world import Step, ToolCall

pytestmark = pytest.mark.timeout(120)

EDIT = Step(
    text=("I add a file.",),
    tools=(
        ToolCall(name="Write", input={"file_path": "${CWD}/hello.txt", "content": "Hello\n"}),
        ToolCall(name="Bash", input={"command": "git add -A && git commit -qm 'Say hello' && mkdir -p out"}),
    ),
)
LEAVE = Step(
    tools=(
        ToolCall(name="Bash", input={"command": "echo later > left.txt; echo built > out/report.txt"}),
        ToolCall(name="Bash", input={"command": "ln -s /etc/passwd out/link.txt; echo secret > ignored.log"}),
    )
)
DONE = Step(text=("# Said hello\n\nAnd left a file behind.",))


async def test_commits_pushes_and_tells_everything(world: World) -> None:
    before = world.branches()["main"]
    gateway = await world.gateway(
        assignment(
            script(EDIT, LEAVE, DONE),
            artifacts=["out/**"],
            pull_request=PullRequest(draft=True),
            context="Background “with” $(quotes)",
            dependencies=[
                DependencyResult(
                    name="earlier",
                    type=SessionType.ANALYSIS,
                    phase=Phase.SUCCEEDED,
                    summary="The moon is made of cheese.",
                    branch="claude/earlier-12345",
                    commit="0123456789abcdef0123456789abcdef01234567",
                )
            ],
        )
    )
    pod = await world.pod(gateway)
    code = await pod.wait()

    assert (code, pod.termination.reason) == (0, Reason.COMPLETED), pod.log
    told = gateway.told
    branches = world.branches()
    assert branches["main"] == before
    assert world.read("claude/first-abcde", "hello.txt") == "Hello\n"
    assert world.read("claude/first-abcde", "left.txt") == "later\n"
    assert world.log("claude/first-abcde")[:2] == [
        "Claude <claude@git.example> Said hello",
        "Claude <claude@git.example> Say hello",
    ]
    [result] = told.results
    assert (result.reason, result.summary) == (Reason.COMPLETED, "# Said hello\n\nAnd left a file behind.")
    assert result.turns > 0
    [request] = told.pull_requests
    assert (request.title, request.base, request.draft) == ("Said hello", "main", True)
    assert told.artifacts == {"out/report.txt": b"built\n"}
    assert told.checkpoints[-1].bundle is not None

    assert [event.seq for event in told.events] == list(range(1, len(told.events) + 1))
    steps = [event.type for event in told.events if event.type.startswith("runner.")]
    assert steps[:2] == ["runner.claimed", "runner.cloned"]
    assert [
        step for step in steps if step not in {"runner.checkpoint", "runner.claimed", "runner.cloned"}
    ] == [
        "runner.published",
        "runner.pull_request",
        "runner.artifact",
        "runner.finished",
    ]
    assert told.of("runner.published")[0].data["commit"] == branches["claude/first-abcde"]
    assert len(told.of("cli.result")) == 1
    assert pod.ready

    first = json.dumps(next(iter(world.model.requests.since(0))).json(), ensure_ascii=False)
    for text in ("Background “with” $(quotes)", "The moon is made of cheese.", "claude/earlier-12345"):
        assert text in first
    assert gateway.tokens_seen == {"first-token"}
    assert KEY not in pod.log
    assert USER.token not in pod.log


async def test_the_log_is_for_people(world: World) -> None:
    gateway = await world.gateway(
        assignment(
            script(
                Step(
                    text=("Look\x1b[2J at \u202ethis",),
                    tools=(ToolCall(name="Bash", input={"command": "printf 'red \\033[31m text\\n'"}),),
                ),
                Step(text=("Done",)),
            )
        )
    )
    pod = await world.pod(gateway)
    assert await pod.wait() == 0, pod.log
    lines = [line[9:] for line in pod.log.splitlines()]
    assert "  Look\\x1b[2J at \\u202ethis" in lines
    assert "> Bash printf 'red \\033[31m text\\n'" in lines
    assert "< red \\x1b[31m text" in lines
    assert "* nothing_to_publish" not in pod.log
    assert "* no changes: nothing to publish" in lines
    assert "\x1b" not in pod.log
    assert "claude/first-abcde" not in world.branches()


async def test_an_egress_host_is_reached_through_the_gateway_alone(world: World) -> None:
    talk = (
        'exec 3<>"/dev/tcp/127.0.0.1/${HTTPS_PROXY##*:}"; '
        "printf 'CONNECT allowed.example:443 HTTP/1.1\\r\\n\\r\\n' >&3; "
        "read -r status <&3; read -r _ <&3; printf 'hi\\n' >&3; read -r back <&3; "
        'echo "$status $back $NO_PROXY"'
    )
    gateway = await world.gateway(
        assignment(
            script(Step(tools=(ToolCall(name="Bash", input={"command": talk}),)), Step(text=("Done",))),
            egress_hosts=["allowed.example"],
        )
    )
    pod = await world.pod(gateway)
    assert await pod.wait() == 0, pod.log
    assert "HTTP/1.1 200 Connection established" in pod.log
    assert "hi 127.0.0.1,localhost,::1" in pod.log
    [connect] = gateway.told.connects
    assert connect.startswith("CONNECT allowed.example:443 HTTP/1.1\r\n")
