"""The model through the gateway: passed on as it comes, counted to the token, stopped at the caps."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.integration.gateway.conftest import MODEL_KEY, World, open_world, restarted
from tests.world.echo import Echo
from tests.world.markers import inline
from tests.world.script import CacheCreation, Delay, Drop, Error, Script, Step, ToolCall, Usage
from tests.world.sse import assemble, parse

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.gateway.cluster import Session
    from tests.integration.gateway.cluster import Pod

MESSAGES = "/v1/messages?beta=true"
SONNET = "claude-sonnet-5-5"
TOOL = {"name": "Bash", "description": "run", "input_schema": {"type": "object"}}


def request(*steps: Step, stream: bool = True, **changes: Any) -> dict[str, Any]:
    """A request whose prompt holds the script of its answer."""
    prompt = inline(Script(steps=steps or (Step(text=("Hello.",)),)))
    return {
        "model": SONNET,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": prompt}],
        "tools": [TOOL],
        "stream": stream,
        **changes,
    }


async def send(world: World, pod: Pod, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
    return await world.ask(pod, "POST", MESSAGES, json=body, **headers)


async def settled(world: World, session: Session, turns: int = 1) -> dict[str, Any]:
    """The session's usage once so many responses are booked."""
    async with asyncio.timeout(20):
        while True:
            usage: dict[str, Any] = (await world.record(session))["usage"]
            if usage["turns"] >= turns or usage["estimated"]:
                return usage
            await asyncio.sleep(0.01)


async def test_a_stream_arrives_as_the_model_sent_it(world: World) -> None:
    _, pod, _ = await world.claimed()
    step = Step(
        thinking="Hm.", text=("Ünïcode 🎉 " * 20,), tools=(ToolCall(name="Bash", input={"command": "ls"}),)
    )

    status, text = await send(world, pod, request(step))
    direct: Any = assemble(parse(text.encode()))

    assert status == 200
    assert [block["type"] for block in direct["content"]] == ["thinking", "text", "tool_use"]
    assert direct["content"][1]["text"] == "Ünïcode 🎉 " * 20
    assert direct["content"][2]["input"] == {"command": "ls"}


async def test_cost_and_tokens_are_exact(world: World) -> None:
    session, pod, _ = await world.claimed()
    usage = Usage(
        input_tokens=1234,
        output_tokens=567,
        cache_read_input_tokens=8901,
        cache_creation_input_tokens=300,
        cache_creation=CacheCreation(ephemeral_5m_input_tokens=100, ephemeral_1h_input_tokens=200),
    )
    # Only the output is repeated in message_delta, as the older API did, and then everything.
    for delta in ("output", "full"):
        assert (await send(world, pod, request(Step(text=("a",), usage=usage, delta_usage=delta))))[0] == 200
    assert (await send(world, pod, request(Step(text=("a",), usage=usage), stream=False)))[0] == 200

    record = await world.record(session)

    # $2 input, $10 output, $0.1 cache read, $2.5 and $4 cache writes per million tokens.
    cost = (1234 * 2 + 567 * 10 + 8901 * 0.1 + 100 * 2.5 + 200 * 4) / 1e6
    assert record["usage"] == {
        "inputTokens": 3 * 1234,
        "outputTokens": 3 * 567,
        "cacheReadInputTokens": 3 * 8901,
        "cacheCreationInputTokens": 3 * 300,
        "costUSD": pytest.approx(3 * cost, abs=5e-7),
        "turns": 3,
        "estimated": False,
    }
    assert record["attempts"][0]["usage"] == record["usage"]
    totals = world.model.totals.total
    assert record["usage"]["inputTokens"] == totals["input_tokens"]
    assert record["usage"]["outputTokens"] == totals["output_tokens"]


