"""The requests of the Messages API, as far as they decide the answer.

Requests are refused where the real API refuses them (no `max_tokens`, a
`tool_use` without its result): a caller that only works against a lenient
stand-in is broken.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class RequestError(Exception):
    """The Messages API's `invalid_request_error`; the text names field and remedy."""


class Message(BaseModel):
    """One entry of the conversation. Claude Code puts `system` entries between the others."""

    model_config = ConfigDict(frozen=True)

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, JsonValue]]


class Metadata(BaseModel):
    """What the caller says of itself."""

    user_id: str | None = None


class MessagesRequest(BaseModel):
    """The fields of a request that decide the answer; all others are accepted and recorded."""

    model_config = ConfigDict(frozen=True)

    model: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    system: str | list[dict[str, JsonValue]] = ""
    tools: list[dict[str, JsonValue]] = []
    stream: bool = False
    metadata: Metadata = Metadata()


def parse(body: bytes) -> MessagesRequest:
    """The request in `body`.

    Raises:
        RequestError: the Messages API would refuse it.
    """
    try:
        request = MessagesRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise RequestError(f"{where}: {first['msg']}") from None
    _require_results(request.messages)
    return request


def _require_results(messages: Sequence[Message]) -> None:
    """Every `tool_use` is answered before the model speaks again."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        # Neighbours of one role are one turn to the API.
        if waiting and message.role == "assistant" and messages[index - 1].role != "assistant":
            break
        for block in blocks(message):
            if block.get("type") == "tool_use":
                waiting.add(str(block.get("id")))
            elif block.get("type") == "tool_result":
                identifier = str(block.get("tool_use_id"))
                if identifier not in waiting:
                    raise RequestError(
                        f"messages.{index}: tool_result {identifier} answers no tool_use before it"
                    )
                waiting.remove(identifier)
    if waiting:
        missing = ", ".join(sorted(waiting))
        raise RequestError(f"messages: `tool_use` ids were found without `tool_result` blocks: {missing}")


def blocks(message: Message) -> list[dict[str, JsonValue]]:
    """The content of `message` as blocks, however it was written."""
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    return message.content


def text_of(content: object) -> str:
    """The text of a string or of the text blocks in a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        str(block.get("text", ""))
        for block in content
        if isinstance(block, dict) and block.get("type") == "text"
    )


def session_of(request: MessagesRequest, headers: Mapping[str, str]) -> str:
    """Whose conversation it is: Claude Code's session id, else a digest of the first message.

    The id stands in a header and, for proxies that rebuild headers, in
    `metadata.user_id` as well.
    """
    if named := headers.get("x-claude-code-session-id"):
        return named
    if user := request.metadata.user_id:
        try:
            value = json.loads(user)
        except json.JSONDecodeError:
            return user
        return str(value.get("session_id", user)) if isinstance(value, dict) else user
    return "first-message-" + digest(request.messages[0].model_dump_json())[:16]


def digest(text: str) -> str:
    """A stable name for `text`; lone surrogates, which JSON can hold, are no obstacle."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
