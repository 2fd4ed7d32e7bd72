"""What the API adds to the documents: ending, deleting and going on; paging; keys; other ways to the same."""

import asyncio
import contextlib
import json
from uuid import uuid4

import aiohttp
import pytest

from claude_operator.kube.kinds import NAMESPACES, SESSIONS
from tests.integration.shim.process import SECRET, Client
from tests.integration.shim.stage import Stage

pytestmark = pytest.mark.controlplane


async def finished(stage: Stage, phase: str = "Succeeded", *, checkpoint: bool = True) -> str:
    """A session that has ended, with a conversation that can be continued."""
    session_id = str((await stage.api.create(options={"autoStart": True})).session["id"])
    uid = (await stage.object(session_id))["metadata"]["uid"]
    stage.record.put(uid, has_checkpoint=checkpoint)
    await stage.finish(session_id, phase)
    await stage.shows(session_id, phase=phase)
    return session_id


async def test_cancel(stage: Stage) -> None:
    session_id = (await stage.api.create(options={"autoStart": True})).session["id"]
    assert (await stage.api.on("cancel", session_id)).body["message"] == "Session is being cancelled"
    assert (await stage.object(session_id))["spec"]["cancel"] is True
    await stage.finish(session_id, "Cancelled", reason="Cancelled")
    await stage.shows(session_id, status="cancelled")
    assert (await stage.api.on("cancel", session_id)).body["message"] == "Session is cancelled"
    done = await finished(stage)
    refused = await stage.api.on("cancel", done)
    assert (refused.status, refused.error) == (
        409,
        "Session already finished: it cannot be cancelled in status: completed",
    )


async def test_delete_takes_the_continuations_too(stage: Stage) -> None:
    session_id = await finished(stage)
    assert (await stage.api.on("continue", session_id, requirements="More.")).status == 200
    assert len(await stage.objects()) == 2
    deleted = await stage.api.on("delete", session_id)
    assert deleted.data["deleted"] is True
    assert await stage.objects() == []
    assert (await stage.api.on("get", session_id)).status == 404
    assert (await stage.api.on("delete", session_id)).status == 404


async def test_continue_goes_on_under_the_same_id(stage: Stage) -> None:
    session_id = await finished(stage)
    answer = await stage.api.on(
        "continue", session_id, requirements="Now the tests.", options={"timeout": 60}
    )
    assert answer.body["message"] == "Session continued"
    session = answer.session
    assert session["id"] == session_id
    assert session["status"] == "initializing"
    assert session["project"]["requirements"] == "Now the tests."
    [further] = [one for one in await stage.objects() if one["metadata"]["name"] != session_id]
    assert further["spec"]["resumeFrom"] == session_id
    assert further["spec"]["timeoutSeconds"] == 60
    again = await stage.api.on("continue", session_id, requirements="And more.")
    assert again.status == 409
    assert "has not finished" in again.error
    # The one that speaks for the id is the latest; lists show it once.
    await stage.move(further["metadata"]["name"], "Running")
    await stage.shows(session_id, status="running")
    listed = await stage.api.post({"type": "session.list"})
    assert [one["id"] for one in listed.data["sessions"]] == [session_id]
    # Who depends on the id, depends on its latest.
    dependent = (await stage.api.create(dependencies=[session_id], options={"autoStart": True})).data
    assert dependent["waitingFor"] == [session_id]
    assert dependent["session"]["dependencies"] == [session_id]
    await stage.finish(further["metadata"]["name"])
    await stage.shows(session_id, status="completed")
    uid = further["metadata"]["uid"]
    stage.record.put(uid)
    assert (await stage.api.on("continue", session_id, requirements="Third.")).status == 200
    assert (
        len(
            [
                one
                for one in await stage.objects()
                if one["metadata"]["labels"].get("claude-operator.dev/session-id") == session_id
            ]
        )
        == 2
    )


async def test_retry_resumes_where_there_is_something_to_go_on_from(stage: Stage) -> None:
    session_id = await finished(stage, "Failed")
    retried = await stage.api.on("retry", session_id)
    assert retried.session["status"] == "initializing"
    assert retried.session["project"]["requirements"] == "Add a login page."
    [further] = [one for one in await stage.objects() if one["metadata"]["name"] != session_id]
    assert further["spec"]["resumeFrom"] == session_id
    afresh = await finished(stage, "Failed", checkpoint=False)
    assert (await stage.api.on("retry", afresh)).status == 200
    [second] = [
        one
        for one in await stage.objects()
        if one["metadata"]["labels"].get("claude-operator.dev/session-id") == afresh
    ]
    assert "resumeFrom" not in second["spec"]
    nothing = await finished(stage, "Failed", checkpoint=False)
    refused = await stage.api.on("continue", nothing, requirements="More.")
    assert refused.status == 409
    assert "no conversation to continue" in refused.error


