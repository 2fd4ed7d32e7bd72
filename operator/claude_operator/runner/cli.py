"""The CLI's command line, its environment and the files that both name. Pure but for `write`.

The repository is somebody's code and its configuration is code too: with the default setting sources a
cloned `.claude/settings.json` ran hooks and helpers before the first model call and could send every
request elsewhere. So no source is read at all; what is wanted of the repository, its CLAUDE.md, is
handed over as text.

Permissions are bypassed: the pod is the sandbox, and what it may reach is decided outside of it
(gateway, network policy). An allow-list of commands inside would stop honest work (a build tool that
nobody listed) and no attacker. The CLI refuses this as root, and so does `run`; IS_SANDBOX=1 would
change its mind, but also its retries of an overloaded model (3 s to 3 minutes).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_operator.runner.settings import ENV_PREFIX
from claude_operator.wire.session import ENV_GATEWAY_CA, ENV_GATEWAY_PROXY, ENV_GATEWAY_URL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from claude_operator.wire.session import Assignment

DEFAULT_TOOLS = ("Bash", "Read", "Edit", "Write", "Grep", "Glob")
"""What a job needs; the CLI's own default of 22 has schedulers, monitors and web tools among them."""
MAX_RETRIES = 4
"""Of one request to the model: 0.5 to 4 s apart. What lasts longer is the next attempt's business."""
MAX_MEMORY_FILE_BYTES = 256 << 10
DUMMY_KEY = "held-by-the-gateway"
"""The CLI insists on a key; the forwarder drops it."""

_LOOPBACK = "127.0.0.1,localhost,::1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where the files that the command line names lie; None: there is none of the kind."""

    settings: Path
    mcp_config: Path | None
    system_prompt: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What the CLI and its tools reach the world by."""

    forwarder: str
    proxy: str | None
    """None: no host is allowed, so no proxy is named."""


def arguments(assignment: Assignment, files: Files, *, resume: bool) -> list[str]:
    """The CLI's arguments, without the program."""
    found = [
        "-p",
        *("--input-format", "stream-json"),
        *("--output-format", "stream-json"),
        "--verbose",
        *("--model", assignment.model),
        # A second --session-id of the same value is an error, so it is one or the other.
        *("--resume" if resume else "--session-id", assignment.claude_session_id),
        *("--permission-mode", "bypassPermissions"),
        *("--setting-sources", ""),
        *("--settings", str(files.settings)),
        "--strict-mcp-config",
        *("--tools", ",".join(assignment.tools or DEFAULT_TOOLS)),
    ]
    if files.mcp_config is not None:
        found += ["--mcp-config", str(files.mcp_config)]
    if files.system_prompt is not None:
        found += ["--append-system-prompt-file", str(files.system_prompt)]
    if assignment.output_schema is not None:
        found += ["--json-schema", assignment.output_schema]
    if assignment.max_turns is not None:
        found += ["--max-turns", str(assignment.max_turns)]
    if assignment.max_cost_usd is not None:
        found += ["--max-budget-usd", f"{assignment.max_cost_usd:.6f}"]
    return found


def environment(
    inherited: Mapping[str, str],
    *,
    home: Path,
    config: Path,
    git_config: Path,
    endpoints: Endpoints,
) -> dict[str, str]:
    """The CLI's environment: the image's own, without ours, plus what steers the CLI and git."""
    found = {name: value for name, value in inherited.items() if not _ours(name)}
    found |= {
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(config),
        "CLAUDE_CODE_TMPDIR": inherited.get("TMPDIR", "/tmp"),  # noqa: S108 - an emptyDir of the pod
        "ANTHROPIC_BASE_URL": endpoints.forwarder,
        "ANTHROPIC_API_KEY": DUMMY_KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        # A background command would keep the CLI alive for hours after its result.
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(MAX_RETRIES),
        # A start that fails then says why on stdout too.
        "CLAUDE_CODE_STARTUP_FAILURE_RESULTS": "1",
        "GIT_CONFIG_GLOBAL": str(git_config),
        "GIT_TERMINAL_PROMPT": "0",
    }
    if endpoints.proxy is not None:
        for name in ("HTTPS_PROXY", "https_proxy"):
            found[name] = endpoints.proxy
        for name in ("NO_PROXY", "no_proxy"):
            found[name] = _LOOPBACK
    return found


def settings(forwarder: str) -> dict[str, Any]:
    """What `--settings` says: it outranks every source, should a version read one all the same."""
    return {
        # No advertising trailer in commits: whose work it is, is the configured author's to say.
        "attribution": {"commit": "", "pr": ""},
        "disableAllHooks": True,
        "env": {"ANTHROPIC_BASE_URL": forwarder},
    }


def mcp_config(assignment: Assignment) -> dict[str, Any]:
    """The session's MCP servers, as `--mcp-config` wants them."""
    servers: dict[str, Any] = {}
    for server in assignment.mcp_servers:
        if server.url is not None:
            servers[server.name] = {"type": "http", "url": server.url}
        else:
            servers[server.name] = {"command": server.command, "args": server.args, "env": server.env}
    return {"mcpServers": servers}


def system_prompt(assignment: Assignment, memory: str | None) -> str:
    """What is appended to the CLI's own system prompt; empty: nothing."""
    parts = [assignment.system_prompt or ""]
    if memory:
        parts.append(f"The repository's CLAUDE.md says:\n\n{memory}")
    return "\n\n".join(part for part in parts if part)


def read_memory(workspace: Path) -> str | None:
    """The repository's CLAUDE.md, if it is a plain file inside of it and not absurdly long."""
    for name in ("CLAUDE.md", ".claude/CLAUDE.md"):
        path = workspace / name
        # A link could point at anything in the pod and would carry it into the conversation.
        if path.is_file() and path.resolve() == workspace.resolve() / name:
            with path.open("rb") as file:
                return file.read(MAX_MEMORY_FILE_BYTES).decode("utf-8", "replace")
    return None


def write(assignment: Assignment, *, state: Path, workspace: Path, forwarder: str) -> Files:
    """Write the files that `arguments` will name into `state`."""
    chosen = state / "settings.json"
    chosen.write_text(json.dumps(settings(forwarder)), encoding="utf-8")
    servers: Path | None = None
    if assignment.mcp_servers:
        servers = state / "mcp.json"
        servers.write_text(json.dumps(mcp_config(assignment)), encoding="utf-8")
    prompt: Path | None = None
    if text := system_prompt(assignment, read_memory(workspace)):
        prompt = state / "system-prompt.md"
        prompt.write_text(text, encoding="utf-8")
    return Files(settings=chosen, mcp_config=servers, system_prompt=prompt)


def _ours(name: str) -> bool:
    return name in {ENV_GATEWAY_URL, ENV_GATEWAY_PROXY, ENV_GATEWAY_CA} or name.startswith(
        (ENV_PREFIX, "CLAUDE_CODE_", "ANTHROPIC_")
    )
