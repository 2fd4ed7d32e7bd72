"""Scrubbing a streamed answer whose text is cut into deltas.

A value can be spread over several deltas, each in an event of its own, where no search in the bytes finds
it. So the texts of one content block are joined: the end of a delta that could be the beginning of a value
waits for the next delta. An event that needs no change passes as the bytes it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from claude_operator.gateway.model.sse import render
from claude_operator.gateway.scrub import held_back

if TYPE_CHECKING:
    from claude_operator.gateway.scrub import Scrubber

_TEXTS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
    "signature_delta": "signature",
}


class DeltaScrubber:
    """Takes the events of one stream in order."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._held: dict[tuple[int, str], str] = {}

    def pass_on(self, event: bytes, data: dict[str, Any] | None) -> bytes:
        """The bytes to send for `event`, whose data is `data`."""
        scrub = self._scrubber
        if not scrub.values:
            return event
        if data is not None and data.get("type") == "content_block_delta":
            return self._delta(event, data)
        clean = scrub.whole(event)
        if data is not None and data.get("type") == "content_block_stop":
            return self._release(int(data.get("index", 0))) + clean
        return clean

    def _delta(self, event: bytes, data: dict[str, Any]) -> bytes:
        delta = data.get("delta")
        kind = str(delta.get("type")) if isinstance(delta, dict) else ""
        name = _TEXTS.get(kind)
        if not isinstance(delta, dict) or name is None or not isinstance(delta.get(name), str):
            return self._scrubber.whole(event)
        key = (int(data.get("index", 0)), kind)
        held = self._held.pop(key, "")
        joined = held + str(delta[name])
        clean = self._scrubber.text(joined)
        # The values are ASCII, so bytes held back are as many characters.
        keep = held_back(clean.encode("utf-8", "surrogateescape"), self._scrubber.values)
        if not held and not keep and clean == joined:
            return self._scrubber.whole(event)
        if keep:
            self._held[key] = clean[-keep:]
        return render({**data, "delta": {**delta, name: clean[: len(clean) - keep]}})

    def _release(self, index: int) -> bytes:
        released = b""
        for key in [key for key in self._held if key[0] == index]:
            kind = key[1]
            delta = {"type": kind, _TEXTS[kind]: self._held.pop(key)}
            released += render({"type": "content_block_delta", "index": index, "delta": delta})
        return released