async def test_only_known_headers_and_the_real_key_go_on(world: World) -> None:
    session, pod, _ = await world.claimed()
    await send(
        world,
        pod,
        request(),
        **{
            "x-api-key": "dummy",
            "x-evil": "1",
            "User-Agent": "claude-cli/2.1.330 (external, sdk-cli)",
            "anthropic-beta": "claude-code-20250219,effort-2025-11-24",
            "cookie": "a=b",
        },
    )

    (record,) = world.model.requests.since()
    assert record.headers["x-api-key"] == MODEL_KEY
    assert record.headers["user-agent"].startswith("claude-cli/2.1.330")
    assert record.headers["anthropic-beta"] == "claude-code-20250219,effort-2025-11-24"
    assert record.headers["x-claude-code-session-id"] == session.uid
    assert not {"authorization", "x-evil", "cookie"} & set(record.headers)
    assert pod.token() not in json.dumps(record.headers)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "claude-haiku-4-5"}, "claude-haiku-4-5"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"tools": [{"type": "code_execution_20250825", "name": "x"}]}, "code_execution_20250825"),
        ({"mcp_servers": [{"type": "url", "url": "https://evil.example", "name": "x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"inference_geo": "us"}, "inference_geo"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "source": {"type": "url", "url": "https://evil.example/?leak"}}
                        ],
                    }
                ]
            },
            "messages.0.content.0.source",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "t",
                                "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}],
                            }
                        ],
                    }
                ]
            },
            "messages.0.content.0.content.0.source",
        ),
        (
            {
                "messages": [
                    {
                        "role": "system",
                        "content": [
                            {"type": "tool_addition", "tool": {"type": "web_fetch_20250910", "name": "w"}}
                        ],
                    }
                ]
            },
            "web_fetch_20250910",
        ),
    ],
)
async def test_what_could_carry_data_out_is_refused(world: World, changes: dict[str, Any], says: str) -> None:
    session, pod, _ = await world.claimed()

    status, body = await send(world, pod, request(**changes))

    assert (status, body["error"]["type"]) == (403, "permission_error")
    assert says in body["error"]["message"]
    assert says in (await world.event(session, "model_refused"))["message"]
    assert world.model.requests.last == 0


async def test_unknown_beta_values_and_other_paths_are_refused(world: World) -> None:
    _, pod, _ = await world.claimed()

    status, body = await send(world, pod, request(), **{"anthropic-beta": "files-api-2025-04-14"})
    assert status == 403
    assert "files-api-2025-04-14" in body["error"]["message"]
    for method, path in (
        ("POST", "/v1/messages/count_tokens"),
        ("GET", "/v1/messages"),
        ("POST", "/v1/files"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/messages?beta=false"),
    ):
        answer, _ = await world.ask(pod, method, path, json=request())
        assert answer in (403, 404, 405), path
    assert world.model.requests.last == 0


async def test_the_project_can_open_server_tools(world: World) -> None:
    world.change_model(serverTools=True)
    _, pod, _ = await world.claimed()

    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    assert (await send(world, pod, request(tools=[*tools, TOOL])))[0] == 200


async def test_the_cap_is_never_exceeded_by_more_than_one_response(world: World) -> None:
    each = Usage(input_tokens=0, output_tokens=1000)  # one cent
    session, pod, _ = await world.claimed(limits={"maxCostUSD": 0.055})
    bodies = [request(Step(text=("a",), usage=each)) for _ in range(20)]

    answers = await asyncio.gather(*(send(world, pod, body) for body in bodies))

    statuses = sorted(status for status, _ in answers)
    assert statuses == [200] * 6 + [403] * 14
    usage = (await world.record(session))["usage"]
    assert usage["costUSD"] == pytest.approx(0.06)
    refused = next(body for status, body in answers if status == 403)
    assert "maxCostUSD" in refused["error"]["message"]
    attempt = await world.verdict(session, lambda verdict: verdict == "BudgetExceeded")
    assert "maxCostUSD" in attempt["verdictMessage"]
    await world.close_attempt(session)
    status, body = await world.claim(world.cluster.add_pod(session, attempt=2))
    assert (status, body["reason"]) == (409, "BudgetExceeded")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"maxTurns": 2}, "MaxTurns"), ({"maxTokens": 200}, "BudgetExceeded")],
)
async def test_turns_and_tokens_are_capped(world: World, limits: dict[str, int], reason: str) -> None:
    session, pod, _ = await world.claimed(limits=limits)
    answers = [(await send(world, pod, request()))[0] for _ in range(3)]

    assert answers == [200, 200, 403]
    await world.verdict(session, lambda verdict: verdict == reason)


async def test_the_project_s_budget_holds_over_its_sessions(world: World) -> None:
    world.change_project(budgets={"dailyUSD": 0.015})
    each = Usage(input_tokens=0, output_tokens=1000)
    pods = [(await world.claimed(f"s{number}"))[1] for number in range(3)]

    statuses = [(await send(world, pod, request(Step(text=("a",), usage=each))))[0] for pod in pods]

    assert statuses == [200, 200, 403]
    status, body = await world.claim(world.cluster.add_pod(world.cluster.add_session("late")))
    assert (status, body["reason"]) == (409, "BudgetExceeded")


