"""A hostile upstream: one that reflects the credentials it was sent.

A gateway that adds a credential must not carry it back to the client, whatever
the upstream answers. So the stand-ins can repeat request headers in response
headers, in error texts and in what they answer; Basic credentials in the clear
too, since a search for the token alone would not find the encoded form.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Place = Literal["body", "headers", "error"]


class Echo(BaseModel):
    """Which request headers are reflected, and into what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    headers: tuple[str, ...] = ("authorization", "x-api-key")
    into: tuple[Place, ...] = ("body", "headers", "error")


def _as_echo(value: object) -> object:
    if value is True:
        return {}
    return None if value is False else value


EchoSetting = Annotated[Echo | None, BeforeValidator(_as_echo)]
"""As it is written: `true` is everything that an `Echo` does by default, `false` nothing."""


def echoed_headers(echo: Echo | None, headers: Mapping[str, str]) -> dict[str, str]:
    """The response headers with which `echo` answers `headers`."""
    if echo is None or "headers" not in echo.into:
        return {}
    return {f"x-echo-{name}": value for name, value in _reflected(echo, headers)}


def echoed_text(echo: Echo | None, place: Place, headers: Mapping[str, str]) -> str:
    """What `echo` appends to a text that is sent in `place`."""
    if echo is None or place not in echo.into:
        return ""
    return "".join(f" [echo {name}: {value}]" for name, value in _reflected(echo, headers))


def _reflected(echo: Echo, headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """`headers` must find names in any case, as aiohttp's do."""
    for name in echo.headers:
        if value := headers.get(name):
            yield name, value
            if clear := _decoded(value):
                yield f"{name}-decoded", clear


def _decoded(value: str) -> str:
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""
