"""The task reaches the model byte for byte, and a resumed conversation is not told its task twice."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from claude_operator.resources.lifecycle import Phase
from claude_operator.resources.session import SessionType
from claude_operator.runner import prompt
from claude_operator.wire.session import Assignment, DependencyResult

texts = st.text(st.characters(codec="utf-8"), min_size=1)


def assignment(requirements: str = "Do it.", **changes: object) -> Assignment:
    return Assignment.model_validate(
        {
            "namespace": "default",
            "name": "first",
            "session_uid": "uid",
            "attempt": 1,
            "type": "implementation",
            "requirements": requirements,
            "repository_host": "git.example",
            "repository_path": "acme/greetings",
            "repository_url": "https://git.example/acme/greetings",
            "publish_branch": "claude/first-abcde",
            "model": "m",
            "tools": [],
            "timeout_seconds": 60,
            "claude_session_id": "00000000-0000-0000-0000-000000000001",
            "author_name": "Claude",
            "author_email": "claude@git.example",
            **changes,
        }
    )


def compose(given_: Assignment) -> str:
    return prompt.compose(given_, base_branch="main", base_commit="abc123")


@given(texts, texts)
def test_task_and_context_are_exact_and_the_task_is_last(requirements: str, context: str) -> None:
    text = compose(assignment(requirements, context=context))
    assert text.endswith(
        f"<context>\n{context}\n</context>\n\n<requirements>\n{requirements}\n</requirements>"
    )


@given(texts)
def test_a_transcript_that_holds_the_task_is_known(requirements: str) -> None:
    content = compose(assignment(requirements))
    line = json.dumps({"type": "user", "message": {"role": "user", "content": content}})
    blocks = json.dumps({"type": "user", "message": {"content": [{"type": "text", "text": content}]}})
    assert prompt.holds_task(['{"cut o', "[]", line], requirements)
    assert prompt.holds_task([blocks], requirements)
    assert not prompt.holds_task([line], requirements + "!")
    assert not prompt.holds_task([line.replace('"user"', '"assistant"')], requirements)


def test_a_dependencys_result_is_told_whole() -> None:
    result = DependencyResult(
        name="earlier",
        type=SessionType.ANALYSIS,
        phase=Phase.SUCCEEDED,
        summary="The moon\nis made of cheese.",
        branch="claude/earlier-12345",
        commit="0123abc",
        artifacts=["out/a.txt", "out/b.txt"],
    )
    text = compose(assignment(dependencies=[result]))
    assert (
        '<session name="earlier" type="analysis" phase="Succeeded">\n'
        "Branch: claude/earlier-12345 at 0123abc (git fetch origin claude/earlier-12345)\n"
        "Artifacts: out/a.txt, out/b.txt\n"
        "The moon\nis made of cheese.\n"
        "</session>"
    ) in text


def test_each_type_has_its_own_opening_and_all_say_where_and_how() -> None:
    composed = [compose(assignment(type=one)) for one in SessionType]
    assert len({text.splitlines()[0] for text in composed}) == len(SessionType)
    for text in composed:
        assert "branch claude/first-abcde, which starts from main at abc123" in text
        assert "Do not push" in text
