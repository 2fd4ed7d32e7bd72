"""What a session has left: log lines, files, commits, pull requests, its last words. Pure.

Everything comes from structured events: the gateway's own (pushes, the pull request), the agent's tool calls
and their results. Searching its prose for markers was rejected: it finds what the agent talks about.
What the pod told is the agent's claim; commit and pull request are what the gateway saw.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from posixpath import normpath, relpath
from typing import TYPE_CHECKING, Any, Final

import orjson

from claude_operator.wire.transcript import content, describe, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_operator.wire.internal import RecordedEvent

LOG_BYTES: Final = 256 * 1024
"""Of log lines that are kept; of a longer log the end."""
CONTENT_BYTES: Final = 64 * 1024
"""Of one file that is shown whole."""
ALL_CONTENT_BYTES: Final = 1024 * 1024
_MOST_ARTIFACTS: Final = 500
_CUT: Final = re.compile(r"… \[\d+ characters left out\]$")
"""How the runner marks a string that it has shortened (runner/events.py)."""
_FILE_TOOLS: Final = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
_MCP_KINDS: Final = {
    "create_issue": "issue",
    "add_issue_comment": "comment",
    "create_issue_comment": "comment",
    "add_pull_request_comment": "comment",
    "create_pull_request_review": "comment",
}
"""Tools of the GitHub MCP servers, whose results are JSON with a URL."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that a session has made."""

    kind: str
    """file, commit, pr, issue or comment."""
    path: str | None = None
    content: str | None = None
    """Of a file, where it is known whole and short enough."""
    sha: str | None = None
    """Of a commit."""
    url: str | None = None
    metadata: Json = field(default_factory=dict)


@dataclass(slots=True)
class _File:
    content: str | None
    added: int = 0
    removed: int = 0


class Collector:
    """Takes events in order; holds a bounded amount, however long the journal is."""

    def __init__(self) -> None:
        self._log: deque[str] = deque()
        self._log_bytes = 0
        self._left_out = 0
        self._root = ""
        self._calls: dict[str, Json] = {}
        self._files: dict[str, _File] = {}
        self._commits: dict[str, str] = {}
        self._made: list[Artifact] = []

    def take(self, event: RecordedEvent) -> None:
        """One event of the journal."""
        if event.source == "gateway":
            self._take_gateway(event.type, event.data)
        elif event.type.startswith("runner."):
            message = event.data.get("message")
            self._say(f"* {line}" for line in lines(message if isinstance(message, str) else "", 40))
        elif event.type in {"cli.stdout", "cli.stderr"}:
            text = event.data.get("text")
            self._say(f"{event.type[4:]}: {line}" for line in lines(text if isinstance(text, str) else "", 6))
        else:
            self._say(iter(describe(event.data)))
            self._take_cli(event.data)

    @property
    def log(self) -> list[str]:
        """The lines, the last of them when they are many."""
        if not self._left_out:
            return list(self._log)
        return [f"… {self._left_out} earlier lines are in the record", *self._log]

    def artifacts(self) -> list[Artifact]:
        """Files that the agent wrote, commits that were pushed, what its tools have made elsewhere."""
        room = ALL_CONTENT_BYTES
        files = []
        for path, file in self._files.items():
            shown = file.content
            if shown is not None:
                size = len(shown.encode())
                shown = shown if size <= min(CONTENT_BYTES, room) else None
                room -= size if shown is not None else 0
            metadata = {"linesAdded": file.added, "linesRemoved": file.removed}
            files.append(Artifact("file", path=path, content=shown, metadata=metadata))
        commits = [
            Artifact("commit", sha=sha, metadata={"branch": branch}) for sha, branch in self._commits.items()
        ]
        return [*files, *commits, *self._made]

    def _say(self, said: Iterator[str]) -> None:
        for line in said:
            self._log.append(line)
            self._log_bytes += len(line)
        while self._log_bytes > LOG_BYTES:
            self._log_bytes -= len(self._log.popleft())
            self._left_out += 1

    def _take_gateway(self, kind: str, data: Json) -> None:
        match kind:
            case "gateway.pushed":
                commit, branch = str(data.get("commit", "")), str(data.get("branch", ""))
                self._commits[commit] = branch
                self._say(iter([f"* the git host has accepted {branch} at {commit[:12]}"]))
            case "gateway.pull_request":
                self._say(iter([f"* pull request {data.get('url', '')}"]))
            case "gateway.claimed":
                self._say(iter([f"* attempt {data.get('attempt', '')} began in pod {data.get('pod', '')}"]))
            case "gateway.notify_delivered":
                self._say(iter([f"* {data.get('to', '')} was called back"]))
            case "gateway.notify_failed" | "gateway.notify_given_up":
                fate = "tried again" if kind == "gateway.notify_failed" else "given up"
                self._say(iter([f"* the callback failed and is {fate}: {data.get('message', '')}"]))
            case _:
                return

    def _take_cli(self, event: Json) -> None:
        match event.get("type"):
            case "system" if event.get("subtype") == "init" and isinstance(event.get("cwd"), str):
                self._root = event["cwd"]
            case "assistant":
                for block in content(event):
                    if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                        self._calls[block["id"]] = block
            case "user":
                for block in content(event):
                    call = self._calls.pop(str(block.get("tool_use_id")), None)
                    if call is not None and block.get("is_error") is not True:
                        self._take_result(call, block, event.get("tool_use_result"))
            case _:
                return

    def _take_result(self, call: Json, block: Json, result: object) -> None:
        name, given = str(call.get("name")), call.get("input")
        if not isinstance(given, dict):
            return
        if name in _FILE_TOOLS:
            self._take_file(name, given, result if isinstance(result, dict) else {})
        elif name.startswith("mcp__") and (kind := _MCP_KINDS.get(name.rpartition("__")[2])):
            url = _url_in(block.get("content"))
            if url is not None and len(self._made) < _MOST_ARTIFACTS:
                self._made.append(Artifact(kind, url=url))

    def _take_file(self, tool: str, given: Json, result: Json) -> None:
        path = self._inside(given.get("file_path") or given.get("notebook_path"))
        if path is None or (path not in self._files and len(self._files) >= _MOST_ARTIFACTS):
            return
        file = self._files.setdefault(path, _File(content=None))
        original = result.get("originalFile")
        if file.content is None and isinstance(original, str) and not _CUT.search(original):
            file.content = original
        file.content = _content_after(tool, given, file.content)
        added, removed = _changed_lines(tool, given, result)
        file.added += added
        file.removed += removed

    def _inside(self, path: object) -> str | None:
        """The path within the repository; None when it is not in there."""
        if not isinstance(path, str) or not self._root or not path.startswith("/"):
            return None
        relative = relpath(normpath(path), self._root)
        return None if relative.startswith("..") or relative.split("/")[0] == ".git" else relative


