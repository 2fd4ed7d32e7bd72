"""Bodies that grow in memory, or never end, or mean nothing: the gateway lives on for the others."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_operator.gateway.bodies import MOST_VALUES
from claude_operator.wire import session as wire

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import World

MIB = 1024 * 1024
BOMBS = {
    "lists": b"[" + b"[]," * (2 * MIB) + b"1]",
    "objects": b"[" + b'{"a":1},' * MIB + b"1]",
    "strings": b"[" + b'"ab",' * (2 * MIB) + b"1]",
    "numbers": b"[" + b"999," * (2 * MIB) + b"1]",
}
GROWTH = """
import sys, orjson
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
before, body = resident(), sys.stdin.buffer.read()
parsed = orjson.loads(body)
print((resident() - before - len(body)) / len(body))
"""
GROWS = 3
"""Times its own size: 32 MiB are allowed, eight at once, and the gateway has 1 GiB for everybody."""


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_body_that_explodes_when_it_is_parsed_is_refused_unparsed(world: World, bomb: str) -> None:
    _, pod, _ = await world.claimed()
    body = BOMBS[bomb]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GROWTH, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    grown, _ = await child.communicate(body)
    assert float(grown) > GROWS, "undefended: what the parsed body takes"

    message = b'{"model":"m","max_tokens":1,"messages":' + body + b"}"
    status, answer = await world.ask(pod, "POST", "/v1/messages", data=io.BytesIO(message))
    assert (status, answer["error"]["type"]) == (413, "request_too_large")
    assert f"more than {MOST_VALUES} brackets and commas" in answer["error"]["message"]
    small = b'{"events":[' + b"[]," * MIB + b"1]}"
    status, answer = await world.ask(pod, "POST", "/v1/session/events", data=io.BytesIO(small))
    assert status == 413
    assert "brackets and commas" in answer["message"]
    assert (await world.ask(pod, "GET", "/v1/session/inbox?after=0&wait=0"))[0] == 200


@pytest.mark.parametrize(
    "path",
    [wire.EVENTS_PATH, wire.RESULT_PATH, wire.CHECKPOINT_PATH, wire.ARTIFACTS_PATH, wire.PULL_REQUEST_PATH],
)
async def test_no_message_is_read_beyond_its_bound(world: World, path: str) -> None:
    _, pod, _ = await world.claimed()

    status, answer = await world.ask(pod, "POST", path, data=io.BytesIO(b" " * (5 * MIB)))

    assert (status, answer["reason"]) == (413, "TooLarge")


async def test_a_chunk_is_not_read_beyond_its_bound(world: World) -> None:
    _, pod, _ = await world.claimed()

    status, answer = await world.ask(
        pod, "PUT", f"{wire.BLOBS_PATH}/{'a' * 64}/0", data=io.BytesIO(b"x" * (2 * MIB))
    )

    assert (status, answer["reason"]) == (413, "TooLarge")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.sampled_from([0, 1, 2, -1, 2**31, 2**63 - 1, 2**63, 2**70]) | st.integers()
WORDS = st.sampled_from(["", "a" * 64, "main", "../x", "\0", "\ud800", "Completed", "cli.user"]) | st.text(
    max_size=20
)
DATA = st.dictionaries(st.text(max_size=8), JSON | NUMBERS, max_size=4)
EVENT = st.fixed_dictionaries({"seq": NUMBERS, "time": WORDS, "type": WORDS, "data": DATA})
BLOB = st.fixed_dictionaries({"sha256": st.just("a" * 64) | WORDS, "size": NUMBERS})
MESSAGES = {
    wire.EVENTS_PATH: st.fixed_dictionaries({"events": st.lists(EVENT, max_size=3)}),
    wire.RESULT_PATH: st.fixed_dictionaries(
        {"reason": st.just("Completed") | WORDS},
        optional={
            "message": WORDS,
            "summary": WORDS,
            "structuredOutput": DATA | JSON,
            "exitCode": NUMBERS,
            "turns": NUMBERS,
            "cpuSeconds": JSON,
        },
    ),
    wire.CHECKPOINT_PATH: st.fixed_dictionaries(
        {"transcript": BLOB}, optional={"bundle": BLOB, "commit": WORDS, "head": WORDS, "turns": NUMBERS}
    ),
    wire.ARTIFACTS_PATH: st.fixed_dictionaries({"path": WORDS, "blob": BLOB}),
    wire.PULL_REQUEST_PATH: st.fixed_dictionaries({"title": WORDS, "body": WORDS, "base": WORDS}),
}


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, object]:
    path = draw(st.sampled_from(sorted(MESSAGES)))
    return path, draw(MESSAGES[path] | JSON)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(message=messages())
async def test_no_message_of_a_pod_is_the_gateways_fault(world: World, message: tuple[str, object]) -> None:
    """Whatever is sent: accepted, or refused with words that say why; never an error of ours."""
    path, body = message
    if "fuzz" not in world.tokens:
        _, pod, _ = await world.claimed("fuzz")
        world.tokens["fuzz"] = pod.token()
    text = json.dumps(body)
    async with world.http.post(
        f"{world.url}{path}", data=text, headers={"Authorization": f"Bearer {world.tokens['fuzz']}"}
    ) as answer:
        said = await answer.text()
    assert answer.status < 500, (path, text, said)
    if answer.status >= 400:
        assert json.loads(said)["message"]
