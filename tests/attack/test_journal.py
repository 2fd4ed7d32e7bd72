"""The journal is the witness: no pod writes in the gateway's name, or asks until nothing fits any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from claude_operator.gateway import journal
from tests.integration.gateway.conftest import DEADLINE

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import World

EVENTS = "/v1/session/events"
ELSEWHERE = "/v1/session/blobs/" + "a" * 64


def event(seq: int, kind: str, **data: Any) -> dict[str, Any]:
    return {"seq": seq, "time": "2026-01-01T00:00:00Z", "type": kind, "data": data}


async def test_a_pod_cannot_tell_in_the_gateways_name(world: World) -> None:
    session, pod, _ = await world.claimed()
    forged = {"branch": "claude/never", "commit": "f" * 40}

    own = await world.ask(pod, "POST", EVENTS, json={"events": [event(1, "cli.pushed", **forged)]})
    status, body = await world.ask(
        pod, "POST", EVENTS, json={"events": [event(2, "gateway.pushed", **forged)]}
    )

    assert own == (200, {"acknowledged": 1}), "undefended: what a pod tells is kept as it tells it"
    assert (status, body["reason"]) == (400, "BadRequest")
    assert "gateway.pushed is kept for what the gateway tells" in body["message"]
    kinds = [one["type"] for one in await world.journal(session)]
    assert "cli.pushed" in kinds
    assert "gateway.pushed" not in kinds


async def test_asking_for_the_forbidden_without_end_does_not_fill_the_journal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_REFUSALS", 10)
    session, pod, _ = await world.claimed()

    for _ in range(100):
        assert (await world.ask(pod, "GET", ELSEWHERE))[0] == 404

    # The gateway's notes go to the database in batches: the last of them is waited for.
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(DEADLINE):
        while not told or told[-1].get("refusals") != 64:
            events = await world.journal(session, until="request_refused")
            told = [one["data"] for one in events if one["type"] == "gateway.request_refused"]
    assert len(told) == 10 + 3
    assert [one.get("refusals") for one in told[10:]] == [16, 32, 64]


@pytest.mark.parametrize(
    ("method", "path", "kind", "says"),
    [
        ("GET", ELSEWHERE, "request_refused", "no such blob in this attempt's assignment"),
        (
            "GET",
            "/internal/v1/sessions/{uid}",
            "request_refused",
            "there is no such path on the session port",
        ),
        ("GET", "/v1/session%2Fclaim", "request_refused", "GET /v1/session%2Fclaim: there is no such path"),
        ("POST", "/v1/files", "request_refused", "POST /v1/files: there is no such path"),
    ],
)
async def test_what_a_pod_tries_on_its_port_is_on_record(
    world: World, method: str, path: str, kind: str, says: str
) -> None:
    session, pod, _ = await world.claimed()

    status, body = await world.ask(pod, method, path.format(uid=session.uid))

    assert status == 404
    assert says in body["message"]
    assert says in (await world.event(session, kind))["message"]


async def test_a_pods_token_at_the_internal_port_is_refused_and_on_record(world: World) -> None:
    victim, _, _ = await world.claimed("victim")
    session, pod, _ = await world.claimed("thief")
    path = f"/sessions/{victim.uid}"

    assert (await world.internal("GET", path))[0] == 200, "undefended: who is let in reads every session"
    status, body = await world.internal("GET", path, token=pod.token())

    assert status == 401
    assert body["message"]
    told = (await world.event(session, "internal_refused"))["message"]
    assert told == f"GET /internal/v1{path}: the internal port is not for pods"


async def test_a_page_of_large_events_ends_early_and_loses_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PAGE_BYTES", 50_000)
    session, pod, _ = await world.claimed()
    events = [event(seq, "cli.user", text="x" * 20_000) for seq in range(1, 31)]
    assert (await world.ask(pod, "POST", EVENTS, json={"events": events}))[0] == 200

    lines, last = await world.gateway.journal.read(session.uid, 0)

    assert len(lines) < 10
    assert last == len(lines)
    assert [one["seq"] for one in await world.journal(session)] == list(range(1, 32))
