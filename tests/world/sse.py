"""The event stream of the Messages API: writing an answer as events, and the way back.

Order and shapes are those of the real stream: message_start with the first
usage; for each block a start, deltas and a stop; message_delta with the final
usage; message_stop; a ping after the first block's start. Tool inputs travel as
pieces of JSON text that only make sense together, beginning with an empty one.

`parse` and `assemble` are the reverse, written independently of the writer, for
tests of whatever relays the stream: what comes out must be what went in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import JsonValue

    from tests.world.messages import Answer

_PIECE = 24
# A long text becomes longer pieces, not ever more events.
_MOST_PIECES = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `data` repeats the name as its `type`."""

    name: str
    data: dict[str, JsonValue]

    def encode(self) -> bytes:
        try:
            data = json.dumps(self.data, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a lone surrogate, which only JSON's escapes can carry
            data = json.dumps(self.data).encode()
        return b"event: %s\ndata: %s\n\n" % (self.name.encode(), data)


def events(answer: Answer) -> Iterator[Event]:
    """The stream of `answer`."""
    message = answer.message
    content = message["content"]
    assert isinstance(content, list)
    yield _event(
        "message_start",
        message={
            **message,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": answer.start_usage,
        },
    )
    if not content:
        yield _event("ping")
    for index, block in enumerate(content):
        assert isinstance(block, dict)
        start, deltas = _block(block, answer.piece)
        yield _event("content_block_start", index=index, content_block=start)
        if index == 0:
            yield _event("ping")
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    stop: dict[str, JsonValue] = {
        "stop_reason": message["stop_reason"],
        "stop_sequence": message["stop_sequence"],
    }
    yield _event("message_delta", delta=stop, usage=answer.delta_usage)
    yield _event("message_stop")


def _event(name: str, **data: JsonValue) -> Event:
    return Event(name, {"type": name, **data})


def _block(
    block: dict[str, JsonValue], piece: int | None
) -> tuple[dict[str, JsonValue], list[dict[str, JsonValue]]]:
    """What `content_block_start` says of `block`, and the deltas that complete it."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [
                {"type": "text_delta", "text": part} for part in _pieces(block["text"], piece)
            ]
        case "thinking":
            thinking: list[dict[str, JsonValue]] = [
                {"type": "thinking_delta", "thinking": part} for part in _pieces(block["thinking"], piece)
            ]
            signature: dict[str, JsonValue] = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*thinking, signature]
        case "tool_use":
            encoded = json.dumps(block["input"])
            parts = ["", *_pieces(encoded, piece)] if block["input"] else [""]
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": part} for part in parts
            ]
        case other:
            raise ValueError(f"no stream is known for a block of type {other!r}")


def _pieces(text: JsonValue, piece: int | None) -> list[str]:
    assert isinstance(text, str)
    size = piece or max(_PIECE, -(-len(text) // _MOST_PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]


def parse(stream: bytes) -> list[Event]:
    """The complete events of `stream`; a cut-off rest is left out, as a client leaves it out."""
    found = []
    for raw in stream.replace(b"\r\n", b"\n").split(b"\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in raw.decode().split("\n") if not line.startswith(":"))
        found.append(Event(fields["event"], json.loads(fields["data"])))
    return found


def assemble(stream: Iterable[Event]) -> dict[str, JsonValue]:
    """The message that a client puts together from `stream`.

    Raises:
        ValueError: the stream breaks off, or its events come in a wrong order.
    """
    message: dict[str, JsonValue] = {}
    content: list[JsonValue] = []
    texts: dict[str, str] = {}
    open_block: dict[str, JsonValue] | None = None
    for event in stream:
        data = event.data
        match event.name:
            case "message_start":
                _expect(not message, event)
                message = {**_object(data["message"])}
            case "content_block_start":
                _expect(bool(message) and open_block is None and data["index"] == len(content), event)
                open_block, texts = {**_object(data["content_block"])}, {}
            case "content_block_delta":
                _expect(open_block is not None and data["index"] == len(content), event)
                kind, part = _delta(_object(data["delta"]))
                texts[kind] = texts.get(kind, "") + part
            case "content_block_stop":
                _expect(open_block is not None, event)
                content.append({**_object(open_block), **_finished(texts)})
                open_block = None
            case "message_delta":
                _expect(bool(message) and open_block is None, event)
                usage = {**_object(message["usage"]), **_object(data["usage"])}
                message |= {**_object(data["delta"]), "usage": usage, "content": content}
            case "message_stop":
                _expect("content" in message and message["stop_reason"] is not None, event)
                return message
            case "ping":
                continue
            case "error":
                raise ValueError(f"the stream ends in an error: {data['error']}")
            case other:
                raise ValueError(f"unknown event {other!r}")
    raise ValueError("the stream breaks off before message_stop")


def _delta(delta: dict[str, JsonValue]) -> tuple[str, str]:
    kind = str(delta["type"])
    key = {"input_json_delta": "partial_json"}.get(kind, kind.removesuffix("_delta"))
    return key, str(delta[key])


def _finished(texts: dict[str, str]) -> dict[str, JsonValue]:
    whole: dict[str, JsonValue] = {**texts}
    if "partial_json" in texts:
        del whole["partial_json"]
        whole["input"] = json.loads(texts["partial_json"] or "{}")
    return whole


def _object(value: JsonValue) -> dict[str, JsonValue]:
    assert isinstance(value, dict)
    return value


def _expect(right: bool, event: Event) -> None:
    if not right:
        raise ValueError(f"event {event.name} out of order: {event.data}")
