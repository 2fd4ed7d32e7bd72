"""What is kept: events in order and once, checkpoints, artifacts, inbox, result; and how it is read."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from claude_operator.gateway import journal
from claude_operator.gateway.errors import StoreUnavailableError
from claude_operator.gateway.store import tables
from tests.integration.gateway.cluster import internal_token
from tests.integration.gateway.conftest import World, open_world, restarted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.gateway.cluster import Pod


def event(seq: int, kind: str = "cli.assistant", **data: Any) -> dict[str, Any]:
    return {"seq": seq, "time": "2026-01-01T00:00:00Z", "type": kind, "data": data or {"n": seq}}


async def tell(world: World, pod: Pod, *events: dict[str, Any]) -> tuple[int, Any]:
    return await world.ask(pod, "POST", "/v1/session/events", json={"events": list(events)})


async def upload(world: World, pod: Pod, content: bytes, *, chunk: int = 1 << 20) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    for index, start in enumerate(range(0, len(content), chunk)):
        path = f"/v1/session/blobs/{digest}/{index}"
        status, body = await world.ask(pod, "PUT", path, data=content[start : start + chunk])
        assert status == 204, body
    return {"sha256": digest, "size": len(content)}


async def test_events_are_numbered_once_whatever_is_sent_again(world: World) -> None:
    session, pod, _ = await world.claimed()

    assert await tell(world, pod, event(1), event(2)) == (200, {"acknowledged": 2})
    assert await tell(world, pod, event(1), event(2), event(3)) == (200, {"acknowledged": 3})
    assert await tell(world, pod, event(2)) == (200, {"acknowledged": 3})

    events = await world.journal(session)
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    told = [one for one in events if one["source"] == "pod"]
    assert [one["data"]["n"] for one in told] == [1, 2, 3]
    assert {one["source"] for one in events} == {"gateway", "pod"}


async def test_a_second_attempt_counts_anew(world: World) -> None:
    session, pod, _ = await world.claimed()
    await tell(world, pod, event(1))
    second = world.cluster.add_pod(session, attempt=2)
    await world.claim(second)

    assert await tell(world, second, event(1)) == (200, {"acknowledged": 1})

    told = [one for one in await world.journal(session) if one["source"] == "pod"]
    assert [one["attempt"] for one in told] == [1, 2]


async def test_another_pod_of_the_attempt_counts_anew_too(world: World) -> None:
    session, pod, _ = await world.claimed()
    await tell(world, pod, event(1), event(2))
    later = world.cluster.add_pod(session, suffix="-2")
    await world.claim(later)

    assert await tell(world, later, event(1)) == (200, {"acknowledged": 1})

    assert len([one for one in await world.journal(session) if one["source"] == "pod"]) == 3


async def test_a_reader_follows_from_its_cursor_and_ends_with_the_session(world: World) -> None:
    session, pod, _ = await world.claimed()
    await tell(world, pod, event(1))
    seen: list[int] = []
    first = asyncio.Event()

    async def follow(after: int) -> None:
        url = f"{world.internal_url}/sessions/{session.uid}/events?after={after}&follow=1"
        headers = {"Authorization": f"Bearer {internal_token()}"}
        async with world.http.get(url, headers=headers) as answer:
            async for text in answer.content:
                if text.strip():
                    seen.append(json.loads(text)["seq"])
                    first.set()

    following = asyncio.create_task(follow(1))
    await asyncio.wait_for(first.wait(), 20)
    for number in range(2, 30):
        await tell(world, pod, event(number))
    await world.conclude(session)
    await asyncio.wait_for(following, 20)

    assert seen == list(range(2, (await world.record(session))["lastEvent"] + 1))


async def test_secrets_are_blotted_out_where_the_journal_is_read(world: World) -> None:
    session, pod, _ = await world.claimed()
    key = "sk-ant-api03-" + "x" * 40
    await tell(world, pod, event(1, text=f"the key is {key}, the url https://me:hunter2hunter2@host/x"))

    events = await world.journal(session)

    assert key not in str(events)
    assert "hunter2" not in str(events)
    assert "[redacted]" in str(events)


async def test_an_event_that_is_too_large_is_refused_by_number(world: World) -> None:
    _, pod, _ = await world.claimed()

    status, body = await tell(world, pod, event(7, text="x" * (256 * 1024)))

    assert (status, body["reason"]) == (413, "EventTooLarge")
    assert "event 7" in body["message"]


async def test_a_number_beyond_64_bits_is_no_reason_to_lose_an_event(world: World) -> None:
    session, pod, _ = await world.claimed()

    assert await tell(world, pod, event(1, number=2**70)) == (200, {"acknowledged": 1})

    assert (await world.journal(session))[-1]["data"]["number"] == 2**70


async def test_a_pod_that_fills_its_journal_cannot_hide_what_it_does_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "QUOTA_BYTES", 100_000)
    monkeypatch.setattr(journal, "RESERVE_BYTES", 50_000)
    session, pod, _ = await world.claimed()

    for number in range(1, 20):
        assert await tell(world, pod, event(number, text="x" * 10_000)) == (200, {"acknowledged": number})
    await world.ask(pod, "POST", "/v1/messages", json={"model": "m", "max_tokens": 1, "messages": []})

    assert (await world.event(session, "model_refused"))["reason"] == "ModelRefused"
    events = await world.journal(session)
    assert len([one for one in events if one["type"] == "gateway.journal_full"]) == 1
    assert len([one for one in events if one["source"] == "pod"]) < 6


async def test_the_database_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.gateway.store.write(
            lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num='9999'")
        )
        with pytest.raises(StoreUnavailableError, match="newer version"):
            async with restarted(world):
                pass


async def test_bad_bodies_name_the_field(world: World) -> None:
    _, pod, _ = await world.claimed()

    status, body = await tell(world, pod, {"seq": 0, "time": "", "type": "x", "data": {}})

    assert status == 400
    assert "events.0.seq" in body["message"]
    assert (await world.ask(pod, "POST", "/v1/session/events", data=b"{"))[0] == 400


async def test_a_checkpoint_is_resumed_from_in_the_next_attempt(world: World) -> None:
    session, pod, _ = await world.claimed()
    transcript, bundle = b"t" * (2 * 1024 * 1024 + 5), b"bundle"
    checkpoint = {
        "transcript": await upload(world, pod, transcript),
        "bundle": await upload(world, pod, bundle),
        "commit": "a" * 40,
        "head": "b" * 40,
        "turns": 3,
    }
    assert (await world.ask(pod, "POST", "/v1/session/checkpoint", json=checkpoint))[0] == 204
    assert (await world.record(session))["hasCheckpoint"]

    second = world.cluster.add_pod(session, attempt=2)
    _, assignment = await world.claim(second)

    assert assignment["resume"] == {
        key: checkpoint[key] for key in ("transcript", "bundle", "commit", "head")
    }
    assert assignment["claudeSessionId"] == session.uid
    for blob, content in ((transcript, transcript), (bundle, bundle)):
        digest = hashlib.sha256(blob).hexdigest()
        headers = {"Authorization": f"Bearer {second.token()}"}
        async with world.http.get(f"{world.url}/v1/session/blobs/{digest}", headers=headers) as answer:
            assert await answer.read() == content
    _, other, _ = await world.claimed("other")
    digest = hashlib.sha256(bundle).hexdigest()
    assert (await world.ask(other, "GET", f"/v1/session/blobs/{digest}"))[0] == 404


async def test_the_old_checkpoint_stands_until_the_new_one_is_whole(world: World) -> None:
    session, pod, _ = await world.claimed()
    old = {"transcript": await upload(world, pod, b"old")}
    await world.ask(pod, "POST", "/v1/session/checkpoint", json=old)
    new = {"transcript": {"sha256": hashlib.sha256(b"new!").hexdigest(), "size": 4}}

    status, body = await world.ask(pod, "POST", "/v1/session/checkpoint", json=new)
    assert (status, body["reason"]) == (409, "BlobIncomplete")
    await world.ask(pod, "PUT", f"/v1/session/blobs/{new['transcript']['sha256']}/0", data=b"bad!")
    assert (await world.ask(pod, "POST", "/v1/session/checkpoint", json=new))[0] == 409

    _, assignment = await world.claim(world.cluster.add_pod(session, attempt=2))
    assert assignment["resume"]["transcript"] == old["transcript"]


async def test_a_replaced_checkpoint_gives_its_bytes_back(world: World) -> None:
    session, pod, _ = await world.claimed()
    for content in (b"a" * 300_000, b"b" * 300_000, b"c" * 300_000):
        body = {"transcript": await upload(world, pod, content)}
        assert (await world.ask(pod, "POST", "/v1/session/checkpoint", json=body))[0] == 204

    stored = await world.gateway.store.read(
        lambda connection: (
            connection.execute(tables.sessions.select().where(tables.sessions.c.uid == session.uid))
            .one()
            .stored_bytes
        )
    )
    assert stored < 310_000


async def test_a_fenced_pod_cannot_overwrite_the_checkpoint(world: World) -> None:
    session, pod, _ = await world.claimed()
    blob = await upload(world, pod, b"mine")
    await world.claim(world.cluster.add_pod(session, attempt=2))

    status, body = await world.ask(pod, "POST", "/v1/session/checkpoint", json={"transcript": blob})

    assert (status, body["reason"]) == (403, "ClaimRefused")
    assert not (await world.record(session))["hasCheckpoint"]


async def test_a_chunk_has_a_bound(world: World) -> None:
    _, pod, _ = await world.claimed()

    status, body = await world.ask(
        pod, "PUT", f"/v1/session/blobs/{'0' * 64}/0", data=io.BytesIO(b"x" * (1024 * 1024 + 1))
    )

    assert (status, body["reason"]) == (413, "TooLarge")


async def test_artifacts_are_kept_and_served_as_downloads(world: World) -> None:
    session, pod, _ = await world.claimed()
    blob = await upload(world, pod, b"<script>alert(1)</script>")
    body = {"path": "out/report é.html", "blob": blob}
    assert (await world.ask(pod, "POST", "/v1/session/artifacts", json=body))[0] == 204

    assert (await world.record(session))["artifacts"] == [{"path": "out/report é.html", **blob}]
    status, listed = await world.internal("GET", f"/sessions/{session.uid}/artifacts")
    assert (status, listed) == (200, [{"path": "out/report é.html", **blob}])
    url = f"{world.internal_url}/sessions/{session.uid}/artifacts/out/report é.html"
    async with world.http.get(url, headers={"Authorization": f"Bearer {internal_token()}"}) as answer:
        assert await answer.read() == b"<script>alert(1)</script>"
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
    bad = {"path": "../escape", "blob": blob}
    assert (await world.ask(pod, "POST", "/v1/session/artifacts", json=bad))[0] == 400


async def test_the_first_result_stands(world: World) -> None:
    session, pod, _ = await world.claimed()
    first = {"reason": "AgentError", "message": "it broke", "exitCode": 1, "summary": "I tried."}

    assert (await world.ask(pod, "POST", "/v1/session/result", json=first))[0] == 204
    assert (await world.ask(pod, "POST", "/v1/session/result", json={"reason": "Completed"}))[0] == 204

    reported = (await world.close_attempt(session))["attempts"][0]["reported"]
    assert (reported["reason"], reported["exitCode"], reported["summary"]) == ("AgentError", 1, "I tried.")


async def test_structured_output_is_kept_and_its_secrets_are_blotted_out(world: World) -> None:
    session, pod, _ = await world.claimed()
    key = "sk-ant-api03-abcdefghijklmnop"
    output = {"nextSteps": [f"Replace {key}", 'Say "hi"'], "deep": {"n": 1.5, "none": None}}
    result = {"reason": "Completed", "summary": f"The key is {key}.", "structuredOutput": output}

    assert (await world.ask(pod, "POST", "/v1/session/result", json=result))[0] == 204

    reported = (await world.record(session))["attempts"][0]["reported"]
    assert reported["structuredOutput"] == output | {"nextSteps": ["Replace [redacted]", 'Say "hi"']}
    assert reported["summary"] == "The key is [redacted]."


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (
            {"long": "x" * 65_536},
            "structuredOutput: Value error, it has 65547 bytes, and at most 65536 are kept",
        ),
        ({"deep": [[[]]] * 20_000}, "structuredOutput: Value error, it has"),
        (json.loads('{"a": ' * 33 + "1" + "}" * 33), "nested more than 32 levels deep"),
        (json.loads('{"a": ' * 500 + "1" + "}" * 500), "recursion limit exceeded"),
        (["not", "an", "object"], "structuredOutput: Input should be"),
    ],
    ids=["long", "many", "deep", "abyss", "list"],
)
async def test_structured_output_beyond_its_bounds_is_refused_and_named(
    world: World, output: Any, fault: str
) -> None:
    session, pod, _ = await world.claimed()
    body = {"reason": "Completed", "structuredOutput": output}

    status, answer = await world.ask(pod, "POST", "/v1/session/result", json=body)

    assert status == 400
    assert fault in answer["message"]
    assert "reported" not in (await world.record(session))["attempts"][0]


async def test_a_summary_without_end_is_refused_and_named(world: World) -> None:
    _, pod, _ = await world.claimed()
    body = {"reason": "Completed", "summary": "x" * (256 * 1024 + 1)}

    status, answer = await world.ask(pod, "POST", "/v1/session/result", json=body)

    assert status == 400
    assert "summary: String should have at most 262144 characters" in answer["message"]


async def test_the_inbox_wakes_a_waiting_runner(world: World) -> None:
    session, pod, _ = await world.claimed()
    waiting = asyncio.create_task(world.ask(pod, "GET", "/v1/session/inbox?after=0&wait=30"))
    await asyncio.sleep(0)
    _, item = await world.internal(
        "POST", f"/sessions/{session.uid}/inbox", json={"kind": "message", "text": "Look here."}
    )

    assert await asyncio.wait_for(waiting, 20) == (200, {"items": [item]})
    assert item == {"id": 1, "kind": "message", "text": "Look here."}
    assert await world.ask(pod, "GET", "/v1/session/inbox?after=1&wait=0") == (200, {"items": []})


async def test_a_cancel_reaches_the_inbox_once_and_stays_over_a_restart(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        session, pod, _ = await world.claimed()
        body = {"namespace": "team", "name": "fix", "graceSeconds": 5}
        for _ in range(2):
            assert (await world.internal("POST", f"/sessions/{session.uid}/cancel", json=body))[0] == 204
        _, inbox = await world.ask(pod, "GET", "/v1/session/inbox?after=0&wait=0")
        assert [item["kind"] for item in inbox["items"]] == ["cancel"]
        assert (await world.record(session))["cancelRequested"]
        await world.gateway.__aexit__(None, None, None)

        async with restarted(world) as again:
            status, refused = await again.ask(pod, "POST", "/v1/messages", json={})
            assert (status, refused["error"]["reason"]) == (403, "Cancelled")
            later = again.cluster.add_pod(session, attempt=2)
            assert (await again.claim(later))[1]["reason"] == "Cancelled"


async def test_a_session_that_never_claimed_can_be_cancelled_and_concluded(world: World) -> None:
    session = world.cluster.add_session()
    body = {"namespace": "team", "name": "fix"}
    assert (await world.internal("POST", f"/sessions/{session.uid}/cancel", json=body))[0] == 204

    status, refused = await world.claim(world.cluster.add_pod(session))

    assert (status, refused["reason"]) == (409, "Cancelled")
    await world.conclude(session, "Cancelled")


async def test_unknown_sessions_are_404(world: World) -> None:
    for path in (
        "/sessions/nobody",
        "/sessions/nobody/events",
        "/sessions/nobody/artifacts",
        "/outcomes/a/b",
    ):
        assert (await world.internal("GET", path))[0] == 404, path


@pytest.mark.parametrize("query", ["after=-1", "after=x", "follow=maybe"])
async def test_bad_cursors_are_named(world: World, query: str) -> None:
    session, _, _ = await world.claimed()

    status, body = await world.internal("GET", f"/sessions/{session.uid}/events?{query}")

    assert status == 400
    assert query.partition("=")[0] in body["message"]


async def test_a_full_disk_is_a_503_and_the_gateway_lives_on(world: World) -> None:
    session, pod, _ = await world.claimed()

    most = 1

    def bound(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    # SQLite's own bound gives the same SQLITE_FULL as a disk without space. Each connection has one.
    sqlalchemy_event.listen(world.gateway.store._engine, "checkout", bound)
    body = {"events": [event(number, text="x" * 100_000) for number in range(1, 10)]}
    status, answer = await world.ask(pod, "POST", "/v1/session/events", json=body)
    assert (status, answer["reason"]) == (503, "GatewayUnavailable")
    assert "full" in answer["message"]

    most = 1_000_000
    assert (await world.ask(pod, "POST", "/v1/session/events", json=body)) == (200, {"acknowledged": 9})
    assert len([one for one in await world.journal(session) if one["source"] == "pod"]) == 9


async def test_a_write_that_fails_does_not_undo_its_neighbours(world: World) -> None:
    _, pod, _ = await world.claimed()

    def broken(_: Any) -> None:
        raise ValueError("mine alone")

    results = await asyncio.gather(
        tell(world, pod, event(1)), world.gateway.store.write(broken), return_exceptions=True
    )

    assert results[0] == (200, {"acknowledged": 1})
    assert isinstance(results[1], ValueError)


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        pass
    with pytest.raises(StoreUnavailableError, match="closed"):
        await world.gateway.store.write(lambda _: None)


async def test_the_probes_and_the_metrics_need_no_token(world: World) -> None:
    base = world.internal_url.removesuffix("/internal/v1")
    for path in ("/livez", "/readyz", "/metrics"):
        async with world.http.get(base + path) as answer:
            assert answer.status == 200
    async with world.http.get(f"{world.url}/livez") as answer:
        assert answer.status == 401
