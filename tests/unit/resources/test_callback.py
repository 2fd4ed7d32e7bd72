"""Every spelling of an address is read as the most lenient resolver would, and public hosts pass."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.resources.callback import CallbackRefusedError, check


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/done?x=1#y",
        "http://example.com:8080",
        "https://93.184.216.34/x",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/",
        "https://xn--bcher-kva.example/",
        "HTTPS://EXAMPLE.COM/",
        "https://1a.example.com/",
        "https://local.example.com/",
    ],
)
def test_public_hosts_pass(url: str) -> None:
    check(url)


def spelled(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> st.SearchStrategy[str]:
    """The ways in which resolvers of the world read an IPv4 address."""
    octets = list(address.packed)
    number = int(address)

    def written(value: int) -> st.SearchStrategy[str]:
        return st.sampled_from([str(value), hex(value), f"0{value:o}", f"0X{value:x}"])

    def joined(values: list[int]) -> st.SearchStrategy[str]:
        return st.tuples(*(written(value) for value in values)).map(".".join)

    return st.one_of(
        joined(octets),
        joined([number]),
        joined([octets[0], number & 0xFFFFFF]),
        joined([octets[0], octets[1], number & 0xFFFF]),
        st.just(f"[::ffff:{address}]"),
        st.just(f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]"),
        st.just(f"[64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}]"),
        st.just(f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]"),
    ).flatmap(lambda text: st.sampled_from([text] if text.endswith("]") else [text, f"{text}."]))


closed = st.sampled_from(
    [
        ipaddress.ip_network(one)
        for one in (
            "10.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "0.0.0.0/8",
        )
    ]
).flatmap(lambda network: st.ip_addresses(v=4, network=network))


@given(closed.flatmap(spelled), st.sampled_from(["http", "https"]))
def test_closed_addresses_are_refused_however_they_are_spelled(host: str, scheme: str) -> None:
    with pytest.raises(CallbackRefusedError, match="not a public address"):
        check(f"{scheme}://{host}/x")
    check(f"{scheme}://{host}/x", private=True)


@given(st.text(max_size=60))
def test_any_text_is_judged_without_another_error(text: str) -> None:
    for url in (text, f"https://{text}/", f"http://{text}"):
        with contextlib.suppress(CallbackRefusedError):
            check(url)