async def test_a_model_without_a_price_is_refused_under_a_cap_only(world: World) -> None:
    world.change_model(allowed=["in-house"])
    _, capped, _ = await world.claimed("capped", limits={"maxCostUSD": 1})
    free_session, free, _ = await world.claimed("free")

    status, body = await send(world, capped, request(model="in-house"))
    assert status == 403
    assert "model.prices" in body["error"]["message"]
    assert (await send(world, free, request(model="in-house")))[0] == 200
    assert (await world.record(free_session))["usage"]["costUSD"] == 0

    world.change_model(
        allowed=["in-house"],
        prices=[{"model": "in-house", "input": 1, "output": 2, "cacheRead": 0.1, "cacheWrite": 1}],
    )
    assert (await send(world, capped, request(model="in-house")))[0] == 200


async def test_a_client_that_hangs_up_pays_what_the_model_sent(world: World) -> None:
    session, pod, _ = await world.claimed()
    usage = Usage(input_tokens=10, output_tokens=777)
    body = request(Step(text=("word " * 100,), usage=usage, delay=Delay(between=0.005)))
    headers = {"Authorization": f"Bearer {pod.token()}"}
    answer = await world.http.post(f"{world.url}{MESSAGES}", json=body, headers=headers)
    await answer.content.readany()
    answer.close()

    booked = await settled(world, session)

    assert (booked["outputTokens"], booked["estimated"]) == (777, False)


async def test_a_close_waits_for_what_is_being_read(world: World) -> None:
    session, pod, _ = await world.claimed()
    body = request(Step(text=("word " * 40,), usage=Usage(output_tokens=55), delay=Delay(between=0.01)))
    headers = {"Authorization": f"Bearer {pod.token()}"}
    answer = await world.http.post(f"{world.url}{MESSAGES}", json=body, headers=headers)
    await answer.content.readany()
    answer.close()

    record = await world.close_attempt(session)

    assert (record["usage"]["outputTokens"], record["usage"]["estimated"]) == (55, False)
    assert (await send(world, pod, request()))[0] == 403


async def test_a_stream_that_breaks_books_its_reservation(world: World) -> None:
    session, pod, _ = await world.claimed()
    body = request(Step(text=("word " * 20,), drop=Drop(after_events=4)))

    with pytest.raises(aiohttp.ClientError):
        await send(world, pod, body)

    booked = await settled(world, session)
    assert booked["estimated"]
    assert booked["outputTokens"] == 1000
    assert booked["costUSD"] > 0.01
    assert "broke off" in (await world.event(session, "model_broke"))["message"]
    await world.verdict(session, lambda verdict: verdict == "ModelOverloaded")
    assert (await send(world, pod, request()))[0] == 200
    await world.verdict(session, lambda verdict: verdict is None)


async def test_an_error_inside_a_stream_reaches_the_client_and_is_booked(world: World) -> None:
    session, pod, _ = await world.claimed()
    step = Step(text=("word " * 20,), error=Error(status=529, type="overloaded_error", after_events=4))

    status, text = await send(world, pod, request(step))

    assert status == 200
    assert "overloaded_error" in text
    assert (await settled(world, session))["estimated"]


@pytest.mark.parametrize(
    ("upstream", "answered", "reason"),
    [
        (401, 403, "ModelAuthFailed"),
        (403, 403, "ModelAuthFailed"),
        (400, 400, "ModelRefused"),
        (413, 413, "ModelRefused"),
        (429, 429, "ModelOverloaded"),
        (500, 500, "ModelOverloaded"),
        (529, 529, "ModelOverloaded"),
    ],
)
async def test_the_api_s_errors_are_translated_and_cost_nothing(
    world: World, upstream: int, answered: int, reason: str
) -> None:
    session, pod, _ = await world.claimed()
    step = Step(text=("a",), error=Error(status=upstream, message="because", headers={"retry-after": "7"}))

    status, body = await send(world, pod, request(step))

    assert status == answered
    assert "because" in body["error"]["message"]
    attempt = await world.verdict(session, lambda verdict: verdict == reason)
    assert attempt["usage"]["costUSD"] == 0
    assert (await world.event(session, "model_failed"))["status"] == upstream


async def test_an_api_that_cannot_be_reached_says_so(world: World) -> None:
    session, pod, _ = await world.claimed()
    world.cluster.add_secret("nowhere", hosts="http://127.0.0.1:9", apiKey="k" * 20)
    world.change_model(upstreamURL="http://127.0.0.1:9", credentialsSecret="nowhere")

    status, body = await send(world, pod, request())

    assert status == 502
    assert "127.0.0.1:9" in body["error"]["message"]
    await world.verdict(session, lambda verdict: verdict == "ModelOverloaded")


