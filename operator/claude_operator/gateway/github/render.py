"""What we write on GitHub. Pure.

An agent's words are posted in the name of the project's bot, so they are made harmless first: they mention no
bot that would answer (a loop), embed nothing (an image's address carries data to whoever serves it, as soon
as anybody looks), hide nothing, hold no known shape of a secret, and fit into a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_operator.gateway.redaction import redact
from claude_operator.github.mention import without
from claude_operator.github.visible import one_line, visible, without_code
from claude_operator.resources.lifecycle import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_operator.wire.github import Answer

MOST_CHARACTERS: Final = 65_536
"""Of a comment, a review or its parts: GitHub refuses more."""
_MOST_WORDS: Final = 60_000
_EMBEDDED: Final = re.compile(
    r"!(?=\[)|<(?=/?(?:img|picture|source|video|audio|track|iframe|object|embed|svg|link|style)\b)",
    re.IGNORECASE,
)
_CUT: Final = "\n\n[… cut here: the whole text is on record]"


@dataclass(frozen=True, slots=True)
class State:
    """How a session stands, as far as the record goes."""

    namespace: str
    name: str
    attempt: int = 0
    """0: none has begun."""
    phase: str | None = None
    """Final, or `Deleted`; None: it has not ended."""
    reason: str = ""
    message: str = ""
    words: str = ""
    """The agent's last."""
    cost_usd: float = 0.0
    turns: int = 0
    branch_url: str = ""
    branch: str = ""
    pull_request_url: str = ""


def marker(session_uid: str) -> str:
    """The first line of everything that we write: by it we find it again."""
    return f"<!-- claude-operator:session={session_uid} -->"


def harmless(text: str, mentions: Sequence[str], *, most: int = _MOST_WORDS) -> str:
    """An agent's words, fit to be posted."""
    clean = redact(visible(text)).strip()
    prose, pieces, end = without_code(clean), [], 0
    for found in _EMBEDDED.finditer(prose):
        pieces += [clean[end : found.start()], "" if found.group() == "!" else "&lt;"]
        end = found.end()
    clean = without("".join([*pieces, clean[end:]]), list(mentions))
    return clean if len(clean) <= most else clean[:most] + _CUT


def comment(
    session_uid: str, answer: Answer, state: State, mentions: Sequence[str], *, extra: str = ""
) -> str:
    """The status comment.

    Args:
        session_uid: of the session.
        answer: what was asked, by whom.
        state: how the session stands.
        mentions: of bots, which the text must not mention.
        extra: a sentence on what became of the answer elsewhere, such as a link to the review.
    """
    asked = one_line(answer.asked_by, 100) or "somebody"
    whose = f"[{asked}'s request]({answer.asked_at})" if _link(answer.asked_at) else f"{asked}'s request"
    session = f"session `{state.namespace}/{state.name}`"
    note = f"\n\n{answer.note}" if answer.note else ""
    if state.phase is None:
        what = (
            f"Working on {whose} (attempt {state.attempt})."
            if state.attempt
            else f"Accepted {whose}; it waits for its turn."
        )
        body = f"{what}{note}\n\n<sub>{session}</sub>"
    else:
        body = "\n\n".join(
            part
            for part in (
                _headline(state, whose, mentions),
                extra,
                harmless(state.words, mentions),
                f"---\n<sub>{_footer(state, whose, session)}</sub>{note}",
            )
            if part
        )
    return f"{marker(session_uid)}\n{body}"[:MOST_CHARACTERS]


def _headline(state: State, whose: str, mentions: Sequence[str]) -> str:
    match state.phase:
        case Phase.SUCCEEDED:
            return ""
        case Phase.CANCELLED:
            return f"**Cancelled**: {whose} was stopped before it was done."
        case "Deleted":
            return f"**Deleted**: the session of {whose} was deleted before it was done."
        case _:
            why = one_line(harmless(state.message, mentions), 500)
            return (
                f"**{state.phase}** ({state.reason}): {why}" if why else f"**{state.phase}** ({state.reason})"
            )


def _footer(state: State, whose: str, session: str) -> str:
    parts = [whose, session, f"${state.cost_usd:.2f}", f"{state.turns} turns"]
    if state.pull_request_url:
        parts.append(f"pull request: {state.pull_request_url}")
    elif state.branch_url:
        parts.append(f"branch [{state.branch}]({state.branch_url})")
    return " · ".join(parts)


def _link(url: str) -> bool:
    return url.startswith(("https://", "http://")) and not any(one in url for one in " ()<>\n")
