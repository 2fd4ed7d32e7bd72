"""Which addresses a connection may go to.

A name is resolved once, here, and the connection goes to exactly the address that was looked at: a second
lookup could be answered differently (DNS rebinding). Private, loopback and link-local ranges are closed
unless an administrator has opened them: for upstreams by the Secret that lists the host, for CONNECT by
the installation's networks. The cloud's metadata addresses stay closed to both.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from claude_operator.resources.addresses import METADATA, Address, allowed, plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

_RESOLVE_SECONDS: Final = 10


class AddressRefusedError(OSError):
    """No address of this host may be connected to; the text names host and address."""


def listed_allowed(address: Address) -> bool:
    """Whether a host that a Secret lists may have this address: all but the metadata services'."""
    real = plain(address)
    return not any(real in network for network in METADATA if network.version == real.version)


async def lookup(host: str, port: int) -> list[Address]:
    """The addresses of `host`.

    Raises:
        OSError: it has none, or the lookup took too long.
    """
    try:
        return [ip_address(host)]
    except ValueError:
        pass
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise OSError(f"the name {host} was not resolved within {_RESOLVE_SECONDS} s") from None
    except socket.gaierror as error:
        raise OSError(f"the name {host} can't be resolved: {error.strerror}") from error
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def require_public(
    host: str, addresses: Iterable[Address], networks: Iterable[IPv4Network | IPv6Network] = ()
) -> list[Address]:
    """The addresses that may be used.

    Raises:
        AddressRefusedError: there is none.
    """
    addresses, networks = list(addresses), list(networks)
    good = [address for address in addresses if allowed(address, networks)]
    if not good:
        shown = ", ".join(str(address) for address in addresses)
        raise AddressRefusedError(f"{host} is at {shown}, which is not a public address")
    return good


class CheckedResolver(AbstractResolver):
    """aiohttp's resolver, with the check between lookup and connection."""

    def __init__(self, *, listed: bool) -> None:
        self._listed = listed

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = check(host, await lookup(host, port), listed=self._listed)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,  # noqa: PLR2004 - IP
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    @override
    async def close(self) -> None:
        return


def check(host: str, addresses: Iterable[Address], *, listed: bool) -> list[Address]:
    """The addresses that an upstream connection may use.

    Args:
        host: for the message.
        addresses: what it resolves to.
        listed: whether a Secret lists the host.

    Raises:
        AddressRefusedError: there is none.
    """
    addresses = list(addresses)
    if not listed:
        try:
            return require_public(host, addresses)
        except AddressRefusedError as error:
            raise AddressRefusedError(f"{error}; a Secret must list the host in `hosts`") from None
    good = [address for address in addresses if listed_allowed(address)]
    if not good:
        raise AddressRefusedError(f"{host} is at a metadata address, which is never connected to")
    return good
