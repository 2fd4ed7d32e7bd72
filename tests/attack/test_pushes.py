"""Pushes that a host would take and the gateway must not: behind the probe, byte by byte, framed twice."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from claude_operator.gateway.git.pktline import FLUSH, encode
from claude_operator.gateway.git.push import MOST_BYTES, PushReader, read_push
from tests.integration.gateway.conftest import GIT_TOKEN, client_context

if TYPE_CHECKING:
    from tests.integration.gateway.cluster import Pod
    from tests.integration.gateway.conftest import World

ZERO = "0" * 40
RECEIVE = "application/x-git-receive-pack-request"


def delete_main(world: World) -> bytes:
    """The commands of a push that deletes `main`."""
    main = world.branches()["refs/heads/main"]
    return encode(f"{main} {ZERO} refs/heads/main\0 report-status".encode()) + FLUSH


async def push_directly(world: World, body: bytes) -> str:
    """The same push, straight to the git host with the credential that the gateway holds."""
    login = base64.b64encode(f"x-access-token:{GIT_TOKEN}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": RECEIVE}
    url = f"{world.git.url.rstrip('/')}/acme/greetings.git/git-receive-pack"
    async with aiohttp.ClientSession() as plain, plain.post(url, data=body, headers=headers) as answer:
        return f"{answer.status} {await answer.text()}"


async def push(world: World, pod: Pod, body: bytes) -> tuple[int, str]:
    path = f"/git/{world.host}/acme/greetings.git/git-receive-pack"
    status, said = await world.ask(pod, "POST", path, data=body, **{"Content-Type": RECEIVE})
    return status, str(said)


async def test_nothing_travels_behind_the_probe(world: World) -> None:
    session, pod, _ = await world.claimed()
    hidden = FLUSH + delete_main(world)
    before = world.git.requests.last

    status, said = await push(world, pod, hidden)

    assert status == 403
    assert "a push without commands must be empty" in said
    assert "must be empty" in (await world.event(session, "push_refused"))["message"]
    assert world.git.requests.last == before, "the host was not even asked"
    assert (await push(world, pod, FLUSH))[0] == 200, "the probe itself goes through"
    assert "ok refs/heads/main" in await push_directly(world, delete_main(world)), "undefended: it is deleted"


def raw(path: str, headers: list[str], body: bytes, token: str) -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        f"Content-Type: {RECEIVE}",
        *headers,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: {length}", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: {length}"],
        ["Content-Length: +{length}"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Transfer-Encoding : chunked"],
        ["X: y\n Transfer-Encoding: chunked", "Content-Length: 4"],
    ],
    ids=lambda headers: " + ".join(headers).replace("\n", "LF").replace("\x0b", "VT"),
)
async def test_two_readings_of_one_request_are_refused(world: World, headers: list[str]) -> None:
    _, pod, _ = await world.claimed()
    path = f"/git/{world.host}/acme/greetings.git/git-receive-pack"
    # As chunks: the probe and an end, then a second request; by length: something else.
    smuggled = raw(path, [f"Content-Length: {len(delete_main(world))}"], delete_main(world), pod.token())
    body = b"4\r\n0000\r\n0\r\n\r\n" + smuggled
    before, main = world.git.requests.last, world.branches()["refs/heads/main"]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        world.gateway.ports.session,
        ssl=client_context(world.gateway),
        server_hostname="localhost",
    )
    request = raw(path, [line.format(length=len(body)) for line in headers], body, pod.token())
    writer.write(request)
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert int(head.split(b" ", 2)[1]) in (400, 401, 403, 501), head
    assert world.git.requests.last == before
    assert world.branches()["refs/heads/main"] == main


def test_a_push_that_comes_byte_by_byte_costs_no_more_than_at_once() -> None:
    command = encode(f"{'a' * 40} {'b' * 40} refs/heads/x\0 report-status".encode())
    # `shallow` lines are cheap to send and many fit.
    body = encode(b"shallow " + b"c" * 40) * 4000 + command
    begun = time.process_time()
    reader = PushReader()
    for index in range(len(body)):
        assert reader.feed(body[index : index + 1]) is None
    push = reader.feed(FLUSH)
    spent = time.process_time() - begun

    begun = time.process_time()
    for _ in range(20):
        read_push(body)
    anew = (time.process_time() - begun) / 20

    assert push == read_push(body + FLUSH)
    assert len(body) < MOST_BYTES
    assert anew * len(body) > 60, "undefended: begun anew with each byte, seconds of the gateway's CPU"
    assert spent < 5
