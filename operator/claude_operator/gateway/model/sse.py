"""Reading a stream of server-sent events without holding it up. Pure.

Bytes go in as the network cuts them, complete events come out as the bytes they were; a rest waits for its
end. Only an event's type and, of few types, its data are looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from claude_operator.gateway.model.usage import Tokens, read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINES: Final = re.compile(rb"\r\n|\n|\r")
MOST_EVENT_BYTES: Final = 8 * 1024 * 1024
"""Largest event that is waited for; keeps the memory of a stream constant."""


class StreamError(Exception):
    """The stream is not what the Messages API sends."""


class EventSplitter:
    """Cuts a byte stream into events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that `chunk` completes, each with its closing blank line.

        Raises:
            StreamError: an event does not end.
        """
        data = self._rest + chunk
        # An end may begin in the last three bytes of what was searched before.
        search = max(0, len(self._rest) - 3)
        events, start = [], 0
        while found := _END.search(data, search):
            events.append(data[start : found.end()])
            start = search = found.end()
        self._rest = data[start:]
        if len(self._rest) > MOST_EVENT_BYTES:
            raise StreamError(f"an event is larger than {MOST_EVENT_BYTES} bytes")
        return events

    @property
    def rest(self) -> bytes:
        """What has no end yet."""
        return self._rest


def event_data(event: bytes) -> dict[str, Any] | None:
    """The JSON object in an event's data; None: it has none (a comment, a ping without data)."""
    lines = [line[5:].removeprefix(b" ") for line in _LINES.split(event) if line.startswith(b"data:")]
    if not lines:
        return None
    try:
        data = orjson.loads(b"\n".join(lines))
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def render(data: Mapping[str, Any]) -> bytes:
    """An event of the Messages API: its name is the type of its data."""
    return b"event: %s\ndata: %s\n\n" % (str(data["type"]).encode(), orjson.dumps(data))


@dataclass(slots=True)
class UsageReader:
    """What a streamed response used, from message_start on to the last message_delta.

    The counts of message_delta are cumulative and replace those of message_start; today's API repeats all
    of them there, the older one only the output.
    """

    _usage: dict[str, Any] | None = None
    complete: bool = False
    """The final usage has been seen."""
    error: str | None = None
    """Type of an `error` event inside the stream."""

    def observe(self, data: Mapping[str, Any]) -> None:
        """Take note of one event's data."""
        match data.get("type"):
            case "message_start":
                message = data.get("message")
                usage = message.get("usage") if isinstance(message, dict) else None
                self._usage = dict(usage) if isinstance(usage, dict) else {}
            case "message_delta":
                usage = data.get("usage")
                if isinstance(usage, dict):
                    known = {name: value for name, value in usage.items() if value is not None}
                    self._usage = {**(self._usage or {}), **known}
                delta = data.get("delta")
                if isinstance(delta, dict) and delta.get("stop_reason") and isinstance(usage, dict):
                    self.complete = True
            case "error":
                error = data.get("error")
                self.error = str(error.get("type")) if isinstance(error, dict) else "api_error"
            case _:
                pass

    @property
    def started(self) -> bool:
        """Whether the input counts are known."""
        return self._usage is not None

    @property
    def tokens(self) -> Tokens:
        """The counts so far; final when `complete`."""
        return read_usage(self._usage or {})