async def test_a_secret_that_does_not_list_the_host_is_not_sent_there(world: World) -> None:
    session, pod, _ = await world.claimed()
    world.cluster.add_secret("mine", hosts="api.anthropic.com", apiKey=MODEL_KEY)
    world.change_model(credentialsSecret="mine")

    status, body = await send(world, pod, request())

    assert status == 403
    assert "does not list" in body["error"]["message"]
    assert world.model.requests.last == 0
    await world.verdict(session, lambda verdict: verdict == "ModelAuthFailed")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hostile_upstream_cannot_hand_the_key_to_the_pod(world: World, stream: bool) -> None:
    world.model.echo = Echo()
    session, pod, _ = await world.claimed()
    headers = {"Authorization": f"Bearer {pod.token()}"}

    async with world.http.post(
        f"{world.url}{MESSAGES}", json=request(stream=stream), headers=headers
    ) as answer:
        seen = f"{answer.headers} {await answer.text()}"
        if stream:
            seen += str(assemble(parse(await answer.read())))
    failing = Step(text=("a",), error=Error(status=400, message="no"))
    async with world.http.post(
        f"{world.url}{MESSAGES}", json=request(failing, stream=stream), headers=headers
    ) as answer:
        seen += f"{answer.headers} {await answer.text()}"

    assert "[echo x-api-key: ***" in seen
    assert MODEL_KEY not in seen
    assert MODEL_KEY not in json.dumps(await world.journal(session))


async def test_a_cancelled_session_gets_no_model(world: World) -> None:
    session, pod, _ = await world.claimed()
    await world.internal("POST", f"/sessions/{session.uid}/cancel", json={"namespace": "team", "name": "fix"})

    status, body = await send(world, pod, request())

    assert (status, body["error"]["reason"]) == (403, "Cancelled")


async def test_what_a_crash_cuts_off_is_booked_at_the_next_start(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        session, pod, _ = await world.claimed()
        body = request(Step(text=("word " * 40,), delay=Delay(between=0.2)))
        headers = {"Authorization": f"Bearer {pod.token()}"}
        answer = await world.http.post(f"{world.url}{MESSAGES}", json=body, headers=headers)
        await answer.content.readany()
        # Another process on the same file, while the first still holds the request: as after a kill -9.
        async with restarted(world) as again:
            usage = (await again.record(session))["usage"]
        answer.close()

    assert usage["estimated"]
    assert usage["outputTokens"] == 1000


async def test_a_request_may_be_large_and_no_larger(world: World) -> None:
    _, pod, _ = await world.claimed()

    async def post(body: dict[str, Any]) -> tuple[int, Any]:
        return await world.ask(pod, "POST", MESSAGES, data=io.BytesIO(json.dumps(body).encode()))

    filler = {"role": "user", "content": "x" * (20 * 1024 * 1024)}
    good = request()
    good["messages"] = [filler, {"role": "assistant", "content": "ok"}, *good["messages"]]
    assert (await post(good))[0] == 200
    status, body = await post(request(system="x" * (33 * 1024 * 1024)))
    assert (status, body["error"]["type"]) == (413, "request_too_large")


async def test_a_stop_lets_what_is_under_way_end(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        session, pod, _ = await world.claimed()
        step = Step(text=("word " * 60,), usage=Usage(output_tokens=321), delay=Delay(between=0.02))
        headers = {"Authorization": f"Bearer {pod.token()}"}
        async with world.http.post(f"{world.url}{MESSAGES}", json=request(step), headers=headers) as answer:
            await answer.content.readany()
            stopping = asyncio.create_task(world.gateway.__aexit__(None, None, None))
            text = (await answer.read()).decode()
        assert "message_stop" in text
        await stopping
        async with restarted(world) as again:
            usage = (await again.record(session))["usage"]

    assert (usage["outputTokens"], usage["estimated"]) == (321, False)


async def test_log_only_lets_pass_and_tells(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        session, pod, _ = await world.claimed()
        await world.gateway.__aexit__(None, None, None)
        tolerant = replace(world, settings=replace(world.settings, log_only=True))
        async with restarted(tolerant) as again:
            assert (await send(again, pod, request(new_field=1)))[0] == 200
            told = await again.event(session, "model_would_be_refused")

    assert "new_field" in told["message"]
