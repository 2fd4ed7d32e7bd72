"""One step of the run, told twice: a line for `kubectl logs`, an event for the gateway's record."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from claude_operator.wire import transcript

if TYPE_CHECKING:
    from claude_operator.runner.events import EventSender
    from claude_operator.wire.transcript import Event


class Log:
    """Lines on stdout, with the time of day; kubelet adds nothing of the kind by default."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout

    def say(self, line: str) -> None:
        """Write one line; control characters in it are made visible."""
        stamp = datetime.now(UTC).strftime("%H:%M:%S")
        text = transcript.neutralise(line)
        self._stream.write(f"{stamp} {text}\n".encode("utf-8", "replace").decode("utf-8"))
        self._stream.flush()


class Record:
    """Log and events together."""

    def __init__(self, log: Log, events: EventSender) -> None:
        self._log = log
        self._events = events

    async def step(self, name: str, message: str, **data: Any) -> None:
        """A step of the runner's own: `runner.<name>`."""
        for line in transcript.lines(message, transcript.TEXT_LINES):
            self._log.say(f"* {line}")
        await self._events.put(f"runner.{name}", {"message": message, **data})

    async def cli(self, event: Event) -> None:
        """An event of the CLI: `cli.<type>`, whole."""
        for line in transcript.describe(event):
            self._log.say(line)
        kind = event.get("type")
        await self._events.put(f"cli.{kind if isinstance(kind, str) and kind else 'untyped'}", event)

    async def stray(self, source: str, text: str) -> None:
        """A line of the CLI that is no event: `cli.stdout` or `cli.stderr`."""
        for line in transcript.lines(text, transcript.RESULT_LINES):
            self._log.say(f"{source}: {line}")
        await self._events.put(f"cli.{source}", {"text": text})