async def test_a_retry_is_repeated_safely_with_a_key(stage: Stage) -> None:
    session_id = await finished(stage, "Failed")
    body = {"type": "session.retry", "sessionId": session_id}
    first = await stage.api.post(body, Idempotency_Key="retry-1")
    second = await stage.api.post(body, Idempotency_Key="retry-1")
    assert (first.status, second.status) == (200, 200)
    assert len(await stage.objects()) == 2
    assert (await stage.api.post(body, Idempotency_Key="retry-2")).status == 409


async def test_a_session_that_kubectl_made_answers_to_its_uid(stage: Stage) -> None:
    applied = await stage.apply("fix-the-login", suspend=True)
    uid = applied["metadata"]["uid"]
    session = await stage.shows(uid, status="pending")
    assert session["options"] == {"autoStart": False, "timeout": 1800, "notifyUrl": None}
    assert (await stage.api.on("start", uid)).session["status"] == "initializing"
    assert (await stage.object("fix-the-login"))["spec"]["suspend"] is False
    dependent = await stage.api.create(dependencies=[uid], options={"autoStart": True})
    assert dependent.data["waitingFor"] == [uid]
    spec = (await stage.object(dependent.session["id"]))["spec"]
    assert spec["dependencies"][0]["name"] == "fix-the-login"
    assert (await stage.api.on("get", "fix-the-login")).status == 404


async def test_pages(stage: Stage) -> None:
    made = {str((await stage.api.create()).session["id"]) for _ in range(7)}
    seen: list[str] = []
    after: str | None = None
    while True:
        body = {"type": "session.list", "limit": 3} | ({"continue": after} if after else {})
        data = (await stage.api.post(body)).data
        seen += [one["id"] for one in data["sessions"]]
        after = data["continue"]
        if after is None:
            break
        assert len(data["sessions"]) == 3
        # What is made meanwhile shifts nothing; within the same second it may be on a later page.
        await stage.api.create()
    assert len(seen) == len(set(seen))
    assert made <= set(seen)


async def test_long_texts_are_shown_whole(stage: Stage) -> None:
    text = "Begin. " + "x" * 150_000 + " End."
    session_id = (await stage.api.create(project={"requirements": text})).session["id"]
    assert (await stage.api.on("get", session_id)).session["project"]["requirements"] == text
    [listed] = (await stage.api.post({"type": "session.list"})).data["sessions"]
    assert listed["project"]["requirements"] == text


async def test_a_repeated_create_finds_what_the_first_one_made(stage: Stage) -> None:
    session_id = str(uuid4())
    first = await stage.api.create(id=session_id, metadata={"tags": ["a"]})
    await stage.api.on("start", session_id)
    again = await stage.api.create(id=session_id.upper(), metadata={"tags": ["a"]})
    assert (first.session["status"], again.session["status"]) == ("pending", "initializing")
    for other in ({"metadata": {"tags": ["b"]}}, {"project": {"requirements": "Else."}}, {"type": "review"}):
        refused = await stage.api.create(**({"id": session_id, "metadata": {"tags": ["a"]}} | other))
        assert refused.status == 409, other
        assert refused.error.startswith(f"Session already exists: {session_id}")
    assert len(await stage.objects()) == 1


async def test_an_idempotency_key_does_the_same_for_a_random_id(stage: Stage) -> None:
    body = {
        "type": "session.create",
        "session": {"project": {"repository": "acme/webapp", "requirements": "Add a login page."}},
    }
    ids = [(await stage.api.post(body, Idempotency_Key="k-1")).session["id"] for _ in range(3)]
    assert len(set(ids)) == 1
    other = json.loads(json.dumps(body))
    other["session"]["type"] = "review"
    assert (await stage.api.post(other, Idempotency_Key="k-1")).status == 409
    assert (await stage.api.post(other, Idempotency_Key="k-2")).session["id"] not in ids
    assert (await stage.api.post(body, Idempotency_Key="a b")).status == 400
    assert len(await stage.objects()) == 2


