"""The gateway's other pure rules: addresses, Secrets, redaction, the allow-list, event rates."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from claude_operator.gateway.addresses import AddressRefusedError, check, listed_allowed, lookup
from claude_operator.gateway.cluster import Secret
from claude_operator.gateway.credentials import CredentialError, origin, read
from claude_operator.gateway.journal import event_delay
from claude_operator.gateway.live import Grant, Live
from claude_operator.gateway.model.allow import Policy, faults
from claude_operator.gateway.model.fault import explain
from claude_operator.gateway.redaction import MASK, redact
from claude_operator.gateway.scrub import Scrubber
from claude_operator.gateway.tls import new_authority, renew, server_context, service_names
from claude_operator.gateway.wakeups import Wakeups
from claude_operator.resources.addresses import allowed
from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.session import SessionSpec


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::7f00:1",
    ],
)
def test_no_inner_address_is_public_in_any_disguise(address: str) -> None:
    assert not allowed(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "140.82.112.3", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert allowed(ip_address(address))


def test_the_metadata_addresses_stay_closed_whatever_is_opened() -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    for address in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "::ffff:169.254.169.254"):
        assert not allowed(ip_address(address), everything)
        assert not listed_allowed(ip_address(address))
    assert allowed(IPv4Address("10.0.0.1"), everything)
    assert listed_allowed(IPv4Address("127.0.0.1"))
    assert not allowed(IPv6Address("fd12::1"), [ip_network("10.0.0.0/8")])


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_what_it_is(address: IPv4Address) -> None:
    assert allowed(IPv6Address(f"::ffff:{address}")) == allowed(address)


async def test_a_name_is_only_as_good_as_its_addresses() -> None:
    with pytest.raises(AddressRefusedError, match=r"localhost is at .*a Secret must list the host"):
        check("localhost", await lookup("localhost", 443), listed=False)
    assert check("localhost", await lookup("localhost", 443), listed=True)
    with pytest.raises(AddressRefusedError, match="metadata"):
        check("x", [ip_address("169.254.169.254")], listed=True)
    with pytest.raises(OSError, match="can't be resolved"):
        await lookup("no-such-host.invalid", 443)


@pytest.mark.parametrize(
    ("entry", "url", "listed"),
    [
        ("github.com", "https://github.com/acme/x.git", True),
        ("github.com", "https://github.com:443/x", True),
        ("github.com", "http://github.com/x", False),
        ("github.com", "https://evil.github.com/x", False),
        ("github.com", "https://github.com.evil.example/x", False),
        ("github.com:8443", "https://github.com:8443/x", True),
        ("github.com:8443", "https://github.com/x", False),
        ("http://10.0.0.1:3000", "http://10.0.0.1:3000/x", True),
        ("http://10.0.0.1:3000", "https://10.0.0.1:3000/x", False),
        ("a.example, github.com\n", "https://github.com/x", True),
    ],
)
def test_a_secret_goes_to_the_hosts_that_it_lists(entry: str, url: str, listed: bool) -> None:
    secret = Secret("claude-operator.dev/credential", {"hosts": entry.encode(), "password": b"p" * 20})

    assert read("git", secret).lists(URL(url)) is listed


@pytest.mark.parametrize("entry", ["", "ftp://x", "https://me:pw@host", "host/path", "http://"])
def test_bad_hosts_are_named(entry: str) -> None:
    with pytest.raises(CredentialError, match="Secret git"):
        read("git", Secret("claude-operator.dev/credential", {"hosts": entry.encode()}))


def test_a_credential_does_not_show_itself() -> None:
    data = {"hosts": b"x.example", "apiKey": b"k" * 20, "password": b"p" * 20}
    credential = read("x", Secret("claude-operator.dev/credential", data))

    assert "kkk" not in repr(credential)
    assert "ppp" not in repr(credential)
    assert "ppp" not in repr(Secret("t", data))
    assert origin(URL("https://x.example:443")) == "x.example"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-" + "a" * 40,
        "ghp_" + "a" * 36,
        "ghs_" + "a" * 36,
        "github_pat_" + "a" * 40,
        "glpat-" + "a" * 20,
        "xoxb-1234567890-abc",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJlLXZhbHVl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_known_shapes_are_blotted_out_and_json_stays_json(secret: str) -> None:
    text = orjson.dumps({"before": "x", "inside": f"a {secret} b", "after": 'q"'}).decode()

    clean = redact(text)

    assert orjson.loads(clean) == {"before": "x", "inside": f"a {MASK} b", "after": 'q"'}


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=50) | st.booleans(), max_size=5))
def test_redaction_never_breaks_json(value: dict[str, Any]) -> None:
    orjson.loads(redact(orjson.dumps(value).decode()))


POLICY = Policy(models=frozenset({"m"}))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "content", "source", "role", "tools", "x"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from(["model", "messages", "system", "tools", "mcp_servers", "max_tokens", "x"]), JSON
    ),
    st.lists(st.text(max_size=10), max_size=3),
)
def test_any_request_is_judged_without_an_error(body: dict[str, Any], betas: list[str]) -> None:
    assert len(faults(body, betas, POLICY)) <= 10
    faults(body, betas, Policy(models=frozenset({"m"}), server_tools=True))


@given(st.text(min_size=1, max_size=20))
def test_no_unknown_field_and_no_unknown_block_passes(name: str) -> None:
    good: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert not faults(good, [], POLICY)
    if f"x-{name}" not in good:
        assert faults({**good, f"x-{name}": 1}, [], POLICY)
    block = {"role": "user", "content": [{"type": f"x-{name}"}]}
    assert faults({**good, "messages": [block]}, [], POLICY)
    assert faults(good, [f"x-{name}"], POLICY)


def test_nesting_has_an_end() -> None:
    content: Any = "x"
    for _ in range(50):
        content = [{"type": "tool_result", "content": content}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}

    assert "nested" in faults(body, [], POLICY)[0]


@pytest.mark.parametrize(
    ("status", "answered", "reason"),
    [
        (401, 403, Reason.MODEL_AUTH_FAILED),
        (302, 502, Reason.MODEL_REFUSED),
        (404, 404, Reason.MODEL_REFUSED),
        (503, 503, Reason.MODEL_OVERLOADED),
    ],
)
def test_an_upstream_s_page_is_not_relayed(status: int, answered: int, reason: Reason) -> None:
    fault = explain(status, b"<html>key k-secret-key</html>", secret="s", scrub=Scrubber([b"k-secret-key"]))

    assert (fault.status, fault.reason) == (answered, reason)
    assert b"html" not in fault.body()


def live() -> Live:
    return Live(
        Grant(
            namespace="n",
            name="s",
            session_uid="u",
            attempt=1,
            pod_uid="p",
            pod_name="p",
            project="default",
            spec=SessionSpec(repository="a/b", requirements="x"),
            claude_session_id="c",
            host="h",
            repository="a/b",
            publish_branch="x",
        )
    )


def test_a_pod_that_tells_too_much_is_slowed_to_its_rate() -> None:
    one = live()
    assert event_delay(one, 1000, now=0.0) == 0
    assert event_delay(one, 50, now=0.0) == pytest.approx(1.0)
    assert event_delay(one, 50, now=1.0) == pytest.approx(1.0)
    assert event_delay(one, 0, now=100.0) == 0


async def test_a_notification_between_look_and_wait_is_not_missed() -> None:
    wakeups = Wakeups()
    seen = wakeups.count("a")
    wakeups.notify("a")

    assert await wakeups.wait("a", seen, 0.01)
    assert not await wakeups.wait("a", wakeups.count("a"), 0.01)
    assert not wakeups._waiting


def test_a_server_certificate_can_be_renewed_in_place() -> None:
    authority = new_authority()
    names = service_names("ns", ["gateway.example", "192.0.2.1"])
    context = server_context(authority, names)

    renew(context, authority, names)

    assert "claude-gateway.ns.svc" in names
    assert "BEGIN CERTIFICATE" in authority.pem
