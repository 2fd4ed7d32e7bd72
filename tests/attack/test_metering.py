"""Work that somebody else pays: requests that nobody waits for, caps that parallel requests slip past."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.attack.until import until
from tests.integration.gateway.conftest import MODEL_KEY
from tests.integration.gateway.test_model import MESSAGES, SONNET, request, send, settled
from tests.world.script import Delay, Drop, Error, Step, Usage

if TYPE_CHECKING:
    from tests.integration.gateway.cluster import Pod
    from tests.integration.gateway.conftest import World

CAP = 0.055
CENT = Usage(input_tokens=0, output_tokens=1000)


async def straight(world: World, bodies: list[dict[str, Any]]) -> list[int]:
    """The same requests to the model itself, with its key: what a pod with a credential could do."""
    headers = {"x-api-key": MODEL_KEY, "anthropic-version": "2023-06-01"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as plain:

        async def one(body: dict[str, Any]) -> int:
            async with plain.post(f"{world.model.url}{MESSAGES}", json=body, headers=headers) as answer:
                await answer.read()
                return answer.status

        return await asyncio.gather(*(one(body) for body in bodies))


async def test_twenty_at_once_spend_no_more_than_the_cap_and_one_response(world: World) -> None:
    bodies = [request(Step(text=("a",), usage=CENT)) for _ in range(20)]
    assert await straight(world, bodies) == [200] * 20, "undefended: 20 cents of 5.5"
    session, pod, _ = await world.claimed(limits={"maxCostUSD": CAP})

    answers = await asyncio.gather(*(send(world, pod, body) for body in bodies))

    assert sorted(status for status, _ in answers) == [200] * 6 + [403] * 14
    assert (await world.record(session))["usage"]["costUSD"] == pytest.approx(0.06)


async def test_text_of_many_tokens_does_not_slip_past_the_cap(world: World) -> None:
    """Every byte a token, as an agent can have it: the estimate must be a bound, or all fit at once."""
    filler = "~" * 20_000
    session, pod, _ = await world.claimed(limits={"maxTokens": 100_000})
    bodies = [
        request(
            Step(text=("a",), usage=Usage(input_tokens=20_000, output_tokens=10)),
            system=filler,
            max_tokens=10,
        )
        for _ in range(20)
    ]
    assert await straight(world, bodies) == [200] * 20, "undefended: 400,000 tokens"

    answers = await asyncio.gather(*(send(world, pod, body) for body in bodies))

    passed = sum(status == 200 for status, _ in answers)
    usage = (await world.record(session))["usage"]
    assert usage["inputTokens"] + usage["outputTokens"] == passed * 20_010
    assert passed * 20_010 <= 100_000 + 20_010


async def ask_and_go(world: World, pod: Pod, body: dict[str, Any]) -> None:
    """Send a request and hang up before a byte of the answer has come."""
    before = world.model.requests.last
    headers = {"Authorization": f"Bearer {pod.token()}"}
    asking = asyncio.create_task(world.http.post(f"{world.url}{MESSAGES}", json=body, headers=headers))
    await until(lambda: world.model.requests.last > before)
    asking.cancel()


@pytest.mark.parametrize("stream", [True, False])
async def test_who_asks_and_goes_pays_to_the_token_also_when_the_attempt_is_closed(
    world: World, stream: bool
) -> None:
    session, pod, _ = await world.claimed()
    usage = Usage(input_tokens=11, output_tokens=777)
    body = request(Step(text=("a",), usage=usage, delay=Delay(before=1.0)), stream=stream)

    await ask_and_go(world, pod, body)
    record = await world.close_attempt(session)

    assert (record["usage"]["inputTokens"], record["usage"]["outputTokens"]) == (11, 777)
    assert record["usage"]["estimated"] is False


async def test_a_model_that_thinks_for_longer_than_the_close_waits_is_paid_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_operator.gateway.internal.handlers._SETTLE_SECONDS", 0.3)
    session, pod, _ = await world.claimed()
    body = request(Step(text=("a",), delay=Delay(before=15)), stream=False, max_tokens=4321)

    await ask_and_go(world, pod, body)
    record = await world.close_attempt(session)

    assert record["usage"]["outputTokens"] == 4321, "the most that it can have been"
    assert record["usage"]["estimated"] is True
    assert "before the model had answered" in (await world.event(session, "model_broke"))["message"]


async def test_who_waits_for_room_under_a_cap_when_the_attempt_ends_gets_nothing(world: World) -> None:
    session, pod, _ = await world.claimed(limits={"maxCostUSD": 0.02})
    slow = request(Step(text=("a",), usage=CENT, delay=Delay(before=1.0)))
    await ask_and_go(world, pod, slow)
    waiting = asyncio.create_task(send(world, pod, request(Step(text=("b",), usage=CENT))))
    [live] = world.gateway.live.of_session(session.uid)
    await until(lambda: live.model_slots._value < 7)

    record = await world.close_attempt(session)

    assert (await waiting)[0] == 403
    assert record["usage"]["outputTokens"] == 1000
    assert world.model.requests.last == 1, "the second was never sent"


@pytest.mark.parametrize(
    ("step", "booked"),
    [
        (Step(text=("w " * 20,), usage=Usage(input_tokens=5, output_tokens=9)), "exact"),
        (Step(text=("w " * 20,), drop=Drop(after_events=3)), "reservation"),
        (Step(text=("w " * 200,), drop=Drop(after_events=8)), "reservation"),
        (
            Step(text=("w " * 20,), error=Error(status=529, type="overloaded_error", after_events=4)),
            "reservation",
        ),
        (Step(error=Error(status=529, type="overloaded_error")), "nothing"),
    ],
    ids=["whole", "cut early", "cut late", "an error inside", "refused"],
)
async def test_nothing_that_the_model_sent_is_free(world: World, step: Step, booked: str) -> None:
    session, pod, _ = await world.claimed()
    try:
        status, _ = await send(world, pod, request(step, max_tokens=500))
    except aiohttp.ClientError:
        status = 0

    if booked == "nothing":
        assert status == 529
        assert (await world.record(session))["usage"]["outputTokens"] == 0
        return
    usage = await settled(world, session)
    assert usage["estimated"] is (booked == "reservation")
    assert usage["outputTokens"] == (9 if booked == "exact" else 500)
    assert usage["costUSD"] > 0


async def test_what_is_billed_is_what_the_model_sent_over_a_mixed_day(world: World) -> None:
    session, pod, _ = await world.claimed()
    usages = [Usage(input_tokens=3 * n, output_tokens=7 * n, cache_read_input_tokens=n) for n in range(1, 21)]
    bodies = [
        request(
            Step(text=("word " * 10,), usage=usage, delay=Delay(between=0.002)),
            stream=bool(number % 3),
            model=SONNET,
        )
        for number, usage in enumerate(usages)
    ]

    async def ask(number: int, body: dict[str, Any]) -> None:
        if number % 4 == 0:
            await ask_and_go(world, pod, body)
        else:
            assert (await send(world, pod, body))[0] == 200

    for number, body in enumerate(bodies):
        await ask(number, body)
    usage = await settled(world, session, turns=20)

    assert usage["estimated"] is False
    assert usage["inputTokens"] == sum(one.input_tokens for one in usages)
    assert usage["outputTokens"] == sum(one.output_tokens for one in usages)
    assert usage["cacheReadInputTokens"] == sum(one.cache_read_input_tokens for one in usages)


async def test_what_was_asked_when_the_disk_became_full_is_paid_later(world: World) -> None:
    session, pod, _ = await world.claimed()
    store = world.gateway.store
    assert (await send(world, pod, request()))[0] == 200
    # The first write that fails is the reservation's, while the model is asked beside it. (What SQLite says
    # of a table that is gone is of the same kind as of a disk that is full.)
    await store.write(
        lambda connection: connection.exec_driver_sql("ALTER TABLE reservations RENAME TO away")
    )

    assert (await send(world, pod, request(max_tokens=123)))[0] == 503
    assert store.failing
    assert (await send(world, pod, request(max_tokens=123)))[0] == 503
    asked = world.model.totals.total["answered"]
    await store.write(
        lambda connection: connection.exec_driver_sql("ALTER TABLE away RENAME TO reservations")
    )

    assert asked == 2, "once it is known nothing is asked any more"
    usage = await settled(world, session, turns=2)
    assert (usage["turns"], usage["estimated"]) == (1, True)
    assert usage["outputTokens"] == 20 + 123