async def test_keys_are_confined_and_change_while_it_runs(idle_stage: Stage) -> None:
    stage = idle_stage
    keys = stage.folder / "keys"
    keys.mkdir()
    other = f"{stage.namespace}-other"
    await stage.kube.create(NAMESPACES, {"metadata": {"name": other}})
    a, b = "key-of-the-team-a-0123456789", "key-of-the-team-b-0123456789"
    (keys / "team-a").write_text(a + "\n")
    (keys / "team-b").write_text(f"secret: {b}\nnamespaces: [{other}]\nprojects: [special]\n")
    await stage.shim.start(
        CLAUDE_SHIM_KEYS_DIRECTORY=str(keys), CLAUDE_WEBHOOK_SECRET="", CLAUDE_NAMESPACES=""
    )
    team_a, team_b = stage.client(secret=a), stage.client(secret=b)
    of_a = (await team_a.create()).session["id"]
    of_b = (await team_b.create()).session["id"]
    made = await stage.kube.get(SESSIONS, of_b, namespace=other)
    assert made["spec"]["project"] == "special"
    assert made["metadata"]["labels"]["claude-operator.dev/client"] == "team-b"
    for client, foreign in ((team_a, of_b), (team_b, of_a)):
        for what in ("get", "start", "output", "cancel", "delete"):
            assert (await client.on(what, foreign)).status == 404
        assert len((await client.post({"type": "session.list"})).data["sessions"]) == 1
    # An id that another client uses where this one sees nothing is free here.
    assert (await team_a.create(id=of_b)).session["id"] == of_b
    new = "the-next-key-of-the-team-a-0123456789"
    (keys / "team-a").unlink()
    (keys / "team-a-2").write_text(new)
    await _until(team_a, 401)
    assert (await stage.client(secret=new).on("get", of_a)).status == 200
    assert stage.api.secret == SECRET
    assert (await stage.api.post({"type": "session.list"})).status == 401
    log = stage.shim.log.read_text()
    assert a not in log
    assert b not in log


async def test_it_does_not_start_without_a_key_unless_it_is_told_to_wait(idle_stage: Stage) -> None:
    stage = idle_stage
    await stage.shim.start(ready=False, CLAUDE_WEBHOOK_SECRET="")
    assert await stage.shim.ended() == 1
    assert "no key: set CLAUDE_WEBHOOK_SECRET" in stage.shim.tail()
    await stage.shim.start(ready=False, CLAUDE_WEBHOOK_SECRET="short")
    assert await stage.shim.ended() == 1
    assert "at least 16" in stage.shim.tail()
    keys = stage.folder / "keys"
    keys.mkdir()
    await stage.shim.start(
        ready=False,
        CLAUDE_WEBHOOK_SECRET="",
        CLAUDE_SHIM_WAIT_FOR_KEYS="true",
        CLAUDE_SHIM_KEYS_DIRECTORY=str(keys),
    )
    await _until(stage.api, 401)
    assert await stage.shim.status("/livez") == 200
    assert await stage.shim.status("/readyz") == 503
    assert "kubectl -n claude-operator create secret generic claude-shim-keys" in stage.shim.tail()
    (keys / "default").write_text(SECRET)
    await stage.shim.until_ready()
    assert (await stage.api.create()).status == 200


async def test_legacy_error_status(idle_stage: Stage) -> None:
    stage = idle_stage
    await stage.shim.start(CLAUDE_SHIM_ERROR_STATUS="legacy")
    for answer in (
        await stage.api.on("get", str(uuid4())),
        await stage.api.create(type="x"),
        await stage.api.post({"type": "session.nonsense"}),
    ):
        assert answer.status == 207
        assert answer.body["results"][0]["error"] == answer.error
    assert (await stage.api.post({}, Authorization="")).status == 401


async def test_connections_are_closed_where_a_setting_says_so(idle_stage: Stage) -> None:
    stage = idle_stage
    await stage.shim.start(CLAUDE_SHIM_KEEP_ALIVE="false")
    assert (await stage.api.post({"type": "session.list"})).headers["Connection"] == "close"
    await stage.shim.stop()
    await stage.shim.start()
    assert "Connection" not in (await stage.api.post({"type": "session.list"})).headers


async def test_the_documents_are_served(stage: Stage) -> None:
    described = (await stage.api.get("/openapi.json")).body
    assert "/api/webhooks/claude" in described["paths"]
    assert "SessionCreate" in described["components"]["schemas"]
    async with stage.api.http.get(f"{stage.shim.url}/docs") as answer:
        page = await answer.text()
    assert "SessionCreate" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://localhost", "")
    async with stage.api.http.get(f"{stage.shim.url}/metrics") as answer:
        text = await answer.text()
    assert "claude_shim_sessions_pending 0" in text
    assert 'claude_shim_requests_total{status="200"}' in text


async def _until(client: Client, status: int) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        with contextlib.suppress(aiohttp.ClientError):  # not listening yet
            if (await client.post({"type": "session.list"})).status == status:
                return
        assert asyncio.get_running_loop().time() < deadline, f"never {status}"
        await asyncio.sleep(0.05)
