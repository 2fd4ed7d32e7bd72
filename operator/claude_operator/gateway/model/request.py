"""Reading a Messages API request, and writing the one that goes on. Pure but for the reading."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from claude_operator.gateway.bodies import read_body, require_parsable, size_of
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.model.allow import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from claude_operator.gateway.model.allow import Policy

MOST_BYTES: Final = 32 * 1024 * 1024
"""The Messages API's own limit."""
_LARGE: Final = 1024 * 1024
"""A request above this is parsed in a thread, so that streams go on, and one at a time, for the memory."""
_MOST_OUTPUT: Final = 10_000_000
"""Far above every model's; what is reserved for it must stay a number that the database holds."""
_HIDDEN_TOKENS: Final = 2000
"""What the API adds to the input by itself, most of all its instructions for tools (346 to 733 tokens)."""
_HEADERS: Final = {
    "anthropic-version": re.compile(r"2023-06-01"),
    "user-agent": re.compile(r"claude-cli/[\x20-\x7e]{1,200}"),
    "x-app": re.compile(r"cli(-bg)?"),
    "anthropic-dangerous-direct-browser-access": re.compile(r"true|false"),
    "x-stainless-arch": re.compile(r"[\w:.-]{1,40}"),
    "x-stainless-lang": re.compile(r"js"),
    "x-stainless-os": re.compile(r"[\w:.-]{1,40}"),
    "x-stainless-package-version": re.compile(r"[\w.-]{1,40}"),
    "x-stainless-retry-count": re.compile(r"[0-9]{1,3}"),
    "x-stainless-runtime": re.compile(r"[\w.-]{1,40}"),
    "x-stainless-runtime-version": re.compile(r"[\w.-]{1,40}"),
    "x-stainless-timeout": re.compile(r"[0-9]{1,6}"),
}
"""What Claude Code 2.1.330 sends beside the credential, with values that may pass; the rest is dropped."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request that was read, judged and written anew.

    The objects that it was parsed into are gone by then: they take many times its size, and it may wait for
    minutes.
    """

    payload: bytes
    """The body that goes on: what was understood, once."""
    faults: tuple[str, ...]
    """What in it is not allowed."""
    size: int
    betas: tuple[str, ...]
    model: str
    max_tokens: int
    stream: bool

    @property
    def input_tokens(self) -> int:
        """An upper bound of the input: no token is less than a byte.

        Prose has four or five bytes in a token, but an agent that wants to slip past a cap sends none.
        """
        return self.size + _HIDDEN_TOKENS


def size_held(request: web.Request) -> int:
    """Bytes of memory that a request takes while it is read: as it came, and as it goes on.

    What lies between, the objects, is there for one request at a time.
    """
    return 2 * size_of(request, MOST_BYTES)


async def read_request(request: web.Request, policy: Policy, large: asyncio.Lock) -> ModelRequest:
    """The request in the body.

    Args:
        request: of the pod.
        policy: what it may ask for.
        large: held while a large one is parsed.

    Raises:
        Refusal: too large, not JSON, or without what every request must have.
    """
    if request.query_string not in ("", "beta=true"):
        raise Refusal(403, "ModelRefused", f"POST /v1/messages?{request.query_string[:100]}: only beta=true")
    if "Content-Encoding" in request.headers:
        raise Refusal(415, "ModelRefused", "the request must not be compressed (Content-Encoding)")
    raw = await read_body(request, MOST_BYTES)
    require_parsable(raw)
    betas = request.headers.getall("anthropic-beta", [])
    if len(raw) <= _LARGE:
        return parse(raw, betas, policy)
    async with large:
        return await asyncio.to_thread(parse, raw, betas, policy)


def parse(raw: bytes, beta_headers: list[str], policy: Policy) -> ModelRequest:
    """The request in the bytes of a body.

    Raises:
        Refusal: 400, it is not JSON or lacks what every request must have.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "ModelRefused", f"the request is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refusal(400, "ModelRefused", "the request must be a JSON object")
    model, most, stream = body.get("model"), body.get("max_tokens"), body.get("stream", False)
    if not isinstance(model, str) or not model:
        raise Refusal(400, "ModelRefused", "model: a name is required")
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= _MOST_OUTPUT:
        raise Refusal(400, "ModelRefused", f"max_tokens: a number from 1 to {_MOST_OUTPUT} is required")
    if not isinstance(stream, bool):
        raise Refusal(400, "ModelRefused", "stream: must be true or false")
    betas = tuple(value.strip() for header in beta_headers for value in header.split(",") if value.strip())
    return ModelRequest(
        payload=orjson.dumps(body),
        faults=tuple(faults(body, betas, policy)),
        size=len(raw),
        betas=betas,
        model=model,
        max_tokens=most,
        stream=stream,
    )


def forwarded_headers(
    headers: Mapping[str, str], betas: tuple[str, ...], session: str, credential: Mapping[str, str]
) -> dict[str, str]:
    """The headers that go on: known ones with known values, and the credential."""
    kept = {
        name: value
        for name, pattern in _HEADERS.items()
        if (value := headers.get(name)) is not None and pattern.fullmatch(value)
    }
    kept.setdefault("anthropic-version", "2023-06-01")
    if betas:
        kept["anthropic-beta"] = ",".join(betas)
    return {
        **kept,
        "Content-Type": "application/json",
        "Accept": "application/json",
        # Compressed events would come late and could not be read on the way.
        "Accept-Encoding": "identity",
        "X-Claude-Code-Session-Id": session,
        **credential,
    }