def _content_after(tool: str, given: Json, before: str | None) -> str | None:
    """A file's content after a tool call, where it can be known."""
    if tool == "Write":
        text = given.get("content")
        return text if isinstance(text, str) and not _CUT.search(text) else None
    if tool != "Edit" or before is None:
        return None
    old, new = given.get("old_string"), given.get("new_string")
    if not isinstance(old, str) or not isinstance(new, str) or _CUT.search(old) or _CUT.search(new):
        return None
    if old not in before:
        return None
    return before.replace(old, new) if given.get("replace_all") is True else before.replace(old, new, 1)


def _changed_lines(tool: str, given: Json, result: Json) -> tuple[int, int]:
    """Lines added and removed: from the tool's own patch where it tells one."""
    patch = result.get("structuredPatch")
    if isinstance(patch, list) and patch:
        marks = [
            line[:1]
            for hunk in patch
            if isinstance(hunk, dict) and isinstance(hunk.get("lines"), list)
            for line in hunk["lines"]
            if isinstance(line, str)
        ]
        return marks.count("+"), marks.count("-")
    if tool == "Write":
        return _count(given.get("content")), 0
    return _count(given.get("new_string")), _count(given.get("old_string"))


def _count(text: object) -> int:
    return len(text.splitlines()) if isinstance(text, str) else 0


def _url_in(result: object) -> str | None:
    """The URL in a tool result that is a JSON object, or a list with one text block that is."""
    if isinstance(result, list):
        result = next((one.get("text") for one in result if isinstance(one, dict)), None)
    if not isinstance(result, str):
        return None
    try:
        found = orjson.loads(result)
    except orjson.JSONDecodeError:
        return None
    url = (found.get("html_url") or found.get("url")) if isinstance(found, dict) else None
    return url if isinstance(url, str) and url.startswith(("https://", "http://")) else None
