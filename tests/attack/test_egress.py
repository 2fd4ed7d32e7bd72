"""Even a host that the project lists is not connected to when it leads to the metadata service or inside."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from claude_operator.gateway.addresses import AddressRefusedError, lookup, require_public
from tests.attack.hostile import METADATA
from tests.integration.gateway.test_egress import connect

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import World

INSIDE = ("10.0.0.1", "192.168.1.1", "172.16.0.1", "0.0.0.0", "100.64.0.1", "224.0.0.1")
LISTABLE = tuple(one for one in METADATA if not one.startswith("[") and not one.endswith("."))


@pytest.mark.parametrize("host", METADATA)
async def test_no_spelling_of_the_metadata_address_is_taken_for_a_public_one(host: str) -> None:
    plain = host.strip("[]").rstrip(".")
    assert socket.getaddrinfo(plain, 443), "undefended: the resolver takes it"

    addresses = await lookup(plain, 443)

    assert addresses
    with pytest.raises(AddressRefusedError, match="not a public address"):
        require_public(plain, addresses)


@pytest.mark.parametrize("host", [*LISTABLE, *INSIDE])
async def test_a_listed_host_that_leads_inside_is_refused_and_on_record(world: World, host: str) -> None:
    session, pod, _ = await world.claimed()
    world.change_project(egress={"hosts": [host]})

    status, body, _, writer = await connect(world, pod, f"{host}:443")

    writer.close()
    assert status == 403
    assert "not a public address" in body
    assert "not a public address" in (await world.event(session, "egress_refused"))["message"]


async def test_what_an_administrator_has_opened_is_reached(world: World) -> None:
    """The counterpart: the tests' world has 127.0.0.0/8 opened, and there the same request goes through."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, pod, _ = await world.claimed()
    world.change_project(egress={"hosts": [f"127.0.0.1:{port}"]})

    status, _, _, writer = await connect(world, pod, f"127.0.0.1:{port}")

    writer.close()
    server.close()
    assert status == 200
