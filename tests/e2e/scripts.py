"""What the model does in a session, written in the test: steps, as `tests.world` plays them."""

from __future__ import annotations

from typing import Any

from tests.world.markers import inline
from tests.world.script import Script, Step, ToolCall, Usage

COMMIT = "git add -A && git commit -q -m"


def bash(command: str) -> ToolCall:
    """A call of the CLI's Bash tool."""
    return ToolCall(name="Bash", input={"command": command, "description": "As the script says"})


def pause() -> ToolCall:
    """In the middle of its work the agent waits for the test: see `Session.paused` and `go_on`."""
    command = "touch /tmp/paused; until [ -e /tmp/go-on ]; do sleep 0.1; done"
    # By itself the tool gives up after 2 minutes.
    return ToolCall(name="Bash", input={"command": command, "timeout": 600_000})


def write(path: str, content: str) -> ToolCall:
    """A call of the CLI's Write tool; `path` is relative to the repository."""
    return ToolCall(name="Write", input={"file_path": f"${{CWD}}/{path}", "content": content})


def conclude(summary: str, *next_steps: str) -> ToolCall:
    """The answer that sessions over HTTP are asked for at their end."""
    return ToolCall(name="StructuredOutput", input={"summary": summary, "nextSteps": list(next_steps)})


def step(*tools: ToolCall, text: str = "", **fields: Any) -> Step:
    """One answer of the model; further fields are those of `Step`."""
    return Step(text=(text,) if text else (), tools=tools, **fields)


def tokens(input_: int, output: int, *, cache_read: int = 0, cache_creation: int = 0) -> Usage:
    """What an answer of the model costs."""
    return Usage(
        input_tokens=input_,
        output_tokens=output,
        cache_read_input_tokens=cache_read,
        cache_creation_input_tokens=cache_creation,
    )


def prompt(text: str, name: str, steps: tuple[Step, ...]) -> str:
    """Requirements that make the model play `steps`, known as `name` in its records."""
    return f"{text}\n\n{inline(Script(id=name, steps=steps))}"
