"""Outputs come from structured events, in bounded memory, whatever an agent tells."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from claude_operator.shim.core.output import LOG_BYTES, Collector
from claude_operator.wire.internal import RecordedEvent

ROOT = "/workspace/repo"


def event(kind: str, data: dict[str, Any]) -> RecordedEvent:
    source = "gateway" if kind.startswith("gateway.") else "pod"
    return RecordedEvent.model_validate(
        {"seq": 1, "attempt": 1, "source": source, "time": "t", "type": kind, "data": data}
    )


def collector(*told: tuple[str, dict[str, Any]]) -> Collector:
    collected = Collector()
    collected.take(event("cli.system", {"type": "system", "subtype": "init", "cwd": ROOT}))
    for kind, data in told:
        collected.take(event(kind, data))
    return collected


def call(identifier: str, tool: str, **given_input: Any) -> tuple[str, dict[str, Any]]:
    block = {"type": "tool_use", "id": identifier, "name": tool, "input": given_input}
    return "cli.assistant", {"type": "assistant", "message": {"content": [block]}}


def result(
    identifier: str, content: Any = "ok", *, error: bool = False, **more: Any
) -> tuple[str, dict[str, Any]]:
    block = {"type": "tool_result", "tool_use_id": identifier, "content": content, "is_error": error}
    return "cli.user", {"type": "user", "message": {"content": [block]}, **more}


def test_files_are_what_the_tools_have_written() -> None:
    patch = {"structuredPatch": [{"lines": [" a", "-b", "+c", "+d"]}]}
    collected = collector(
        call("1", "Write", file_path=f"{ROOT}/a.txt", content="a\nb\n"),
        result("1"),
        call("2", "Edit", file_path=f"{ROOT}/a.txt", old_string="b", new_string="c\nd"),
        result("2", tool_use_result=patch),
        call("3", "Write", file_path=f"{ROOT}/refused.txt", content="x"),
        result("3", error=True),
        call("4", "Write", file_path=f"{ROOT}/never-answered.txt", content="x"),
        call("5", "Write", file_path="/tmp/outside.txt", content="x"),
        result("5"),
        call("6", "Write", file_path=f"{ROOT}/../up.txt", content="x"),
        result("6"),
        call("7", "Write", file_path=f"{ROOT}/.git/hooks/x", content="x"),
        result("7"),
        call("8", "Edit", file_path=f"{ROOT}/unknown.txt", old_string="x", new_string="y"),
        result("8"),
        call("10", "Edit", file_path=f"{ROOT}/known.txt", old_string="x", new_string="y"),
        result("10", tool_use_result={"originalFile": "x is x", "structuredPatch": []}),
        call("9", "Write", file_path=f"{ROOT}/cut.txt", content="x… [70000 characters left out]"),
        result("9"),
    )
    files = {one.path: one for one in collected.artifacts()}
    assert files.keys() == {"a.txt", "unknown.txt", "known.txt", "cut.txt"}
    assert files["a.txt"].content == "a\nc\nd\n"
    assert files["a.txt"].metadata == {"linesAdded": 4, "linesRemoved": 1}
    assert files["unknown.txt"].content is None
    assert files["known.txt"].content == "y is x"
    assert files["cut.txt"].content is None


def test_prose_makes_no_artifact() -> None:
    text = {"type": "text", "text": "Created file: x.py\nCommitted: abc\nSummary: s\nNext step: y"}
    collected = collector(("cli.assistant", {"type": "assistant", "message": {"content": [text]}}))
    assert collected.artifacts() == []
    assert "  Created file: x.py" in collected.log


def test_commits_are_what_the_git_host_took_and_comments_what_a_tool_has_made() -> None:
    made = json.dumps({"html_url": "https://github.com/a/b/issues/1#c"})
    collected = collector(
        ("gateway.pushed", {"branch": "claude/x", "commit": "c1"}),
        ("runner.pushed", {"branch": "claude/y", "commit": "c2"}),
        call("1", "mcp__github__add_issue_comment", body="x"),
        result("1", [{"type": "text", "text": made}]),
        call("2", "mcp__github__create_issue", body="x"),
        result("2", "no json"),
    )
    assert [(one.kind, one.sha or one.url) for one in collected.artifacts()] == [
        ("commit", "c1"),
        ("comment", "https://github.com/a/b/issues/1#c"),
    ]


def test_a_long_log_keeps_its_end() -> None:
    collected = collector()
    for number in range(30_000):
        collected.take(event("runner.step", {"message": f"step {number} of many"}))
    log = collected.log
    assert log[-1] == "* step 29999 of many"
    assert log[0].startswith("… ")
    assert sum(len(line) for line in log) < LOG_BYTES + 100


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "message",
                    "content",
                    "id",
                    "name",
                    "input",
                    "tool_use_id",
                    "file_path",
                    "cwd",
                    "subtype",
                    "tool_use_result",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["cli.assistant", "cli.user", "cli.result", "cli.system", "runner.x", "gateway.pushed"]
            ),
            st.dictionaries(
                st.sampled_from(["type", "message", "commit", "cwd", "subtype"]),
                json_values,
            ),
        ),
        max_size=6,
    )
)
def test_events_of_any_shape_are_taken(told: list[tuple[str, dict[str, Any]]]) -> None:
    collected = collector(*told)
    collected.artifacts()
    assert all(isinstance(line, str) for line in collected.log)


def test_the_log_tells_of_callbacks_and_how_they_went() -> None:
    to = "https://hooks.example.com"
    collected = collector(
        ("gateway.notify_failed", {"to": to, "message": "hooks.example.com answers 500"}),
        ("gateway.notify_given_up", {"to": to, "message": "hooks.example.com answers 410"}),
        ("gateway.notify_delivered", {"to": to}),
    )
    assert collected.log[-3:] == [
        "* the callback failed and is tried again: hooks.example.com answers 500",
        "* the callback failed and is given up: hooks.example.com answers 410",
        "* https://hooks.example.com was called back",
    ]
