"""Ends that nobody wanted: each with its own reason, in seconds, and a text to act on."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time

import pytest

from claude_operator.resources.lifecycle import Reason
from tests.integration.runner.conftest import USER, World, assignment, script
from tests.integration.runner.stand_in import refuse
from tests.world import Delay, Error, GitFault, GitUser, Step, ToolCall, read_seeds

pytestmark = pytest.mark.timeout(120)

TALK = script(Step(text=("Done",)))
WRITE = ToolCall(name="Bash", input={"command": "echo x > x.txt; git add -A; git commit -qm x"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_branch": "devel"}, "has no branch 'devel': correct spec.branch (the default is 'main')"),
        ({"repository": "acme/blank"}, "is empty or has no default branch: push a first commit"),
        ({"repository": "acme/blank", "base_branch": "main"}, "is it empty?"),
        ({"repository": "acme/unknown"}, "not found"),
    ],
)
async def test_what_cannot_be_cloned_is_said(world: World, changes: dict[str, str], said: str) -> None:
    world.git.repositories.create("acme/blank")
    repository = changes.pop("repository", "acme/greetings")
    gateway = await world.gateway(
        assignment(
            TALK,
            repository_path=repository,
            repository_url=f"https://git.example/{repository}",
            **changes,
        )
    )
    started = time.monotonic()
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert time.monotonic() - started < 10
    assert pod.termination.reason is Reason.CLONE_FAILED
    assert said in pod.termination.message
    assert gateway.told.results[0].reason is Reason.CLONE_FAILED
    assert not pod.ready
    assert list(world.model.requests.since(0)) == []


async def test_a_branch_of_somebody_else_is_seen_before_anything_is_spent(world: World) -> None:
    seed = read_seeds()["acme/greetings"].model_copy(update={"branches": {"claude/first-abcde": 1}})
    world.git.repositories.create("acme/taken", seed)
    gateway = await world.gateway(
        assignment(TALK, repository_path="acme/taken", repository_url="https://git.example/acme/taken")
    )
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.PUBLISH_REJECTED
    assert "choose another publish.branch" in pod.termination.message
    assert list(world.model.requests.since(0)) == []


async def test_a_branch_that_somebody_takes_in_the_meantime_is_left_alone(world: World) -> None:
    hold = Step(tools=(WRITE,), delay=Delay(before=1))
    gateway = await world.gateway(assignment(script(hold, Step(text=("Done",)))))
    pod = await world.pod(gateway)
    await gateway.until(lambda told: bool(told.of("runner.cloned")))
    tree = world.git.repositories.git("acme/greetings", "rev-parse", "main^{tree}").strip()
    foreign = world.git.repositories.git(
        "acme/greetings",
        *("-c", "user.name=Eve", "-c", "user.email=eve@example.com"),
        *("commit-tree", "-p", "main", "-m", "mine", tree),
    ).strip()
    world.git.repositories.git("acme/greetings", "update-ref", "refs/heads/claude/first-abcde", foreign)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.PUBLISH_REJECTED, pod.log
    assert world.branches()["claude/first-abcde"] == foreign
    assert gateway.told.pull_requests == []


async def test_the_git_hosts_own_words_reach_the_reason(world: World) -> None:
    world.git.faults = [GitFault(service="git-receive-pack", reject="no pushes on Sundays")]
    gateway = await world.gateway(assignment(script(Step(tools=(WRITE,)), Step(text=("Done",)))))
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.PUBLISH_REJECTED
    assert "no pushes on Sundays" in pod.termination.message


async def test_a_wrong_key_ends_in_seconds(world: World) -> None:
    world.model.keys = frozenset({"another"})
    gateway = await world.gateway(assignment(TALK))
    started = time.monotonic()
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert time.monotonic() - started < 10
    assert pod.termination.reason is Reason.MODEL_AUTH_FAILED


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.MODEL_REFUSED),
        (403, Reason.MODEL_AUTH_FAILED),
        (529, Reason.MODEL_OVERLOADED),
        (429, Reason.MODEL_OVERLOADED),
        (500, Reason.MODEL_OVERLOADED),
    ],
)
async def test_what_the_models_api_answers_has_its_reason(world: World, status: int, reason: Reason) -> None:
    failing = Step(text=("never",), error=Error(status=status, message="as scripted"))
    gateway = await world.gateway(assignment(script(failing)))
    started = time.monotonic()
    pod = await world.pod(gateway)
    assert await pod.wait(40) == 1
    assert pod.termination.reason is reason, pod.log
    assert "as scripted" in pod.termination.message or status == 529
    assert time.monotonic() - started < 30


async def test_the_gateways_own_word_on_a_refusal_stands(world: World) -> None:
    gateway = await world.gateway(assignment(TALK))
    gateway.model_refusal = (403, "BudgetExceeded", "the cap of 2.00 USD is reached")
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.BUDGET_EXCEEDED, pod.log
    assert pod.termination.message == "the cap of 2.00 USD is reached"


async def test_limits_of_turns_and_cost_are_told_apart(world: World) -> None:
    call = Step(tools=(ToolCall(name="Bash", input={"command": "true"}),))
    work = Step(tools=(WRITE,))
    gateway = await world.gateway(assignment(script(work, call, call, call), max_turns=2))
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.MAX_TURNS, pod.log
    # Half of a work is kept for the next attempt, not published.
    assert gateway.told.checkpoints[-1].bundle is not None
    assert "claude/first-abcde" not in world.branches()
    gateway = await world.gateway(assignment(script(call, call, call, call), max_cost_usd=0.0001))
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.BUDGET_EXCEEDED, pod.log


@pytest.mark.parametrize("word", ["ClaimRefused", "Cancelled"])
async def test_a_refused_claim_is_final(world: World, word: str) -> None:
    gateway = await world.gateway(assignment(TALK))
    gateway.refusal = refuse(409, word, "attempt 2 has been closed")
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert (pod.termination.reason, pod.termination.message) == (word, "attempt 2 has been closed")
    assert gateway.told.claims == 1
    assert gateway.told.results == []


async def test_a_gateway_that_is_away_from_the_start_is_named(world: World) -> None:
    gateway = await world.gateway(assignment(TALK))
    await gateway.stop()
    started = time.monotonic()
    pod = await world.pod(gateway, {"CLAUDE_RUNNER_PATIENCE_SECONDS": "2"})
    assert await pod.wait(30) == 1
    assert time.monotonic() - started < 10
    assert pod.termination.reason is Reason.GATEWAY_UNAVAILABLE


async def test_a_gateway_that_restarts_in_the_middle_is_waited_for(world: World) -> None:
    first = Step(tools=(WRITE,), delay=Delay(before=1.5))
    gateway = await world.gateway(assignment(script(first, Step(text=("Done",)))))
    pod = await world.pod(gateway)
    await gateway.until(lambda told: bool(told.of("cli.system")))
    await gateway.stop()  # in the middle of the model's answer
    await asyncio.sleep(2)
    await gateway.start()
    pod.rotate_token("second-token")
    gateway.token = "second-token"
    assert await pod.wait(60) == 0, pod.log
    assert gateway.told.results[0].reason is Reason.COMPLETED
    assert world.read("claude/first-abcde", "x.txt") == "x\n"
    assert [event.seq for event in gateway.told.events] == list(range(1, len(gateway.told.events) + 1))
    assert gateway.tokens_seen == {"first-token", "second-token"}


async def test_a_gateway_that_stays_away_ends_the_run(world: World) -> None:
    first = Step(tools=(WRITE,), delay=Delay(before=1))
    gateway = await world.gateway(assignment(script(first, Step(text=("Done",)))))
    pod = await world.pod(gateway, {"CLAUDE_RUNNER_PATIENCE_SECONDS": "3"})
    await gateway.until(lambda told: bool(told.of("cli.system")))
    await gateway.stop()
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.GATEWAY_UNAVAILABLE, pod.log


async def test_a_line_of_six_megabytes_passes(world: World) -> None:
    grow = "touch -r big.txt stamp; head -c 3000000 /dev/zero | tr '\\0' x > big.txt; touch -r stamp big.txt"
    steps = (
        ToolCall(name="Write", input={"file_path": "${CWD}/big.txt", "content": "small\n"}),
        ToolCall(name="Bash", input={"command": grow}),
        ToolCall(name="Write", input={"file_path": "${CWD}/big.txt", "content": "small again\n"}),
    )
    gateway = await world.gateway(
        assignment(script(*(Step(tools=(one,)) for one in steps), Step(text=("Done",))))
    )
    pod = await world.pod(gateway)
    assert await pod.wait(60) == 0, pod.log
    left_out = [
        int(count)
        for event in gateway.told.events
        for count in re.findall(r"(\d+) characters left out", event.model_dump_json())
    ]
    # The file as it was is in the line twice: whole, and as what the change removed.
    assert len(left_out) == 2
    assert min(left_out) > 2_900_000
    assert all(len(event.model_dump_json()) <= 256 << 10 for event in gateway.told.events)
    assert world.read("claude/first-abcde", "big.txt") == "small again\n"


async def test_no_push_right_is_a_rejection(world: World) -> None:
    world.git.users = (GitUser(username=USER.username, token=USER.token, write=()),)
    gateway = await world.gateway(assignment(script(Step(tools=(WRITE,)), Step(text=("Done",)))))
    pod = await world.pod(gateway)
    assert await pod.wait(30) == 1
    assert pod.termination.reason is Reason.PUBLISH_REJECTED


async def test_as_root_it_refuses_with_the_remedy(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    gateway = await world.gateway(assignment(TALK))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "claude_operator", "runner"),
        env={
            "PATH": os.environ["PATH"],
            "CLAUDE_GATEWAY_URL": gateway.url,
            "CLAUDE_GATEWAY_PROXY": gateway.proxy,
            "CLAUDE_GATEWAY_CA": world.certificate.ca,
            "CLAUDE_RUNNER_HOME": str(world.folder),
            "CLAUDE_RUNNER_TERMINATION_LOG": str(world.folder / "termination"),
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 1
    assert "runAsNonRoot" in (world.folder / "termination").read_text()
    assert gateway.told.claims == 0
