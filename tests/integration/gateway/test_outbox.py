"""Callbacks as a receiver sees them: signed, at least once, as long as promised, and only where allowed."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web

from claude_operator.gateway import endings
from claude_operator.gateway.errors import StoreUnavailableError
from claude_operator.gateway.outbox import queue, worker
from claude_operator.resources.identity import ANNOTATION_REQUEST, LABEL_SESSION_ID
from tests.integration.gateway.conftest import QUICK, World, open_world, restarted, running
from tests.integration.gateway.receiver import Call, Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from claude_operator.gateway.cluster import Session

KEY = "whsec-0123456789abcdefghijklmnopqrstuvwxyz"
DOCUMENT = Path(__file__).parents[3] / "docs" / "api-claude-hub.md"
PATH = "/hook/secret-path?token=secret-query"


@pytest.fixture
async def receiver(world: World) -> AsyncIterator[Receiver]:
    """One that the Secret `hook` lists."""
    async with receiving() as receiver:
        world.cluster.add_secret("hook", hosts=receiver.origin, signingKey=KEY)
        yield receiver


def verify(key: str, call: Call) -> None:
    """As the documentation tells receivers to do it."""
    (code,) = re.findall(r"```python\n(import hashlib, hmac.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    names["verify"](key, call.headers, call.body)


def callback(url: str, *, secret: str | None = "hook", session_id: str = "the-id") -> dict[str, Any]:
    return {"url": url, "secret": secret, "sessionId": session_id, "project": "default"}


async def ended(
    world: World, url: str, *, secret: str | None = "hook", name: str = "fix", **more: Any
) -> Session:
    """A session that has ended and wants a call."""
    session = world.cluster.add_session(name)
    await world.conclude(session, callback=callback(url, secret=secret), **more)
    return session


async def deliveries(world: World, session: Session) -> list[dict[str, Any]]:
    status, found = await world.internal("GET", f"/sessions/{session.uid}/deliveries")
    assert status == 200, found
    assert isinstance(found, list)
    return found


async def settled(world: World, session: Session) -> dict[str, Any]:
    """The one delivery, once it is no longer waiting."""
    async with asyncio.timeout(20):
        while True:
            (found,) = await deliveries(world, session)
            if found["state"] != "waiting":
                return found
            await asyncio.sleep(0.01)


async def test_the_end_of_a_session_is_told_signed_and_complete(world: World, receiver: Receiver) -> None:
    session, _, _ = await world.claimed()
    request = {"batch": "b", "echo": {"metadata": {"batchId": "b", "tags": ["x"]}}}
    annotations = {ANNOTATION_REQUEST: orjson.dumps(request).decode()}
    world.cluster.sessions["team", "fix"] = replace(session, annotations=annotations)

    outcome = await world.conclude(
        session,
        reason="Completed",
        summary="Said hello, with the key sk-ant-api03-abcdefghijklmnop.",
        branch="claude/fix-12345",
        commit="9fceb02d0ae598e95dc970b74767f19372d61af8",
        finishedAt="2026-01-01T00:00:00Z",
        callback=callback(receiver.origin + PATH, session_id="f3a1c0de-5b7e-4c57-8e44-1d2f6b7a9c30"),
    )
    (call,) = await receiver.called()

    verify(KEY, call)
    assert call.path == PATH
    assert call.headers["User-Agent"] == "claude-operator"
    assert call.headers["Content-Type"] == "application/json"
    assert call.json["deliveryId"] == call.delivery
    assert (call.json["type"], call.json["version"]) == ("session.finished", 1)
    told = call.json["session"]
    assert told.pop("usage")["costUSD"] == 0
    assert told == {
        "id": "f3a1c0de-5b7e-4c57-8e44-1d2f6b7a9c30",
        "namespace": "team",
        "name": "fix",
        "project": "default",
        "type": "implementation",
        "status": "completed",
        "phase": "Succeeded",
        "reason": "Completed",
        "message": "",
        "summary": "Said hello, with the key [redacted].",
        "branch": "claude/fix-12345",
        "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "pullRequest": None,
        "artifacts": [],
        "finishedAt": "2026-01-01T00:00:00Z",
        "metadata": {"batchId": "b", "tags": ["x"]},
    }
    delivered = await world.event(session, "notify_delivered")
    assert delivered == {"delivery": call.delivery, "to": receiver.origin, "try": 1}
    assert outcome.get("callback") is None, "the outcome is read by dependents: it holds no URL"
    record = [await deliveries(world, session), await world.journal(session)]
    assert "secret-path" not in str(record)
    assert "secret-query" not in str(record)


async def test_what_was_changed_or_recorded_is_not_taken(world: World, receiver: Receiver) -> None:
    await ended(world, receiver.origin)
    (call,) = await receiver.called()
    verify(KEY, call)

    for wrong in (
        replace(call, body=call.body.replace(b"completed", b"failed\x20\x20\x20")),
        replace(call, headers={**call.headers, "X-Claude-Operator-Timestamp": str(int(time.time()) + 1)}),
        replace(call, headers={}),
    ):
        with pytest.raises(ValueError, match="not signed"):
            verify(KEY, wrong)
    with pytest.raises(ValueError, match="not signed"):
        verify("another key", call)


@pytest.mark.parametrize(
    ("phase", "status"),
    [
        ("Succeeded", "completed"),
        ("Failed", "failed"),
        ("Cancelled", "cancelled"),
        ("Skipped", "cancelled"),
        ("Deleted", "cancelled"),
    ],
)
async def test_every_end_is_told_also_without_any_attempt(
    world: World, receiver: Receiver, phase: str, status: str
) -> None:
    await ended(world, receiver.origin, phase=phase)
    (call,) = await receiver.called()
    assert (call.json["session"]["phase"], call.json["session"]["status"]) == (phase, status)


async def test_a_session_that_was_deleted_unseen_is_told_too(world: World, receiver: Receiver) -> None:
    """The controller does not know its spec any more; the claim of its pod does."""
    url, first = receiver.origin + "/gone", "f3a1c0de-5b7e-4c57-8e44-1d2f6b7a9c30"
    session = world.cluster.add_session(notify={"url": url, "secretRef": {"name": "hook"}})
    session = replace(session, labels={LABEL_SESSION_ID: first})
    world.cluster.sessions["team", "fix"] = session
    assert (await world.claim(world.cluster.add_pod(session)))[0] == 200
    del world.cluster.sessions["team", "fix"]

    await world.conclude(session, "Deleted")

    (call,) = await receiver.called()
    assert (call.path, call.json["session"]["id"]) == ("/gone", first)


async def test_the_first_outcome_is_told_once(world: World, receiver: Receiver) -> None:
    session = await ended(world, receiver.origin)
    for phase in ("Succeeded", "Failed"):
        await world.conclude(session, phase, callback=callback(receiver.origin))
    other = await ended(world, receiver.origin, name="other")
    await settled(world, other)

    assert [call.json["session"]["name"] for call in receiver.calls] == ["fix", "other"]
    assert receiver.calls[0].json["session"]["status"] == "completed"


async def test_neither_outcome_nor_callback_is_on_record_without_the_other(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("on purpose")

    session = world.cluster.add_session()
    body: dict[str, Any] = {"namespace": "team", "name": "fix", "uid": session.uid, "type": "implementation"}
    body |= {"phase": "Failed", "callback": callback(receiver.origin)}
    with monkeypatch.context() as patch:
        patch.setattr(endings, "owe", broken)
        status, _ = await world.internal("PUT", f"/sessions/{session.uid}/outcome", json=body)
        assert status == 500
    assert (await world.internal("GET", "/outcomes/team/fix"))[0] == 404

    assert (await world.internal("PUT", f"/sessions/{session.uid}/outcome", json=body))[0] == 200
    await receiver.called()


async def test_what_fails_is_tried_again_under_the_same_id(world: World, receiver: Receiver) -> None:
    receiver.answers = [500, 404, 429]
    session = await ended(world, receiver.origin)

    calls = await receiver.called(4)

    assert len({call.delivery for call in calls}) == 1
    assert len({call.body for call in calls}) == 1
    for call in calls:
        verify(KEY, call)
    await world.event(session, "notify_delivered")
    kinds = [one["type"] for one in await world.journal(session) if "notify" in one["type"]]
    assert kinds == ["gateway.notify_failed"] * 3 + ["gateway.notify_delivered"]
    assert (await world.event(session, "notify_failed"))["message"] == f"{receiver.origin} answers 429"


async def test_who_never_answers_well_is_given_up_for_everybody_to_see(
    world: World, receiver: Receiver
) -> None:
    receiver.always = 500
    session = await ended(world, receiver.origin)

    record = await settled(world, session)

    assert (record["state"], record["fault"]) == ("given_up", f"{receiver.origin} answers 500")
    assert record["tries"] == len(receiver.calls) >= QUICK.fewest
    assert (await world.event(session, "notify_given_up"))["try"] == record["tries"]
    text = world.gateway.metrics.render()
    assert 'claude_gateway_deliveries{kind="notify",result="given_up"} 1' in text
    assert f'claude_gateway_deliveries{{kind="notify",result="failed"}} {record["tries"] - 1}' in text
    other = await ended(world, receiver.origin, name="other")
    await receiver.called(record["tries"] + 3)
    ids = [call.delivery for call in receiver.calls[record["tries"] :]]
    assert set(ids) == {one["id"] for one in await deliveries(world, other)}


async def test_gone_ends_it_at_once(world: World, receiver: Receiver) -> None:
    receiver.always = 410
    session = await ended(world, receiver.origin)
    assert (await settled(world, session))["state"] == "given_up"
    assert len(receiver.calls) == 1


async def test_a_redirect_is_not_followed(world: World, receiver: Receiver) -> None:
    async with receiving() as inside:
        world.cluster.add_secret("inside", hosts=inside.origin, signingKey=KEY)
        targets = [inside.origin, "http://169.254.169.254/latest/meta-data", "/elsewhere"]
        receiver.answers = [
            web.Response(status=status, headers={"Location": target})
            for status, target in zip((301, 307, 308), targets, strict=True)
        ]
        session = await ended(world, receiver.origin + "/here")
        calls = await receiver.called(4)
        assert not inside.calls
    assert {call.path for call in calls} == {"/here"}
    assert "redirects are not followed" in (await world.event(session, "notify_failed"))["message"]


async def test_an_answer_without_end_is_not_read(world: World, receiver: Receiver) -> None:
    cut = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except (ConnectionError, asyncio.CancelledError):
            cut.set()
            raise

    receiver.always = endless
    session = await ended(world, receiver.origin)
    assert (await settled(world, session))["state"] == "delivered"
    await asyncio.wait_for(cut.wait(), 20)


async def test_a_slow_receiver_holds_up_nobody_and_is_not_flooded(world: World, receiver: Receiver) -> None:
    release = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(status=204)

    async with receiving() as quick:
        world.cluster.add_secret("quick", hosts=quick.origin, signingKey=KEY)
        receiver.always = slow
        sessions = [await ended(world, receiver.origin, name=f"slow-{number}") for number in range(12)]
        await receiver.called(QUICK.per_target)
        begun = time.monotonic()
        await ended(world, quick.origin, secret="quick", name="quick")
        await quick.called()
        assert time.monotonic() - begun < QUICK.try_seconds / 2
        assert len({call.delivery for call in receiver.calls}) <= QUICK.per_target
        # Each of them is cut off at its deadline, and the others get their turn.
        failed = await world.event(sessions[0], "notify_failed")
        assert "does not answer" in failed["message"]
        release.set()
        for session in sessions:
            await settled(world, session)
    assert receiver.most_at_once <= QUICK.per_target


async def test_what_is_owed_outlives_the_gateway(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        async with receiving() as receiver:
            port = receiver.port
            world.cluster.add_secret("hook", hosts=receiver.origin, signingKey=KEY)
        session = await ended(world, f"http://127.0.0.1:{port}/")
        failed = await world.event(session, "notify_failed")
        assert f"127.0.0.1:{port}" in failed["message"]
        await world.gateway.__aexit__(None, None, None)
        async with receiving(port) as receiver, restarted(world) as again:
            (call,) = await receiver.called()
            assert call.delivery == failed["delivery"]
            await again.event(session, "notify_delivered")


async def test_a_full_disk_repeats_nothing(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0

    def record(*given: Any, **more: Any) -> Any:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise StoreUnavailableError("the gateway's database cannot serve now: disk is full")
        return noted(*given, **more)

    noted = queue.record
    monkeypatch.setattr(queue, "record", record)
    monkeypatch.setattr(worker, "_FAULT_SECONDS", 0.01)
    session = await ended(world, receiver.origin)
    assert (await settled(world, session))["state"] == "delivered"
    assert (refused, len(receiver.calls)) == (3, 1)


@pytest.mark.usefixtures("public_loopback")
async def test_the_projects_key_signs_for_the_hosts_that_it_lists(world: World, receiver: Receiver) -> None:
    world.change_project(notifySecret="hook")
    await ended(world, receiver.origin, secret=None)
    (signed,) = await receiver.called()
    verify(KEY, signed)

    await ended(world, f"http://hooks.example.com:{receiver.port}/", secret=None, name="other")
    unsigned = (await receiver.called(2))[1]
    assert "X-Claude-Operator-Signature" not in unsigned.headers
    assert unsigned.json["session"]["name"] == "other"


@pytest.mark.usefixtures("public_loopback")
async def test_without_any_key_it_goes_unsigned(world: World, receiver: Receiver) -> None:
    await ended(world, f"http://hooks.example.com:{receiver.port}/", secret=None)
    (call,) = await receiver.called()
    assert "X-Claude-Operator-Signature" not in call.headers


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "Secret named does not exist"),
        ({"hosts": "other.example", "signingKey": KEY}, "does not list http://127.0.0.1:"),
        ({"hosts": "ORIGIN"}, "is missing"),
        ({"hosts": "ORIGIN", "signingKey": "guessable"}, "is too short"),
        ({"hosts": "ORIGIN", "signingKey": KEY, "kind": "Opaque"}, "has the type Opaque"),
    ],
)
async def test_a_secret_that_can_not_sign_is_named_and_nothing_is_sent_until_it_is_mended(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, data: dict[str, str] | None, says: str
) -> None:
    monkeypatch.setattr("claude_operator.gateway.credentials._CACHE_SECONDS", 0.0)
    if data is not None:
        data = {key: receiver.origin if value == "ORIGIN" else value for key, value in data.items()}
        world.cluster.add_secret("named", **data)
    session = await ended(world, receiver.origin, secret="named")
    assert says in (await world.event(session, "notify_failed"))["message"]
    assert not receiver.calls

    world.cluster.add_secret("named", hosts=receiver.origin, signingKey=KEY)
    verify(KEY, (await receiver.called())[0])


async def test_a_host_outside_the_projects_list_is_not_called(world: World, receiver: Receiver) -> None:
    world.change_project(notifyHosts=["hooks.example.com"])
    session = await ended(world, receiver.origin)
    record = await settled(world, session)
    assert record["state"] == "given_up"
    assert "is not one of the project's notifyHosts (hooks.example.com)" in record["fault"]
    assert not receiver.calls


async def test_a_stopped_gateway_leaves_no_try_behind(tmp_path: Path) -> None:
    async with receiving() as receiver, open_world(tmp_path) as world:
        world.cluster.add_secret("hook", hosts=receiver.origin, signingKey=KEY)
        await world.gateway.__aexit__(None, None, None)
        settings = replace(world.settings, outbox=replace(QUICK, try_seconds=60))
        never = asyncio.Event()

        async def hang(_: web.Request) -> web.StreamResponse:
            await never.wait()
            return web.Response()

        receiver.answers = [hang]
        async with running(settings, world.cluster) as (gateway, http):
            await ended(replace(world, gateway=gateway, http=http), receiver.origin)
            (first,) = await receiver.called()
        async with running(settings, world.cluster):
            second = (await receiver.called(2))[1]
        assert first.delivery == second.delivery
