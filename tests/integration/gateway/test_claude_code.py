"""The real CLI through the gateway: the allow-list is pinned to what it sends; repeat it on each bump."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.world.claude_code import FETCH_TIMEOUT_SECONDS, ClaudeCodeUnavailableError, fetch
from tests.world.drive import drive, environment
from tests.world.markers import inline
from tests.world.script import Script, Step, ToolCall, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.gateway.cluster import Pod
    from tests.integration.gateway.conftest import World

# The first test may have to fetch the CLI.
pytestmark = pytest.mark.timeout(FETCH_TIMEOUT_SECONDS + 300)


@pytest.fixture(scope="session")
def claude() -> Path:
    try:
        return fetch()
    except ClaudeCodeUnavailableError as error:
        pytest.skip(f"the Claude Code CLI cannot be had: {error}")


def environment_of(world: World, pod: Pod) -> dict[str, str]:
    assert world.gateway.authority is not None
    authority = world.folder / "gateway-ca.crt"
    authority.write_text(world.gateway.authority.pem)
    env = environment(
        model_url=f"https://localhost:{world.gateway.ports.session}", key="", folder=world.folder / "home"
    )
    del env["ANTHROPIC_API_KEY"]
    # A pod's runner puts the token in; here the CLI sends it by itself.
    return {**env, "ANTHROPIC_AUTH_TOKEN": pod.token(), "NODE_EXTRA_CA_CERTS": str(authority)}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--tools", "default"),
        ("--effort", "high"),
        ("--json-schema", '{"type":"object","properties":{"a":{"type":"string"}}}'),
        ("--tools", "Bash,WebFetch,WebSearch"),
        ("--tools", "Bash,Agent"),
        ("--task-budget", "20000"),
        ("--thinking", "enabled", "--max-thinking-tokens", "2000"),
        ("--model", "claude-opus-5-5"),
    ],
    ids=lambda arguments: " ".join(arguments) or "as the runner starts it",
)
async def test_what_the_cli_sends_is_let_through_and_metered(
    world: World, claude: Path, arguments: tuple[str, ...]
) -> None:
    session, pod, _ = await world.claimed()
    usage = Usage(input_tokens=11, output_tokens=7, cache_read_input_tokens=3, cache_creation_input_tokens=5)
    call = ToolCall(name="Bash", input={"command": "echo hello", "description": "greet"})
    script = Script(usage=usage, steps=(Step(text=("Let me see.",), tools=(call,)), Step(text=("Done.",))))
    (world.folder / "work").mkdir()

    run = await drive(
        claude,
        f"Please. {inline(script)}",
        cwd=world.folder / "work",
        env=environment_of(world, pod),
        arguments=arguments,
    )

    assert run.returncode == 0, run.result
    refused = [one for one in await world.journal(session) if one["type"] == "gateway.model_refused"]
    assert not refused
    spent = (await world.record(session))["usage"]
    totals = world.model.totals.total
    assert spent["turns"] == totals["answered"] >= 2
    for ours, theirs in (
        ("inputTokens", "input_tokens"),
        ("outputTokens", "output_tokens"),
        ("cacheReadInputTokens", "cache_read_input_tokens"),
        ("cacheCreationInputTokens", "cache_creation_input_tokens"),
    ):
        assert spent[ours] == totals[theirs]
    # The CLI computes with the same list prices.
    assert spent["costUSD"] == pytest.approx(run.result["total_cost_usd"], abs=1e-6)


async def test_a_wrong_key_ends_the_run_in_seconds(world: World, claude: Path) -> None:
    session, pod, _ = await world.claimed()
    world.model.keys = frozenset({"another"})
    (world.folder / "work").mkdir()

    run = await drive(claude, "Hello.", cwd=world.folder / "work", env=environment_of(world, pod))

    assert run.result["is_error"]
    assert run.result["api_error_status"] == 403
    duration = run.result["duration_ms"]
    assert isinstance(duration, int)
    assert duration < 10_000
    await world.verdict(session, lambda verdict: verdict == "ModelAuthFailed")
