"""A review out of a session's structured output. Pure.

What the agent gives is its claim; it is read leniently and bounded here. It never approves: a review that
counts as one person's word towards a merge is a person's to give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from claude_operator.gateway.github.render import MOST_CHARACTERS, harmless, marker
from claude_operator.github.visible import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_COMMENTS: Final = 50
_MOST_COMMENT: Final = 8_000
_EVENTS: Final = frozenset({"COMMENT", "REQUEST_CHANGES"})


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment on one line of the new side."""

    path: str
    line: int
    body: str


@dataclass(frozen=True, slots=True)
class Review:
    """What is to be posted."""

    body: str
    event: str
    remarks: tuple[Remark, ...]

    def request(self, session_uid: str, commit: str) -> dict[str, Any]:
        """As GitHub wants it, with the remarks at their lines."""
        return {
            **self.plain(session_uid, commit, fold=False),
            "comments": [
                {"path": one.path, "line": one.line, "side": "RIGHT", "body": one.body}
                for one in self.remarks
            ],
        }

    def plain(
        self, session_uid: str, commit: str, *, fold: bool = True, event: str | None = None
    ) -> dict[str, Any]:
        """Without remarks at lines, which GitHub may refuse; they stand in the text instead."""
        body = self.body
        if fold:
            body = "\n\n".join([body, *(f"`{one.path}:{one.line}`: {one.body}" for one in self.remarks)])
        text = f"{marker(session_uid)}\n{body}"[:MOST_CHARACTERS]
        return {"commit_id": commit, "body": text, "event": event or self.event}


def review_of(output: Mapping[str, Any] | None, words: str, footer: str, mentions: Sequence[str]) -> Review:
    """The agent's review; without structured output its last words are the body."""
    found = output or {}
    body = found.get("body")
    text = harmless(body if isinstance(body, str) and body.strip() else words, mentions, most=50_000)
    event = found.get("event")
    remarks = found.get("comments")
    return Review(
        body=f"{text or 'No remarks.'}\n\n---\n<sub>{footer}</sub>",
        event=event if event in _EVENTS else "COMMENT",
        remarks=tuple(
            made
            for one in (remarks if isinstance(remarks, list) else [])[:_MOST_COMMENTS]
            if (made := _remark(one, mentions)) is not None
        ),
    )


def labels_of(output: Mapping[str, Any] | None, known: Sequence[str], allowed: Sequence[str]) -> list[str]:
    """The labels that the agent chose, of those that the repository has and the project allows."""
    chosen = (output or {}).get("labels")
    by_name = {name.lower(): name for name in known}
    permitted = {name.lower() for name in allowed} or set(by_name)
    found = [one.lower() for one in chosen if isinstance(one, str)] if isinstance(chosen, list) else []
    return [by_name[one] for one in dict.fromkeys(found) if one in by_name and one in permitted]


def _remark(one: Any, mentions: Sequence[str]) -> Remark | None:
    if not isinstance(one, dict):
        return None
    path, line, body = one.get("path"), one.get("line"), one.get("body")
    if not isinstance(path, str) or not isinstance(body, str) or not isinstance(line, int) or line < 1:
        return None
    text = harmless(body, mentions, most=_MOST_COMMENT)
    return Remark(one_line(path.removeprefix("./"), 500).replace("`", ""), line, text) if text else None
