"""What may go to the model's API: an allow-list, pinned to what Claude Code 2.1.330 sends. Pure.

A deny-list would open with every new feature of the API, and several of them carry data out from the
provider's side (web search and fetch, code execution, MCP connectors, URL sources). So the request is
parsed and everything in it must be known: fields, message roles, block types, sources, tool types, beta
values. It is sent on as it was parsed, not as it was written: doubled keys cannot mean two things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_FIELDS: Final = frozenset(
    {
        "model",
        "max_tokens",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "stream",
        "thinking",
        "output_config",
        "context_management",
        "metadata",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
    }
)
_OPT_IN_FIELDS: Final = frozenset({"mcp_servers", "container"})
_BETAS: Final = frozenset(
    {
        # Seen on the wire.
        "claude-code-20250219",
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "per-turn-control-2026-07-01",
        "mid-conversation-tool-changes-2026-07-01",
        "thinking-token-count-2026-05-13",
        "advanced-tool-use-2025-11-20",
        "effort-2025-11-24",
        "thinking-display-updates-2026-08-18",
        "task-budgets-2026-03-13",
        # Named in the program; they change the shape of what is said, not where it goes.
        "mid-conversation-system-2026-04-07",
        "mid-conversation-system-clear-at-2026-08-21",
        "context-1m-2025-08-07",
        "extended-cache-ttl-2025-04-11",
        "fine-grained-tool-streaming-2025-05-14",
        "prompt-caching-scope-2026-01-05",
        "redact-thinking-2026-02-12",
        "structured-outputs-2025-12-15",
        "token-counting-2024-11-01",
        "claude-code-side-query-2026-09-29",
    }
)
_OPT_IN_BETAS: Final = frozenset(
    {
        "web-search-2025-03-05",
        "web-search-results-only-2026-11-15",
        "mcp-servers-2025-12-04",
        "tool-search-tool-2025-10-19",
        "code-execution-2025-08-25",
        "web-fetch-2025-09-10",
    }
)
_CLIENT_TOOLS: Final = frozenset({"custom", "bash_20250124", "text_editor_20250728", "memory_20250818"})
"""Tools that run where the request comes from. (2.1.330 sends all of its own without a type.)"""
_BLOCKS: Final = frozenset(
    {
        "text",
        "image",
        "document",
        "search_result",
        "tool_use",
        "tool_result",
        "tool_reference",
        "tool_addition",
        "tool_removal",
        "thinking",
        "redacted_thinking",
        "compaction",
    }
)
_ROLES: Final = frozenset({"user", "assistant", "system"})
_SOURCES: Final = frozenset({"base64", "text", "content"})
_MOST_DEPTH: Final = 8
_MOST_FAULTS: Final = 10


@dataclass(frozen=True, slots=True)
class Policy:
    """What one project allows."""

    models: frozenset[str]
    server_tools: bool = False


def faults(body: dict[str, Any], betas: Collection[str], policy: Policy) -> list[str]:
    """What in a request is not allowed, each with its place and the remedy; at most ten."""
    found: list[str] = []
    for fault in _faults(body, betas, policy):
        found.append(fault)
        if len(found) >= _MOST_FAULTS:
            break
    return found


def _faults(body: dict[str, Any], betas: Collection[str], policy: Policy) -> Iterator[str]:
    model = body.get("model")
    if not _one_of(model, policy.models):
        yield (
            f"model: {model!r} is not allowed in this project (allowed: {', '.join(sorted(policy.models))}); "
            "add it to the ClaudeProject's model.allowed"
        )
    fields = _FIELDS | _OPT_IN_FIELDS if policy.server_tools else _FIELDS
    for name in body:
        if name in _OPT_IN_FIELDS and not policy.server_tools:
            yield f"{name}: runs at the provider; the ClaudeProject's model.serverTools does not allow it"
        elif name not in fields:
            yield f"{name}: not a field that the pinned Claude Code sends"
    for beta in betas:
        if beta in _OPT_IN_BETAS and not policy.server_tools:
            yield f"anthropic-beta: {beta} needs the ClaudeProject's model.serverTools"
        elif beta not in _BETAS | _OPT_IN_BETAS:
            yield f"anthropic-beta: {beta[:100]} is not a value that the pinned Claude Code sends"
    yield from _content("system", body.get("system", ""), policy, 0)
    yield from _tools(body.get("tools"), policy)
    yield from _messages(body.get("messages"), policy)


def _one_of(value: object, known: Collection[str]) -> bool:
    # A list or an object stands where a word should: not hashable, and not known.
    return isinstance(value, str) and value in known


def _tools(tools: object, policy: Policy) -> Iterator[str]:
    if tools is None:
        return
    if not isinstance(tools, list):
        yield "tools: must be a list"
        return
    for index, tool in enumerate(tools):
        yield from _tool(f"tools.{index}", tool, policy)


def _tool(where: str, tool: object, policy: Policy) -> Iterator[str]:
    if not isinstance(tool, dict):
        yield f"{where}: must be an object"
        return
    kind = tool.get("type", "custom")
    if _one_of(kind, _CLIENT_TOOLS) or kind == "tool_reference" or policy.server_tools:
        return
    yield f"{where}: {kind!r} runs at the provider; the ClaudeProject's model.serverTools does not allow it"


def _messages(messages: object, policy: Policy) -> Iterator[str]:
    if not isinstance(messages, list):
        yield "messages: must be a list"
        return
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            yield f"{where}: must be an object"
        elif not _one_of(message.get("role"), _ROLES):
            yield f"{where}.role: {message.get('role')!r} is not one of {', '.join(sorted(_ROLES))}"
        else:
            yield from _content(f"{where}.content", message.get("content"), policy, 0)


def _content(where: str, content: object, policy: Policy, depth: int) -> Iterator[str]:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list) or depth > _MOST_DEPTH:
        yield f"{where}: must be a string or a list of blocks, not nested deeper than {_MOST_DEPTH}"
        return
    for index, block in enumerate(content):
        yield from _block(f"{where}.{index}", block, policy, depth)


def _block(where: str, block: object, policy: Policy, depth: int) -> Iterator[str]:
    if not isinstance(block, dict):
        yield f"{where}: must be an object"
        return
    kind = block.get("type")
    if not _one_of(kind, _BLOCKS) and not policy.server_tools:
        yield f"{where}: a block of the type {kind!r} is not allowed; server tools need model.serverTools"
        return
    if kind in ("image", "document"):
        source = block.get("source")
        source_kind = source.get("type") if isinstance(source, dict) else None
        if not _one_of(source_kind, _SOURCES) and not policy.server_tools:
            yield f"{where}.source: {source_kind!r} is fetched by the provider; send the content as base64"
        elif isinstance(source, dict) and source_kind == "content":
            yield from _content(f"{where}.source.content", source.get("content"), policy, depth + 1)
    if kind == "tool_addition":
        yield from _tool(f"{where}.tool", block.get("tool"), policy)
    if kind in ("tool_result", "search_result"):
        yield from _content(f"{where}.content", block.get("content"), policy, depth + 1)
