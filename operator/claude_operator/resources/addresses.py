"""Which IP addresses are public: one judgement for every place where an outsider may point a connection.

Private, loopback and link-local ranges are closed unless an administrator has opened them; the cloud's
metadata addresses stay closed to everyone. IPv6 forms that carry an IPv4 address are judged by that one.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

Address = IPv4Address | IPv6Address

METADATA: Final = (
    ip_network("169.254.0.0/16"),  # AWS, Azure, GCP, OpenStack
    ip_network("fd00:ec2::/32"),  # AWS over IPv6
    ip_network("100.100.100.200/32"),  # Alibaba
    ip_network("192.0.0.192/32"),  # Oracle
    ip_network("fe80::/10"),
)
_EMBEDDING: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
"""IPv6 forms that carry an IPv4 address to which a gateway or the kernel would translate."""


def plain(address: Address) -> Address:
    """The IPv4 address inside a mapped, translated or 6to4 one; else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        for network in _EMBEDDING:
            if address in network and int(address) > 1:
                return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def allowed(address: Address, networks: Iterable[IPv4Network | IPv6Network] = ()) -> bool:
    """Whether a connection to `address` is in order: public, or within `networks`."""
    real = plain(address)
    if any(real in network for network in networks if network.version == real.version):
        return not any(real in network for network in METADATA if network.version == real.version)
    return real.is_global and not real.is_multicast
