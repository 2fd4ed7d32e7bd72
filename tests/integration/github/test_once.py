"""Each event once: redelivered, recorded and sent again, across restarts, replicas and kills."""

import asyncio
from dataclasses import replace

import pytest

from claude_operator.gateway.clock import stamp, utc_now
from claude_operator.gateway.serve import Gateway
from claude_operator.gateway.store import tables
from claude_operator.github.event import Payload
from claude_operator.kube.kinds import SESSIONS
from tests.integration.github.stage import DEADLINE, Hub
from tests.world.github import Fault

pytestmark = pytest.mark.controlplane


async def test_a_redelivery_is_known(hub: Hub) -> None:
    body = hub.commented("@claude-bot go")
    await hub.deliver("issue_comment", body, delivery="one")
    await hub.verdict()
    status, said = await hub.deliver("issue_comment", body, delivery="one")
    assert (status, said["message"]) == (200, "Delivery is known already")
    assert len(await hub.sessions()) == 1


async def test_a_recorded_event_under_a_new_id_is_known(hub: Hub) -> None:
    """The id is not signed, so it is the body that counts; also when the session is gone."""
    body = hub.commented("@claude-bot go")
    await hub.deliver("issue_comment", body, delivery="one")
    session = await hub.session()
    await hub.verdict()
    await hub.kube.delete(SESSIONS, session["metadata"]["name"], namespace=hub.namespace)
    for delivery in ("two", "three"):
        _, said = await hub.deliver("issue_comment", body, delivery=delivery)
        assert said["message"] == "Delivery is known already"
    assert await hub.sessions() == []


async def test_an_event_that_may_have_been_forgotten_is_too_old(hub: Hub) -> None:
    body = hub.commented("@claude-bot go")
    body["comment"]["created_at"] = "2026-01-01T00:00:00Z"
    status, said = await hub.deliver("issue_comment", body)
    assert (status, said["message"]) == (200, "Webhook processed successfully")
    assert await hub.rows() == []


async def test_two_replicas_that_get_it_at_once_make_one_session(hub: Hub) -> None:
    replica = hub.replica()
    await replica.start()
    try:
        for number in range(5):
            body = hub.commented(f"@claude-bot go {number}")
            answers = await asyncio.gather(
                hub.deliver("issue_comment", body, delivery=str(number)),
                hub.deliver("issue_comment", body, delivery=str(number), to=replica),
            )
            assert [status for status, _ in answers] == [200, 200]
            await hub.verdict(number + 1)
        assert len(await hub.sessions()) == 5
        assert len(await hub.rows()) == 5
    finally:
        await replica.clean_up()


async def test_a_shim_that_dies_between_keeping_and_making_loses_nothing(hub: Hub) -> None:
    """It hangs at GitHub's facts, is killed there, and another one goes on."""
    hub.github.faults.append(Fault("issues/list-comments", delay=20))
    await hub.deliver("issue_comment", hub.commented("@claude-bot go"))
    async with asyncio.timeout(DEADLINE):
        while not hub.github.of("issues/list-comments"):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.01)
    await hub.shim.kill()
    assert await hub.sessions() == []
    await _lease_over(hub)
    await hub.shim.start()
    await hub.session()
    assert "session " in await hub.verdict()
    await hub.comment("Accepted")


async def test_a_shim_that_dies_between_making_and_saying_so_makes_no_second_one(hub: Hub) -> None:
    body = hub.commented("@claude-bot go")
    await hub.deliver("issue_comment", body)
    session = await hub.session()
    await hub.comment("Accepted")
    await _undone(hub, session["metadata"]["uid"])
    await hub.shim.kill()
    hub.repo.add_comment(12, "something new in the thread", user="bob")
    await hub.shim.start()
    assert "session " in await hub.verdict()
    assert [one["metadata"]["uid"] for one in await hub.sessions()] == [session["metadata"]["uid"]]
    await hub.comment("Accepted")


async def test_a_gateway_that_restarts_knows_what_it_had(hub: Hub) -> None:
    body = hub.commented("@claude-bot go")
    await hub.deliver("issue_comment", body)
    session = await hub.session()
    await hub.comment("Accepted")
    await hub.claim(session)
    port = hub.gateway.ports.internal
    await hub.gateway.__aexit__(None, None, None)
    assert (await hub.deliver("issue_comment", hub.commented("@claude-bot more")))[0] == 503
    settings = replace(hub.settings, internal_port=port)
    async with Gateway(settings, hub.cluster, plain=True) as again:
        hub.gateway = again
        async with asyncio.timeout(DEADLINE):
            while not again.projects.synced.is_set():  # noqa: ASYNC110 - set within the gateway
                await asyncio.sleep(0.01)
        _, said = await hub.deliver("issue_comment", body, delivery="again")
        assert said["message"] == "Delivery is known already"
        await hub.finish(session, "Done.")
        await hub.comment("Done.")
        assert len(hub.github.of("issues/create-comment")) == 1
        assert len(await hub.sessions()) == 1


async def test_what_fails_for_a_day_is_given_up(hub: Hub) -> None:
    hub.github.faults.append(Fault("issues/list-comments", status=500, times=100))
    await hub.deliver("issue_comment", hub.commented("@claude-bot go"))
    async with asyncio.timeout(DEADLINE):
        while not hub.github.of("issues/list-comments"):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.01)
    await hub.shim.kill()
    await _change(hub, received_at="2026-01-01T00:00:00.000Z", due_at=stamp(utc_now()))
    await hub.shim.start()
    assert (await hub.verdict()).startswith("given up")


async def _change(hub: Hub, **values: object) -> None:
    table = tables.github_deliveries
    await hub.gateway.store.write(
        lambda connection: connection.execute(table.update().values(**values)).rowcount
    )


async def _lease_over(hub: Hub) -> None:
    """As if its time had passed."""
    await _change(hub, due_at=stamp(utc_now()))


async def _undone(hub: Hub, uid: str) -> None:
    """As a kill before the last step leaves it: the session is there, and nothing else."""
    body = hub.event("created", "alice", issue=hub.repo.issues[12], comment=hub.repo.comments[0])
    text = Payload.model_validate(body).model_dump_json()
    await _change(hub, done_at=None, verdict="", payload=text, due_at=stamp(utc_now()))
    answers, outbox = tables.github_answers, tables.outbox
    await hub.gateway.store.write(
        lambda connection: [
            connection.execute(table.delete().where(table.c.session_uid == uid)).rowcount
            for table in (answers, outbox)
        ]
    )
    hub.repo.comments[:] = [one for one in hub.repo.comments if one["user"]["login"] != "claude-bot"]
