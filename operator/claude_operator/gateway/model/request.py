"""Reading a Messages API request, and writing the one that goes on. Pure but for the reading."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from claude_operator.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES: Final = 32 * 1024 * 1024
"""The Messages API's own limit."""
_PARSE_IN_THREAD: Final = 1024 * 1024
_BYTES_PER_TOKEN: Final = 2.5
"""Text and JSON have more bytes than that in a token; base64 images have far more."""
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
    """A request that can be read."""

    body: dict[str, Any]
    size: int
    betas: tuple[str, ...]
    model: str
    max_tokens: int
    stream: bool

    @property
    def input_tokens(self) -> int:
        """An upper estimate of the input."""
        return int(self.size / _BYTES_PER_TOKEN) + 1

    def encode(self) -> bytes:
        """The body that goes on: what was understood, once."""
        return orjson.dumps(self.body)


async def read_request(request: web.Request) -> ModelRequest:
    """The request in the body.

    Raises:
        Refusal: too large, not JSON, or without what every request must have.
    """
    if request.query_string not in ("", "beta=true"):
        raise Refusal(403, "ModelRefused", f"POST /v1/messages?{request.query_string[:100]}: only beta=true")
    if "Content-Encoding" in request.headers:
        raise Refusal(415, "ModelRefused", "the request must not be compressed (Content-Encoding)")
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refusal(413, "ModelRefused", f"the request exceeds {MOST_BYTES} bytes") from None
    if len(raw) > MOST_BYTES:
        raise Refusal(413, "ModelRefused", f"the request exceeds {MOST_BYTES} bytes")
    try:
        if len(raw) > _PARSE_IN_THREAD:
            body = await asyncio.to_thread(orjson.loads, raw)
        else:
            body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "ModelRefused", f"the request is not JSON: {error}") from None
    return parse(body, len(raw), request.headers.getall("anthropic-beta", []))


def parse(body: object, size: int, beta_headers: list[str]) -> ModelRequest:
    """The request in a JSON value.

    Raises:
        Refusal: 400, it lacks what every request must have.
    """
    if not isinstance(body, dict):
        raise Refusal(400, "ModelRefused", "the request must be a JSON object")
    model, most, stream = body.get("model"), body.get("max_tokens"), body.get("stream", False)
    if not isinstance(model, str) or not model:
        raise Refusal(400, "ModelRefused", "model: a name is required")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise Refusal(400, "ModelRefused", "max_tokens: a number above 0 is required")
    if not isinstance(stream, bool):
        raise Refusal(400, "ModelRefused", "stream: must be true or false")
    betas = tuple(value.strip() for header in beta_headers for value in header.split(",") if value.strip())
    return ModelRequest(body=body, size=size, betas=betas, model=model, max_tokens=most, stream=stream)


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
