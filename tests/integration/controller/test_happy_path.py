"""One session from creation to success: its phases, its status, and what it costs."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.integration.controller.history import ready
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_three_writes_and_no_reads(stage: Stage) -> None:
    stage.audit.restart()
    uid = await stage.apply("first")
    await stage.run_to_success(uid, name="first")
    done = await stage.sessions.phase("first", "Succeeded")

    assert stage.sessions.phases("first") == ["Pending", "Running", "Succeeded"]
    status = done["status"]
    assert status["result"]["commit"] == "c0ffee"
    assert status["usage"]["costUSD"] == 0.25
    assert status["usage"]["inputTokens"] == 100
    assert [each["reason"] for each in status["attempts"]] == ["Completed"]
    assert status["observedGeneration"] == 1
    assert ready(done)["status"] == "True"
    assert stage.gateway.outcomes[uid].phase == "Succeeded"
    assert stage.gateway.outcomes[uid].commit == "c0ffee"

    job = await stage.jobs.find(lambda item: item["status"].get("succeeded") == 1, what="the Job to complete")
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ClaudeSession", uid, True)
    # A second session, which comes after everything of the first has been seen, ends the measurement.
    other = await stage.apply("second")
    await stage.run_to_success(other, name="second")
    await stage.sessions.phase("second", "Succeeded")
    assert await stage.audit.logged(6) == {"create jobs": 2, "patch claudesessions/status": 4}
    assert stage.audit.gets() == {}


async def test_nothing_is_written_to_the_object_but_status(stage: Stage) -> None:
    uid = await stage.apply("plain")
    await stage.run_to_success(uid, name="plain")
    done = await stage.sessions.phase("plain", "Succeeded")
    assert "finalizers" not in done["metadata"]
    assert "annotations" not in done["metadata"]
    assert done["metadata"]["generation"] == 1


async def test_finished_sessions_are_neither_listed_nor_watched(stage: Stage) -> None:
    watches = [
        parse_qs(urlsplit(entry["requestURI"]).query)
        for entry in stage.audit.entries()
        if entry["verb"] == "list" and entry["objectRef"]["resource"] == "claudesessions"
    ]
    assert watches
    finals = {"Succeeded", "Failed", "Cancelled", "Skipped"}
    for query in watches:
        assert set(query["fieldSelector"][0].split(",")) == {f"status.phase!={phase}" for phase in finals}
