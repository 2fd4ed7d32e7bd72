"""Whether a URL may be called back, as far as its text tells. Pure: no lookup.

The gateway, which delivers the callback, judges the resolved address too: a name may change its mind. Here a
client gets its error at once, for every spelling of an address that some resolver would accept: decimal,
octal, hexadecimal, shortened, IPv6 with an IPv4 address inside. What several parsers read differently
(user info, backslashes, percent signs, non-ASCII) is refused outright.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

from claude_operator.resources.addresses import allowed

MAX_LENGTH: Final = 2000
_PLAIN: Final = re.compile(r"[!-~]+")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_INTERNAL: Final = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "svc", "in-addr.arpa")
"""Names of machines themselves, of clouds' metadata services and of clusters' services."""
_PARTS: Final = 4


class CallbackRefusedError(ValueError):
    """The URL may not be called back; the text says why."""


def check(url: str, *, private: bool = False) -> None:
    """Judge a URL.

    Args:
        url: what the client wants to be called.
        private: addresses and names within the cluster are in order too.

    Raises:
        CallbackRefusedError: it is not a URL, or it points where a client may not point.
    """
    if len(url) > MAX_LENGTH or not _PLAIN.fullmatch(url) or "\\" in url:
        raise CallbackRefusedError(
            f"must have at most {MAX_LENGTH} characters, all printable ASCII, no backslash"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise CallbackRefusedError(f"is not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not url.lower().startswith(("http://", "https://")):
        raise CallbackRefusedError("must begin with https:// or http://")
    if "@" in parts.netloc:
        raise CallbackRefusedError("must not hold a user name or password")
    if port == 0:
        raise CallbackRefusedError("has the port 0")
    address = _address(host, bracketed="[" in parts.netloc)
    if address is None:
        _check_name(host, private=private)
    elif not private and not allowed(address):
        raise CallbackRefusedError(f"points at {address}, which is not a public address")


def _address(host: str, *, bracketed: bool) -> IPv4Address | IPv6Address | None:
    """The address that `host` spells; None when it is a name."""
    if bracketed:
        try:
            return IPv6Address(host)
        except AddressValueError:
            raise CallbackRefusedError("holds something in brackets that is no IPv6 address") from None
    numbers = host.removesuffix(".").split(".")
    if not _NUMBER.fullmatch(numbers[-1]):
        return None
    # As inet_aton and every browser read it: up to four numbers, the last one fills what is left.
    if len(numbers) > _PARTS or not all(_NUMBER.fullmatch(one) for one in numbers):
        raise CallbackRefusedError("ends in a number, but is no IPv4 address")
    try:
        *high, low = [_number(one) for one in numbers]
    except ValueError:
        raise CallbackRefusedError("is no IPv4 address") from None
    room = 8 * (_PARTS - len(high))
    if any(one > 255 for one in high) or low >= 1 << room:  # noqa: PLR2004 - an octet
        raise CallbackRefusedError("is no IPv4 address")
    value = low
    for index, one in enumerate(high):
        value |= one << (8 * (_PARTS - 1 - index))
    return IPv4Address(value)


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if text.startswith("0") and len(text) > 1 else int(text)


def _check_name(host: str, *, private: bool) -> None:
    name = host.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):  # noqa: PLR2004 - DNS
        raise CallbackRefusedError("has no valid host name; write international names in their xn-- form")
    if private:
        return
    if (
        "." not in name
        or any(name == one or name.endswith(f".{one}") for one in _INTERNAL)
        or ".svc." in name
    ):
        raise CallbackRefusedError(f"names {name}, which is not a public host")
