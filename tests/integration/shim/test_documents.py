"""Every request and response example of the two documents, replayed against the running shim.

`EXAMPLES` names each of them and the test that replays it. The v2 documentation is `docs`, the OpenAPI text
`openapi`; samples in program languages are represented by what they read of the answers.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from claude_operator.resources.lifecycle import Reason
from claude_operator.wire.session import RunResult
from tests.integration.shim.process import Answer
from tests.integration.shim.stage import Stage

pytestmark = pytest.mark.controlplane

IMPLEMENTATION = "550e8400-e29b-41d4-a716-446655440000"
TESTING = "660e8400-e29b-41d4-a716-446655440001"
PROJECT = {
    "repository": "acme/webapp",
    "branch": "feature/user-auth",
    "requirements": "Implement JWT authentication middleware for Express.js",
    "context": "Use existing User model and bcrypt for password hashing",
}
METADATA = {"batchId": "auth-feature-batch", "tags": ["feature", "auth"], "priority": "high"}
STATUSES = {"pending", "initializing", "running", "completed", "failed", "cancelled"}

EXAMPLES = {
    "docs: Response Format": "test_every_answer_has_the_documented_form",
    "docs: 1. Create Session, Request Body": "test_create_with_everything",
    "docs: 1. Create Session, Response": "test_create_with_everything",
    "docs: 1. Create Session, Example": "test_create_as_the_curl_example",
    "docs: 2. Start Session, Request Body": "test_start",
    "docs: 2. Start Session, Response": "test_start",
    "docs: 2. Start Session, Response of a queued session": "test_start_while_dependencies_run",
    "docs: 2. Start Session, Example": "test_start",
    "docs: 3. Get Session Status, Request Body": "test_get_while_it_runs",
    "docs: 3. Get Session Status, Response": "test_get_while_it_runs",
    "docs: Session Status Values": "test_statuses",
    "docs: 4. Get Session Output, Request Body": "test_output",
    "docs: 4. Get Session Output, Response": "test_output",
    "docs: 5. List Sessions, Request Body": "test_list_of_a_batch",
    "docs: 5. List Sessions, Response": "test_list_of_a_batch",
    "docs: Session Types": "test_every_session_type",
    "docs: Dependency Management": "test_create_with_dependencies",
    "docs: Dependency Behavior": "test_a_failed_dependency",
    "docs: Error Response Format": "test_every_error_has_the_documented_form",
    "docs: Common Error Codes": "test_every_error_has_the_documented_form",
    "docs: Example Error Response": "test_an_unknown_session",
    "docs: Best Practices 1, multi-line requirements": "test_requirements_and_context_are_kept_byte_for_byte",
    "docs: Best Practices 3, context": "test_requirements_and_context_are_kept_byte_for_byte",
    "docs: Best Practices 4, jq .data.status": "test_the_samples_read_what_they_need",
    "docs: Best Practices 5, response.data.error": "test_the_samples_read_what_they_need",
    "docs: Integration Example, Node.js": "test_the_samples_read_what_they_need",
    "docs: Integration Example, Python": "test_the_samples_read_what_they_need",
    "docs: LLM Agent, Session Orchestration Pattern": "test_the_orchestration_pattern",
    "docs: LLM Agent, Polling Best Practices": "test_the_samples_read_what_they_need",
    "docs: LLM Agent, Batch Processing Pattern": "test_list_of_a_batch",
    "docs: LLM Agent, Error Handling": "test_the_error_handling_sample_finds_its_words",
    "docs: LLM Agent, Dependency Graph Building": "test_create_with_dependencies",
    "docs: Timeout Issues, custom timeout": "test_create_with_everything",
    "openapi: createSession": "test_create_as_the_curl_example",
    "openapi: createSessionWithDependencies": "test_create_with_dependencies",
    "openapi: startSession": "test_start",
    "openapi: orchestrate": "test_orchestrate",
    "openapi: sessionCreated": "test_create_as_the_curl_example",
    "openapi: sessionStarted": "test_start_while_dependencies_run",
    "openapi: 429": "test_too_many_requests (test_hostile.py)",
    "openapi: GET /health": "test_health",
    "openapi: GET /api/webhooks/health": "test_webhook_health",
    "openapi: POST /api/webhooks/{provider}, 404": "test_another_provider",
}


def test_every_example_has_its_test() -> None:
    for example, test in EXAMPLES.items():
        name, _, elsewhere = test.partition(" (")
        assert elsewhere or name in globals(), example


def creation(session_id: str = IMPLEMENTATION, **more: Any) -> dict[str, Any]:
    return {
        "type": "session.create",
        "session": {"id": session_id, "type": "implementation", "project": PROJECT, **more},
    }


def assert_answer(answer: Answer, message: str) -> None:
    """The documented flat form, and around the same object the envelope that the original sent."""
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.body
    assert body["success"] is True
    assert body["message"] == message
    assert body["handlerCount"] == 1
    assert body["results"] == [{"success": True, "message": message, "data": body["data"]}]


async def test_every_answer_has_the_documented_form(stage: Stage) -> None:
    made = await stage.api.post(creation())
    assert_answer(made, "Session created successfully")
    assert made.body["event"] == "session.create"
    assert_answer(await stage.api.on("get", IMPLEMENTATION), "Session found")
    assert_answer(await stage.api.on("start", IMPLEMENTATION), "Session started successfully")
    assert_answer(await stage.api.on("output", IMPLEMENTATION), "Session output retrieved")
    assert_answer(await stage.api.post({"type": "session.list"}), "Sessions retrieved")


async def test_create_with_everything(stage: Stage) -> None:
    asked = creation(dependencies=[], metadata=METADATA)
    asked["options"] = {"autoStart": False, "timeout": 3600, "notifyUrl": "https://hooks.example.com/done"}
    made = await stage.api.post(asked)
    assert_answer(made, "Session created successfully")
    session = dict(made.session)
    assert session.pop("createdAt").endswith("Z")
    output = session.pop("output")
    assert (output["logs"], output["artifacts"], output["summary"], output["nextSteps"]) == ([], [], "", [])
    more = {name: session.pop(name) for name in ("phase", "reason", "costUSD", "turns")}
    assert more["phase"] == "Pending"
    assert session == {
        "id": IMPLEMENTATION,
        "type": "implementation",
        "status": "pending",
        "project": PROJECT,
        "dependencies": [],
        "metadata": METADATA,
        "options": asked["options"],
        "containerId": None,
        "claudeSessionId": None,
        "startedAt": None,
        "completedAt": None,
        "error": None,
    }
    spec = (await stage.object(IMPLEMENTATION))["spec"]
    assert spec["timeoutSeconds"] == 3600
    assert spec["notify"]["url"] == "https://hooks.example.com/done"
    assert spec["priority"] == 100
    assert spec["branch"] == "feature/user-auth"
    assert spec["suspend"] is True


async def test_create_as_the_curl_example(stage: Stage) -> None:
    asked = creation(dependencies=[])
    del asked["session"]["id"]
    made = await stage.api.post(asked)
    session = made.session
    assert session["project"] == PROJECT
    assert session["status"] in {"pending", "initializing"}
    assert session["dependencies"] == []
    assert session["options"] == {"autoStart": False, "timeout": 1800, "notifyUrl": None}
    assert session["metadata"] == {}
    assert len(session["id"]) == 36
    assert (await stage.object(session["id"]))["spec"]["requirements"] == PROJECT["requirements"]


async def test_create_with_dependencies(stage: Stage) -> None:
    await stage.api.post(creation())
    asked = creation(TESTING, dependencies=[IMPLEMENTATION, "none", "", "  ", "NONE"])
    session = (await stage.api.post(asked)).session
    assert session["dependencies"] == [IMPLEMENTATION]
    spec = (await stage.object(TESTING))["spec"]
    assert spec["dependencies"] == [{"name": IMPLEMENTATION, "when": "Succeeded"}]


async def test_start(stage: Stage) -> None:
    await stage.api.post(creation())
    started = await stage.api.post({"type": "session.start", "sessionId": IMPLEMENTATION})
    assert_answer(started, "Session started successfully")
    assert started.session["id"] == IMPLEMENTATION
    assert started.session["status"] == "initializing"
    assert (await stage.object(IMPLEMENTATION))["spec"]["suspend"] is False
    await stage.move(
        IMPLEMENTATION,
        "Running",
        startTime="2026-01-01T10:00:00Z",
        claudeSessionId="claude-internal-session-id",
        attempts=[{"number": 1, "job": "the-job", "pod": "the-pod"}],
    )
    session = await stage.shows(IMPLEMENTATION, status="running")
    assert session["containerId"] == "the-pod"
    assert session["claudeSessionId"] == "claude-internal-session-id"


async def test_start_while_dependencies_run(stage: Stage) -> None:
    await stage.api.post(creation())
    await stage.api.post(creation(TESTING, dependencies=[IMPLEMENTATION]))
    started = await stage.api.on("start", TESTING)
    assert_answer(started, "Session queued")
    assert started.session["status"] == "pending"
    assert started.data["waitingFor"] == [IMPLEMENTATION]
    assert started.data["queueStatus"] == {"waitingFor": [IMPLEMENTATION], "estimatedStartTime": None}
    # As the original: another start of what is queued queues it, once.
    assert_answer(await stage.api.on("start", TESTING), "Session queued")


async def test_get_while_it_runs(stage: Stage) -> None:
    await stage.api.post(creation())
    await stage.api.on("start", IMPLEMENTATION)
    await stage.move(IMPLEMENTATION, "Running", startTime="2026-01-06T10:30:00Z")
    await stage.shows(IMPLEMENTATION, status="running")
    found = await stage.api.post({"type": "session.get", "sessionId": IMPLEMENTATION})
    assert_answer(found, "Session found")
    session = found.session
    assert session["type"] == "implementation"
    assert session["project"] == PROJECT
    assert session["startedAt"] == "2026-01-06T10:30:00Z"
    assert session["completedAt"] is None
    assert session["error"] is None


async def test_statuses(stage: Stage) -> None:
    await stage.api.post(creation())
    seen = {(await stage.api.on("get", IMPLEMENTATION)).session["status"]}
    await stage.api.on("start", IMPLEMENTATION)
    for phase, status in [("Queued", "initializing"), ("Starting", "initializing"), ("Running", "running")]:
        await stage.move(IMPLEMENTATION, phase)
        seen.add((await stage.shows(IMPLEMENTATION, phase=phase, status=status))["status"])
    await stage.finish(IMPLEMENTATION)
    seen.add((await stage.shows(IMPLEMENTATION, status="completed"))["status"])
    for phase, status in [("Failed", "failed"), ("Cancelled", "cancelled")]:
        session = (await stage.api.create(options={"autoStart": True})).session
        await stage.finish(session["id"], phase, reason="Timeout", message="it took too long")
        ended = await stage.shows(session["id"], status=status)
        assert ended["error"] == "Timeout: it took too long"
        seen.add(status)
    assert seen == STATUSES


async def test_list_of_a_batch(stage: Stage) -> None:
    await stage.api.post(creation(metadata=METADATA))
    testing = creation(TESTING, dependencies=[IMPLEMENTATION], metadata={"batchId": "auth-feature-batch"})
    await stage.api.post(testing)
    await stage.api.create(metadata={"batchId": "another"})
    await stage.finish(IMPLEMENTATION)
    await stage.shows(IMPLEMENTATION, status="completed")
    found = await stage.api.post({"type": "session.list", "orchestrationId": "auth-feature-batch"})
    assert_answer(found, "Sessions retrieved")
    sessions = {one["id"]: one for one in found.data["sessions"]}
    assert sessions.keys() == {IMPLEMENTATION, TESTING}
    assert sessions[IMPLEMENTATION]["status"] == "completed"
    assert sessions[IMPLEMENTATION]["metadata"] == METADATA
    assert sessions[IMPLEMENTATION]["completedAt"] == "2026-01-01T10:01:00Z"
    assert sessions[TESTING]["dependencies"] == [IMPLEMENTATION]
    everything = await stage.api.post({"type": "session.list"})
    assert len(everything.data["sessions"]) == 3
    completed = await stage.api.post({"type": "session.list", "status": "completed"})
    assert [one["id"] for one in completed.data["sessions"]] == [IMPLEMENTATION]


@pytest.mark.parametrize("kind", ["implementation", "analysis", "testing", "review", "coordination"])
async def test_every_session_type(stage: Stage, kind: str) -> None:
    session = (await stage.api.create(type=kind)).session
    assert session["type"] == kind
    assert (await stage.object(session["id"]))["spec"]["type"] == kind


async def test_a_failed_dependency(stage: Stage) -> None:
    await stage.api.post(creation())
    await stage.api.post(creation(TESTING, dependencies=[IMPLEMENTATION]) | {"options": {"autoStart": True}})
    # What the controller writes when a dependency has failed.
    message = f"dependency {IMPLEMENTATION} failed: AgentError"
    await stage.finish(TESTING, "Failed", reason="DependencyFailed", message=message)
    session = await stage.shows(TESTING, status="failed")
    assert IMPLEMENTATION in session["error"]


async def test_an_unknown_session(stage: Stage) -> None:
    for what in ("get", "start", "output", "cancel", "delete", "retry"):
        answer = await stage.api.on(what, IMPLEMENTATION)
        assert answer.status == 404, what
        assert answer.error == f"Session not found: {IMPLEMENTATION}"


async def test_every_error_has_the_documented_form(stage: Stage) -> None:
    await stage.api.post(creation())
    await stage.api.on("start", IMPLEMENTATION)
    errors = {
        400: await stage.api.post({"type": "session.create", "session": {}}),
        401: await stage.api.post({"type": "session.list"}, Authorization="Bearer wrong"),
        404: await stage.api.on("get", TESTING),
        409: await stage.api.on("start", IMPLEMENTATION),
    }
    for status, answer in errors.items():
        assert answer.status == status
        assert answer.body["success"] is False
        assert answer.body["error"]
        if status != 401:
            assert answer.body["results"] == [{"success": False, "error": answer.error}]


async def test_the_error_handling_sample_finds_its_words(stage: Stage) -> None:
    assert "not found" in (await stage.api.on("get", TESTING)).error
    await stage.api.post(creation())
    await stage.api.on("start", IMPLEMENTATION)
    await stage.move(IMPLEMENTATION, "Running")
    await stage.shows(IMPLEMENTATION, status="running")
    again = await stage.api.on("start", IMPLEMENTATION)
    assert "already started" in again.error
    assert "cannot be started in status: running" in again.error


async def test_requirements_and_context_are_kept_byte_for_byte(stage: Stage) -> None:
    requirements = 'Implement:\n- Access token (15min)\n- "quotes" $(id) `x` \\n \u00fc \U0001f600\n\ttab  '
    context = "We use Express.js.\r\n\r\nSee src/models."
    project = {"requirements": requirements, "context": context}
    session = (await stage.api.create(project=project)).session
    spec = (await stage.object(session["id"]))["spec"]
    assert (spec["requirements"], spec["context"]) == (requirements, context)
    shown = (await stage.api.on("get", session["id"])).session["project"]
    assert (shown["requirements"], shown["context"]) == (requirements, context)


async def test_the_samples_read_what_they_need(stage: Stage) -> None:
    made = await stage.api.post(creation())
    assert made.body["data"]["sessionId"] == IMPLEMENTATION
    await stage.api.on("start", IMPLEMENTATION)
    # Their loops go on while this is `running` or `initializing`, and end at the first other word.
    assert (await stage.api.on("get", IMPLEMENTATION)).body["data"]["status"] == "initializing"
    await stage.finish(IMPLEMENTATION, result={"summary": "Profile endpoints are in place."})
    await stage.shows(IMPLEMENTATION, status="completed")
    got = (await stage.api.on("get", IMPLEMENTATION)).body["data"]
    assert (got["status"], got["error"]) == ("completed", None)
    output = (await stage.api.on("output", IMPLEMENTATION)).body["data"]
    assert output["summary"] == "Profile endpoints are in place."
    assert output["artifacts"] == []
    assert output["session"]["output"] == output["output"]


async def test_the_orchestration_pattern(stage: Stage) -> None:
    analysis = (await stage.api.create(type="analysis", options={"autoStart": True})).session["id"]
    implementation = await stage.api.create(dependencies=[analysis], options={"autoStart": True})
    testing = await stage.api.create(
        type="testing",
        dependencies=[implementation.session["id"]],
        options={"autoStart": True},
    )
    assert implementation.data["waitingFor"] == [analysis]
    assert testing.session["status"] == "pending"
    await stage.move(analysis, "Running", startTime="2026-01-01T10:00:00Z")
    await stage.finish(analysis)
    # It waits for nothing any more: no client may take it for one that nobody has started.
    await stage.shows(implementation.session["id"], status="initializing")


async def test_options_inside_the_session_are_read_too(stage: Stage) -> None:
    asked = creation(options={"autoStart": True, "timeout": 600})
    session = (await stage.api.post(asked)).session
    assert session["options"] == {"autoStart": True, "timeout": 600, "notifyUrl": None}
    assert session["status"] == "initializing"
    spec = (await stage.object(IMPLEMENTATION))["spec"]
    assert (spec["suspend"], spec["timeoutSeconds"]) == (False, 600)
    # An existing client starts what it has created with autoStart.
    assert_answer(await stage.api.on("start", IMPLEMENTATION), "Session started successfully")


async def test_orchestrate(stage: Stage) -> None:
    answer = await stage.api.post({"type": "orchestrate", "autoStart": True, "project": PROJECT})
    assert_answer(answer, "Orchestration session created")
    data = answer.data
    assert data["status"] == "initiated"
    assert data["summary"] == "Created orchestration session for acme/webapp"
    [session] = data["sessions"]
    assert session["type"] == "coordination"
    assert session["id"] == data["orchestrationId"]
    assert session["status"] == "initializing"
    found = await stage.api.post({"type": "session.list", "orchestrationId": data["orchestrationId"]})
    assert [one["id"] for one in found.data["sessions"]] == [session["id"]]
    waiting = await stage.api.create(dependencies=[session["id"]], options={"autoStart": True})
    assert waiting.data["waitingFor"] == [session["id"]]


async def test_health(stage: Stage) -> None:
    body = (await stage.api.get("/health")).body
    assert body["status"] == "ok"
    assert body["docker"]["available"] is True
    assert body["claudeCodeImage"] | {"checkTime": 0} == {"available": True, "error": None, "checkTime": 0}
    assert isinstance(body["startup"]["totalStartupTime"], int)
    assert [one["name"] for one in body["startup"]["milestones"]] == ["server_listening", "sessions_listed"]
    session = (await stage.api.create(options={"autoStart": True})).session["id"]
    await stage.move(session, "Starting", reason="ImagePullBackOff", message="no such image")
    await stage.shows(session, phase="Starting")
    degraded = (await stage.api.get("/health")).body
    assert degraded["status"] == "degraded"
    assert "ImagePullBackOff: no such image" in degraded["claudeCodeImage"]["error"]


async def test_webhook_health(stage: Stage) -> None:
    body = (await stage.api.get("/api/webhooks/health")).body
    assert body["status"] == "healthy"
    assert {"name": "claude", "handlerCount": 10} in body["providers"]


async def test_another_provider(stage: Stage) -> None:
    for provider in ("gitlab", "CLAUDE", "health", "claude/more"):
        answer = await stage.api.post({}, path=f"/api/webhooks/{provider}")
        assert (answer.status, answer.error) == (404, "Not found")
    assert (await stage.api.post({"type": "session.list"}, path="/api/webhooks/claude/")).status == 200
    assert (await stage.api.post({"type": "session.list"}, path="/api/webhooks/claude?x=1")).status == 200


async def test_output(stage: Stage) -> None:
    made = (await stage.api.post(creation())).session
    before = await stage.api.on("output", made["id"])
    assert before.data["output"]["logs"] == []
    uid = (await stage.object(IMPLEMENTATION))["metadata"]["uid"]
    summary = "Implemented JWT authentication middleware with refresh token support"
    result = RunResult(
        reason=Reason.COMPLETED,
        summary=summary,
        structured_output={"summary": summary, "nextSteps": ["Add rate limiting"]},
        cpu_seconds=45.23,
        memory_peak_bytes=512_000_000,
    )
    published = {"branch": "claude/x", "commit": "c" * 40}
    opened = {"url": "https://github.com/acme/webapp/pull/7", "number": 7}
    stage.record.put(uid, result=result, published=published, pull_request=opened)
    write = {
        "type": "tool_use",
        "id": "t1",
        "name": "Write",
        "input": {"file_path": "/workspace/repo/src/auth.js", "content": "// JWT\n"},
    }
    stage.record.tell(
        uid,
        ("runner.claimed", {"message": "claimed"}),
        ("cli.system", {"type": "system", "subtype": "init", "cwd": "/workspace/repo", "model": "m"}),
        ("cli.assistant", {"type": "assistant", "message": {"content": [write]}}),
        (
            "cli.user",
            {
                "type": "user",
                "message": {"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]},
                "tool_use_result": {"structuredPatch": []},
            },
        ),
        ("gateway.pushed", {"branch": "claude/x", "commit": "c" * 40}),
    )
    await stage.finish(IMPLEMENTATION, seconds=180, result={"summary": summary[:20]})
    await stage.shows(IMPLEMENTATION, status="completed")
    answer = await stage.api.on("output", IMPLEMENTATION)
    assert_answer(answer, "Session output retrieved")
    output = answer.data["output"]
    assert "* claimed" in output["logs"]
    assert output["summary"] == summary
    assert output["nextSteps"] == ["Add rate limiting"]
    assert output["executionTime"] == 180
    assert output["resourceUsage"] == {"cpuTime": 45.2, "memoryPeak": "512MB"}
    kinds = {one["type"]: one for one in output["artifacts"]}
    assert kinds["file"]["path"] == "src/auth.js"
    assert kinds["file"]["content"] == "// JWT\n"
    assert kinds["file"]["metadata"] == {"linesAdded": 1, "linesRemoved": 0}
    assert kinds["commit"]["sha"] == "c" * 40
    assert kinds["pr"] == {"type": "pr", "url": opened["url"], "metadata": {"number": 7}}
    assert not stage.record.refused
    async with stage.record.outage():
        away = await stage.api.on("output", IMPLEMENTATION)
        assert (away.status, away.headers["Retry-After"]) == (503, "2")
        # What the cluster knows is told all the same.
        assert (await stage.api.on("get", IMPLEMENTATION)).session["output"]["summary"] == summary[:20]


async def test_the_estimate_of_a_start_comes_from_what_is_known(stage: Stage) -> None:
    waiting = creation(TESTING, dependencies=[IMPLEMENTATION]) | {"options": {"autoStart": True}}
    await stage.api.post(creation() | {"options": {"autoStart": True}})
    for _ in range(3):
        done = (await stage.api.create(options={"autoStart": True})).session["id"]
        await stage.finish(done, seconds=600)
        await stage.shows(done, status="completed")
    assert (await stage.api.post(waiting)).data["queueStatus"]["estimatedStartTime"] is None
    begun = datetime.now(UTC).replace(microsecond=0)
    await stage.move(IMPLEMENTATION, "Running", startTime=begun.strftime("%Y-%m-%dT%H:%M:%SZ"))
    await stage.shows(IMPLEMENTATION, status="running")
    estimate = (await stage.api.on("get", TESTING)).data["queueStatus"]["estimatedStartTime"]
    assert datetime.fromisoformat(estimate) == begun + timedelta(seconds=600)
