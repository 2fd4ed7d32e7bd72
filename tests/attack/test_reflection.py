"""Hosts that send back the credential they were sent, in every form that a text may hold it in."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from claude_operator.gateway.model.sse import render
from claude_operator.gateway.scrub import Scrubber, forms
from tests.integration.gateway.conftest import MODEL_KEY
from tests.integration.gateway.test_model import request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.gateway.conftest import World

KEY = "sk-ant-api03-a/b+c d?e_0123456789ABCDEFGHIJ"
"""With characters that percent-encoding and the two alphabets of base64 treat differently."""


def every_form(key: str) -> dict[str, str]:
    """What a host could make of a key, by the name of the form."""
    header = f"authorization: Bearer {key}\r\n"
    found = {
        "plain": key,
        "percent": quote(key, safe=""),
        "basic": base64.b64encode(f"x:{key}".encode()).decode(),
    }
    for before in range(4):
        text = ("z" * before + header).encode()
        found[f"base64 {before}"] = base64.b64encode(text).decode()
        found[f"base64url {before}"] = base64.urlsafe_b64encode(text).decode()
    return found


def holds(text: str, key: str) -> bool:
    """Whether a thief who tries the usual decodings finds the key."""
    if key in text or quote(key, safe="") in text:
        return True
    for word in text.replace('"', " ").split():
        for start in range(4):
            piece = word[start : start + (len(word) - start) // 4 * 4]
            for alphabet in (b"+/", b"-_"):
                try:
                    if key.encode() in base64.b64decode(piece, altchars=alphabet):
                        return True
                except ValueError:
                    continue
    return False


@pytest.mark.parametrize("form", every_form(KEY))
def test_no_form_of_a_key_passes(form: str) -> None:
    text = f"you sent {every_form(KEY)[form]} to me"

    assert holds(text, KEY), "undefended"
    assert not holds(Scrubber(sorted(forms(KEY), key=len, reverse=True)).text(text), KEY)


async def mirror(received: web.Request) -> web.StreamResponse:
    """A model that says what it was sent: in headers, in texts, cut over deltas at every place."""
    key = received.headers["x-api-key"]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Request-Id": key})
    await response.prepare(received)
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": key, "role": "assistant", "content": [], "usage": usage}
    events: list[dict[str, object]] = [{"type": "message_start", "message": message}]
    for index, said in enumerate(every_form(key).values()):
        block = {"type": "text", "text": ""}
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        for at in (0, 1, len(said) // 2):
            pieces = [said[:at], said[at:]] if at > 1 else list(said) if at else [said]
            for piece in (" ", *pieces):
                delta = {"type": "text_delta", "text": piece}
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
    events.append({"type": "message_stop"})
    for event in events:
        await response.write(render(event))
    await response.write_eof()
    return response


@pytest.fixture
async def hostile() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/messages", mirror)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def said(stream: bytes) -> str:
    """The texts of a stream, joined as a client joins them, and the stream itself."""
    texts: dict[int, str] = {}
    for line in stream.decode().splitlines():
        if line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
            if data["type"] == "content_block_delta":
                texts[data["index"]] = texts.get(data["index"], "") + data["delta"]["text"]
    return stream.decode() + "\n".join(texts.values())


async def test_a_hostile_model_cannot_tell_the_pod_its_key(world: World, hostile: str) -> None:
    world.cluster.add_secret("mirror", hosts=hostile, apiKey=MODEL_KEY)
    world.change_model(upstreamURL=hostile, credentialsSecret="mirror")
    session, pod, _ = await world.claimed()
    async with aiohttp.ClientSession() as plain:
        headers = {"x-api-key": MODEL_KEY}
        async with plain.post(f"{hostile}/v1/messages", headers=headers) as answer:
            assert holds(said(await answer.read()), MODEL_KEY), "undefended"

    headers = {"Authorization": f"Bearer {pod.token()}"}
    async with world.http.post(f"{world.url}/v1/messages", json=request(), headers=headers) as answer:
        assert answer.status == 200
        seen = f"{answer.headers} {said(await answer.read())}"

    assert "*****" in seen
    assert not holds(seen, MODEL_KEY)
    assert not holds(json.dumps(await world.journal(session)), MODEL_KEY)
