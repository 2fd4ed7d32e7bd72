"""What a session that was made over HTTP is asked for at its end: a summary, and what should be done next.

Asked as structured output: nothing is searched for in prose. Every type of session is asked, since each has
something to leave to the next one and the API promises both members for all. It costs a tool definition of
about 150 tokens, which the prompt cache keeps; an agent that gives no such answer is reminded by the CLI with
one more request, and is forgiven if it still gives none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from claude_operator.wire.session import RunResult

SCHEMA: Final = orjson.dumps(
    {
        "type": "object",
        "properties": {
            "summary": {
                "type": "string",
                # Sessions that depend on this one read it instead of the last message, so it must be whole.
                "description": (
                    "Your result, whole, in Markdown: what was done or found, what was not, and what the "
                    "next reader must know. Nothing else that you said is handed on."
                ),
            },
            "nextSteps": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What should be done next, a short sentence each; empty if nothing.",
            },
        },
        "required": ["summary", "nextSteps"],
        "additionalProperties": False,
    }
).decode()
_MOST_STEPS: Final = 50


def next_steps(reported: RunResult) -> tuple[str, ...]:
    """What an agent wants done next. A claim: it may be anything, also of a session with another schema."""
    found = (reported.structured_output or {}).get("nextSteps")
    if not isinstance(found, list):
        return ()
    return tuple(one for one in found if isinstance(one, str))[:_MOST_STEPS]
