"""The scripted Messages API over a real connection: keys, faults, records, totals."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.world import Delay, Drop, Echo, Error, ModelServer, Script, Step, ToolCall, Usage, inline
from tests.world.sse import assemble, parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pydantic import JsonValue

KEY = "sk-ant-test"
HEADERS = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
DEADLINE_SECONDS = 10


@asynccontextmanager
async def world(echo: Echo | None = None) -> AsyncIterator[tuple[ModelServer, aiohttp.ClientSession]]:
    async with (
        ModelServer(keys=[KEY], echo=echo) as server,
        aiohttp.ClientSession(server.url, headers=HEADERS) as client,
    ):
        yield server, client


def body(
    *steps: Step, stream: bool = False, model: str = "claude-x", session: str = "s1"
) -> dict[str, JsonValue]:
    script = Script(id="test", steps=steps, plays_without_tools=True)
    return {
        "model": model,
        "max_tokens": 100,
        "stream": stream,
        "metadata": {"user_id": session},
        "messages": [{"role": "user", "content": f"Please. {inline(script)}"}],
    }


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the server tells nobody that a client has left
            await asyncio.sleep(0.005)


async def read_into(
    received: bytearray, client: aiohttp.ClientSession, request: dict[str, JsonValue]
) -> None:
    async with client.post("/v1/messages", json=request) as response:
        async for block in response.content.iter_any():
            received += block


async def test_the_stream_holds_the_same_answer_as_the_single_piece() -> None:
    usage = Usage(input_tokens=3, output_tokens=4, cache_read_input_tokens=5, cache_creation_input_tokens=6)
    step = Step(
        thinking="hm",
        text=("Grüße 🎉",),
        tools=(ToolCall(name="Bash", input={"command": "ls"}),),
        usage=usage,
    )
    async with world() as (server, client):
        async with client.post("/v1/messages?beta=true", json=body(step)) as response:
            whole = await response.json()
        async with client.post("/v1/messages?beta=true", json=body(step, stream=True)) as response:
            assert response.content_type == "text/event-stream"
            streamed = assemble(parse(await response.read()))
        assert response.headers["request-id"]

        def without_ids(message: dict[str, JsonValue]) -> dict[str, JsonValue]:
            content = message["content"]
            assert isinstance(content, list)
            blocks = [{**block, "id": ""} for block in content if isinstance(block, dict)]
            return {**message, "id": "", "content": [*blocks]}

        assert without_ids(streamed) == without_ids(whole)
        assert streamed["id"] != whole["id"]
        # Both were sent in full, so both count, to the token.
        assert server.totals.json()["scripts"] == {
            "test": {
                "requests": 2,
                "answered": 2,
                "input_tokens": 6,
                "output_tokens": 8,
                "cache_read_input_tokens": 10,
                "cache_creation_input_tokens": 12,
            }
        }


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"x-api-key": KEY}, 200, None),
        ({"Authorization": f"Bearer {KEY}"}, 200, None),
        ({"x-api-key": "wrong"}, 401, "authentication_error"),
        ({"Authorization": f"Basic {KEY}"}, 401, "authentication_error"),
        ({}, 401, "authentication_error"),
        ({"x-api-key": KEY, "anthropic-version": ""}, 400, "invalid_request_error"),
    ],
)
async def test_the_key_is_checked(headers: dict[str, str], status: int, kind: str | None) -> None:
    async with ModelServer(keys=[KEY]) as server, aiohttp.ClientSession(server.url) as client:
        sent = {name: value for name, value in ({"anthropic-version": "1"} | headers).items() if value}
        async with client.post("/v1/messages", json=body(Step(text=("hi",))), headers=sent) as response:
            answer = await response.json()
        assert response.status == status
        assert answer.get("error", {}).get("type") == kind


async def test_anything_but_messages_is_refused_and_recorded() -> None:
    async with world() as (server, client):
        async with client.get("/v1/models?x=1") as response:
            assert response.status == 404
            assert (await response.json())["error"]["type"] == "not_found_error"
        (record,) = server.requests.since()
        assert (record.method, record.path, record.query, record.outcome) == (
            "GET",
            "/v1/models",
            "x=1",
            "refused",
        )


async def test_a_body_beyond_the_api_limit_is_refused() -> None:
    async with (
        world() as (_, client),
        client.post("/v1/messages", data=io.BytesIO(b"x" * (33 << 20))) as response,
    ):
        assert response.status == 413
        assert (await response.json())["error"]["type"] == "request_too_large"


async def test_an_error_strikes_so_often_for_each_session_and_then_the_step_answers() -> None:
    step = Step(
        text=("at last",), error=Error(status=529, times=2, message="busy", headers={"retry-after": "1"})
    )
    async with world() as (_, client):
        for session in ("s1", "s2"):
            statuses = []
            for _ in range(4):
                async with client.post("/v1/messages", json=body(step, session=session)) as response:
                    answer = await response.json()
                    statuses.append(response.status)
                    if response.status == 529:
                        assert answer["error"] == {"type": "overloaded_error", "message": "busy"}
                        assert response.headers["retry-after"] == "1"
            assert statuses == [529, 529, 200, 200]


async def test_an_error_can_be_one_model_s_alone() -> None:
    step = Step(text=("hi",), error=Error(status=529, models=("claude-x",)))
    async with world() as (_, client):
        for model, status in (("claude-x", 529), ("claude-y", 200), ("claude-x", 529)):
            async with client.post("/v1/messages", json=body(step, model=model)) as response:
                assert response.status == status


async def test_an_error_can_come_in_mid_stream() -> None:
    step = Step(text=("hello there",), error=Error(status=529, after_events=3))
    async with world() as (server, client):
        async with client.post("/v1/messages", json=body(step, stream=True)) as response:
            events = parse(await response.read())
        assert [event.name for event in events] == ["message_start", "content_block_start", "ping", "error"]
        (record,) = server.requests.since()
        assert (record.status, record.outcome) == (200, "refused")


async def test_a_dropped_stream_ends_after_its_events_and_counts_only_its_beginning() -> None:
    step = Step(
        text=("a long enough text",),
        usage=Usage(input_tokens=7, output_tokens=90),
        drop=Drop(after_events=4, times=1),
    )
    async with world() as (server, client):
        received = bytearray()
        with pytest.raises(aiohttp.ClientPayloadError):
            await read_into(received, client, body(step, stream=True))
        assert len(parse(bytes(received))) == 4
        assert server.totals.json()["total"] == {
            "requests": 1,
            "dropped": 1,
            "input_tokens": 7,
            "output_tokens": 1,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        }
        # The repetition without streaming, and the retry, succeed.
        for stream in (False, True):
            async with client.post("/v1/messages", json=body(step, stream=stream)) as response:
                assert response.status == 200
                await response.read()
        assert server.totals.total["output_tokens"] == 181


async def test_a_connection_can_be_cut_before_it_answers() -> None:
    step = Step(text=("x",), drop=Drop(after_events=0, times=1))
    async with world() as (server, client):
        with pytest.raises(aiohttp.ClientError):
            async with client.post("/v1/messages", json=body(step)):
                pass
        assert [record.outcome for record in server.requests.since()] == ["dropped"]


async def test_a_fault_behind_the_end_of_the_stream_is_an_error_of_the_script() -> None:
    async with world() as (_, client):
        step = Step(text=("x",), drop=Drop(after_events=99))
        async with client.post("/v1/messages", json=body(step, stream=True)) as response:
            assert response.status == 400
            assert (
                "drop.after_events is 99, but the stream of this step has 7 events" in await response.text()
            )


async def test_a_client_that_leaves_early_is_counted() -> None:
    step = Step(text=("x",), delay=Delay(stall=60, stall_after_events=2))
    async with world() as (server, client):
        async with client.post("/v1/messages", json=body(step, stream=True)) as response:
            await response.content.readuntil(b"content_block_start")
            response.close()
        await until(lambda: server.totals.total["hung_up"] == 1)
        (record,) = server.requests.since()
        assert (record.outcome, record.details["script"]) == ("hung_up", "test")
        assert record.seconds < DEADLINE_SECONDS


async def test_delays_hold_back_the_first_byte_and_the_events() -> None:
    step = Step(text=("abc",), delay=Delay(before=0.1, between=0.05))
    async with world() as (server, client):
        async with client.post("/v1/messages", json=body(step, stream=True)) as response:
            await response.read()
        (record,) = server.requests.since()
        assert record.seconds >= 0.1 + 6 * 0.05


@pytest.mark.parametrize("stream", [False, True])
async def test_an_echoing_model_reflects_what_it_was_sent(stream: bool) -> None:
    async with world(Echo()) as (_, client):
        async with client.post("/v1/messages", json=body(Step(text=("hi",)), stream=stream)) as response:
            assert response.headers["x-echo-x-api-key"] == KEY
            message = assemble(parse(await response.read())) if stream else await response.json()
        assert KEY in json.dumps(message["content"])
        async with client.post("/v1/messages", json=body(Step(error=Error(status=500)))) as response:
            assert KEY in await response.text()
        async with client.post(
            "/v1/messages", data=b"{", headers={"Authorization": "Bearer other"}
        ) as response:
            assert "Bearer other" in await response.text()


async def test_a_step_can_choose_what_it_reflects() -> None:
    step = Step.model_validate({"text": "hi", "echo": {"headers": ["x-api-key"], "into": ["headers"]}})
    async with world() as (_, client), client.post("/v1/messages", json=body(step)) as response:
        assert response.headers["x-echo-x-api-key"] == KEY
        assert KEY not in await response.text()


async def test_an_error_can_have_a_body_of_its_own() -> None:
    async with world() as (_, client):
        step = Step(error=Error(status=502, body="<html>Bad gateway</html>"))
        async with client.post("/v1/messages", json=body(step)) as response:
            assert (response.status, response.content_type) == (502, "text/html")
            assert await response.text() == "<html>Bad gateway</html>"


async def test_the_records_are_told_to_those_who_hold_the_control_token() -> None:
    async with world() as (server, client):
        for number in range(3):
            async with client.post("/v1/messages", json=body(Step(text=("x",)), session=f"s{number}")):
                pass
        async with client.get("/_requests", headers={"Authorization": f"Bearer {KEY}"}) as response:
            assert response.status == 401
            assert KEY not in await response.text()
        control = {"Authorization": f"Bearer {server.control_token}"}
        async with client.get("/_requests?since=1", headers=control) as response:
            told = await response.json()
        assert [record["session"] for record in told["requests"]] == ["s1", "s2"]
        latest = told["requests"][-1]
        assert latest["headers"]["x-api-key"] == KEY
        assert latest["body"]["model"] == "claude-x"
        assert (latest["status"], latest["script"], latest["step"]) == (200, "test", 0)
        assert latest["usage"]["output_tokens"] == 20
        async with client.get("/_usage", headers=control) as response:
            usage = await response.json()
        assert usage["total"]["input_tokens"] == 300
        assert usage["sessions"]["s2"]["input_tokens"] == 100
        async with client.delete("/_requests", headers=control) as response:
            assert response.status == 204
        async with client.get("/_requests", headers=control) as response:
            assert await response.json() == {"requests": [], "first": 4, "last": 3}


async def test_many_streams_at_once_keep_their_own_scripts() -> None:
    async with world() as (server, client):

        async def one(number: int) -> None:
            step = Step(text=(f"answer {number}",), usage=Usage(input_tokens=number, output_tokens=1))
            async with client.post(
                "/v1/messages", json=body(step, stream=True, session=f"s{number}")
            ) as response:
                message = assemble(parse(await response.read()))
            assert message["content"] == [{"type": "text", "text": f"answer {number}"}]

        await asyncio.gather(*(one(number) for number in range(100)))
        assert server.totals.total["input_tokens"] == sum(range(100))
        assert {name: counts["input_tokens"] for name, counts in server.totals.sessions.items()} == {
            f"s{number}": number for number in range(100)
        }
