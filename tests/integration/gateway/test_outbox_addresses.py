"""Where a callback may lead, at the delivery itself: every way to point it inside, tried on real sockets.

`trap` is a receiver on loopback that no Secret lists: whatever reaches it has got inside.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
import pytest

from tests.integration.gateway.receiver import Receiver, receiving
from tests.integration.gateway.test_outbox import KEY, ended, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.integration.gateway.conftest import World

PUBLIC = "93.184.215.14"


@pytest.fixture
async def trap() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


class Names:
    """A resolver whose answers change with every question, and what was connected to on one port."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
        self._port = port
        self.answers: list[list[str]] = []
        self.questions = 0
        self.connected: list[str] = []
        self._real = asyncio.get_running_loop().getaddrinfo
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._resolve)
        self._start = aiohappyeyeballs.start_connection
        monkeypatch.setattr(aiohappyeyeballs, "start_connection", self._connect)

    async def _resolve(self, host: Any, port: Any, **more: Any) -> Any:
        if host != "hooks.example.com":
            return await self._real(host, port, **more)
        answer = self.answers[min(self.questions, len(self.answers) - 1)]
        self.questions += 1
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in answer
        ]

    async def _connect(self, addr_infos: Sequence[Any], **more: Any) -> socket.socket:
        found = [info[4][0] for info in addr_infos if info[4][1] == self._port]
        self.connected += found
        if PUBLIC in found:
            raise OSError("nothing leaves this machine")
        return await self._start(addr_infos, **more)


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch, trap: Receiver) -> Names:
    return Names(monkeypatch, trap.port)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:PORT/",
        "http://2130706433:PORT/",
        "http://0x7f000001:PORT/",
        "http://0x7f.1:PORT/",
        "http://0177.0.0.1:PORT/",
        "http://127.1:PORT/",
        "http://127.0.0.1.:PORT/",
        "http://0.0.0.0:PORT/",
        "http://0:PORT/",
        "http://[::1]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://[::ffff:7f00:1]:PORT/",
        "http://[::127.0.0.1]:PORT/",
        "http://[64:ff9b::127.0.0.1]:PORT/",
        "http://localhost:PORT/",
        "http://LOCALHOST.:PORT/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://kubernetes.default.svc/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://hooks.example.com@127.0.0.1:PORT/",
        "http://127.0.0.1:PORT\\@hooks.example.com/",
        "http://127.0.0.%31:PORT/",
        "http://127。0。0。1:PORT/",
        "ftp://127.0.0.1:PORT/",
        "http://127.0.0.1:99999/",
        "http://[127.0.0.1]:PORT/",
    ],
)
async def test_no_text_of_a_url_leads_inside(world: World, trap: Receiver, url: str) -> None:
    session = await ended(world, url.replace("PORT", str(trap.port)), secret=None)

    record = await settled(world, session)

    assert record["state"] == "given_up", record
    assert record["fault"].startswith("the URL "), record
    assert record["tries"] == 1
    assert not trap.calls


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "169.254.169.254",
        "fd00:ec2::254",
        "10.0.0.1",
        "0.0.0.0",
        "fe80::1",
        "224.0.0.1",
    ],
)
async def test_no_name_leads_inside(world: World, trap: Receiver, names: Names, address: str) -> None:
    names.answers = [[address]]
    session = await ended(world, f"http://hooks.example.com:{trap.port}/", secret=None)

    assert "not a public address" in (await world.event(session, "notify_failed"))["message"]
    assert not trap.calls
    assert not names.connected


async def test_a_name_that_changes_its_mind_is_asked_once_for_each_try(
    world: World, trap: Receiver, names: Names
) -> None:
    """Rebinding: public when it is looked at, loopback when it is asked again."""
    names.answers = [[PUBLIC], ["127.0.0.1"], [PUBLIC], ["127.0.0.1"]]
    session = await ended(world, f"http://hooks.example.com:{trap.port}/", secret=None)

    record = await settled(world, session)

    assert record["state"] == "given_up"
    assert names.questions == record["tries"]
    assert set(names.connected) == {PUBLIC}
    assert not trap.calls


async def test_of_mixed_addresses_only_the_public_ones_are_tried(
    world: World, trap: Receiver, names: Names
) -> None:
    names.answers = [["127.0.0.1", PUBLIC, "::1"]]
    session = await ended(world, f"http://hooks.example.com:{trap.port}/", secret=None)
    assert (await settled(world, session))["state"] == "given_up"
    assert set(names.connected) == {PUBLIC}
    assert not trap.calls


async def test_a_listed_name_is_connected_to_where_it_was_found(
    world: World, trap: Receiver, names: Names
) -> None:
    world.cluster.add_secret("hook", hosts=f"http://hooks.example.com:{trap.port}", signingKey=KEY)
    names.answers = [["127.0.0.1"], ["169.254.169.254"]]
    await ended(world, f"http://hooks.example.com:{trap.port}/")
    await trap.called()
    assert (names.questions, names.connected) == (1, ["127.0.0.1"])


async def test_no_secret_opens_the_metadata_address(world: World, trap: Receiver, names: Names) -> None:
    origin = f"http://hooks.example.com:{trap.port}"
    world.cluster.add_secret("hook", hosts=origin, signingKey=KEY)
    names.answers = [["169.254.169.254"]]
    session = await ended(world, f"{origin}/latest/meta-data/")
    assert "metadata address" in (await world.event(session, "notify_failed"))["message"]
    assert not names.connected


async def test_a_git_or_model_secret_opens_nothing_to_callbacks(world: World) -> None:
    """Whoever may create sessions can name any Secret of the namespace: only `signingKey` makes one count."""
    url = f"{world.git.url}/acme/greetings.git/git-receive-pack"
    session = await ended(world, url, secret="git")
    assert "is missing" in (await world.event(session, "notify_failed"))["message"]
    assert world.git.requests.last == 0
