"""The command line and the environment, whole: every word of them was measured."""

from __future__ import annotations

import json
from pathlib import Path

from claude_operator.resources.session import McpServer
from claude_operator.runner import cli
from tests.unit.runner.test_prompt import assignment

GOLDEN = Path(__file__).with_name("cli.json")


def built() -> dict[str, object]:
    full = assignment(
        model="claude-sonnet-5-5",
        tools=["Bash", "Read"],
        max_turns=7,
        max_cost_usd=1.5,
        system_prompt="Be brief.",
        output_schema='{"type": "object"}',
        mcp_servers=[
            McpServer(name="files", command="mcp-files", args=["--root", "."], env={"A": "b"}),
            McpServer(name="docs", url="https://docs.example/mcp"),
        ],
    )
    files = cli.Files(
        settings=Path("/h/.runner/settings.json"),
        mcp_config=Path("/h/.runner/mcp.json"),
        system_prompt=Path("/h/.runner/system-prompt.md"),
    )
    least = cli.Files(settings=Path("/h/.runner/settings.json"), mcp_config=None, system_prompt=None)
    inherited = {
        "PATH": "/usr/bin",
        "JAVA_HOME": "/opt/java",
        "TMPDIR": "/t",
        "CLAUDE_GATEWAY_URL": "https://gateway",
        "CLAUDE_GATEWAY_CA": "PEM",
        "CLAUDE_RUNNER_HOME": "/h",
        "ANTHROPIC_API_KEY": "a real one by mistake",
        "CLAUDE_CODE_USE_BEDROCK": "1",
    }

    def environment(proxy: str | None) -> dict[str, str]:
        return cli.environment(
            inherited,
            home=Path("/h"),
            config=Path("/h/.claude"),
            git_config=Path("/h/.runner/gitconfig"),
            endpoints=cli.Endpoints(forwarder="http://127.0.0.1:1", proxy=proxy),
        )

    return {
        "full": cli.arguments(full, files, resume=True),
        "least": cli.arguments(assignment(), least, resume=False),
        "environment": environment("http://127.0.0.1:2"),
        "environment without egress": environment(None),
        "settings": cli.settings("http://127.0.0.1:1"),
        "mcp": cli.mcp_config(full),
        "system prompt": cli.system_prompt(full, "Use tabs.\n"),
    }


def test_as_written_down() -> None:
    assert built() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_repositorys_memory_is_read_only_from_a_plain_file_inside(tmp_path: Path) -> None:
    assert cli.read_memory(tmp_path) is None
    secret = tmp_path.parent / "secret"
    secret.write_text("secret")
    (tmp_path / "CLAUDE.md").symlink_to(secret)
    assert cli.read_memory(tmp_path) is None
    (tmp_path / "CLAUDE.md").unlink()
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "CLAUDE.md").write_text("tabs")
    assert cli.read_memory(tmp_path) == "tabs"
    (tmp_path / "CLAUDE.md").write_bytes(b"x" * (1 << 20) + b"\xff")
    assert cli.read_memory(tmp_path) == "x" * cli.MAX_MEMORY_FILE_BYTES


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(built(), indent=2) + "\n", encoding="utf-8")
