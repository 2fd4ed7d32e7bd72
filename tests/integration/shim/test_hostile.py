"""What no client should send: each gets its documented error and has no effect."""

import asyncio
import gzip
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.integration.shim.stage import Stage

pytestmark = pytest.mark.controlplane

NAMES = [
    "$(touch /tmp/x)",
    "`id`",
    "; rm -rf /",
    "../../etc/passwd",
    "..",
    "a/b/../c",
    "%2e%2e%2f",
    "a.b.svc.cluster.local",
    "-rf",
    "--upload-pack=x",
    "!!python/object:os.system",
    "*anchor",
    "{{7*7}}",
    "null",
    "\u0000",
    "\u202egnp.exe",
    "x" * 5000,
    "550e8400e29b41d4a716446655440000",
    "{550e8400-e29b-41d4-a716-446655440000}",
    "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
    "python3",
]


async def nothing_was_made(stage: Stage) -> None:
    assert await stage.objects() == []


async def test_ids_types_and_names_with_other_meanings(stage: Stage) -> None:
    for name in NAMES:
        for answer in (
            await stage.api.create(id=name),
            await stage.api.create(type=name),
            await stage.api.create(project={"repository": name}),
            await stage.api.create(project={"repository": f"acme/{name}/x"}),
            await stage.api.create(project={"branch": name + "/.."}),
            await stage.api.create(metadata={"priority": name}),
            await stage.api.post({"type": name}),
            await stage.api.post({"type": f"session.{name}", "sessionId": str(uuid4())}),
        ):
            assert answer.status == 400, (name, answer.body)
            assert answer.error
        for what in ("get", "start", "output", "cancel", "delete", "retry"):
            assert (await stage.api.on(what, name)).status == 404, (what, name)
    listed = await stage.api.create(dependencies=["python3", "x y"])
    assert listed.error == "Invalid dependency IDs (not valid UUIDs): python3, x y"
    await nothing_was_made(stage)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "session.create"},
        {"type": "session.create", "session": None},
        {"type": "session.create", "session": []},
        {"type": "session.create", "session": "x"},
        {"type": "session.create", "session": {"project": {"repository": "a/b", "requirements": " \n"}}},
        {"type": "session.create", "session": {"project": {"repository": "a/b", "requirements": 7}}},
        {"type": "session.create", "session": {"project": {"repository": ["a/b"], "requirements": "x"}}},
        {"type": "session.get"},
        {"type": "session.get", "sessionId": 7},
        {"type": "session.get", "sessionId": None},
        {"type": "session.list", "limit": 0},
        {"type": "session.list", "limit": "5"},
        {"type": "session.list", "limit": 10**30},
        {"type": "session.list", "continue": "?"},
        {"type": "session.list", "continue": "WzEsMiwzXQ"},
        {"type": "session.list", "status": "sleeping"},
        {"type": "session.continue", "sessionId": str(UUID(int=1)), "requirements": " "},
        {"type": 7},
        {"type": None},
        {"type": ""},
        {},
        {"type": "orchestrate"},
        {"type": "orchestrate", "project": {"repository": "a/b"}},
        {"data": {"type": "session.list"}},
    ],
    ids=str,
)
async def test_bodies_that_lack_something(stage: Stage, body: dict[str, Any]) -> None:
    answer = await stage.api.post(body)
    assert answer.status == 400, answer.body
    assert answer.error


async def test_options_and_metadata_have_bounds(stage: Stage) -> None:
    for options in (
        {"autoStart": "yes"},
        {"timeout": 1},
        {"timeout": "3600"},
        {"timeout": 10**9},
        {"deep": json.loads("[" * 20 + "]" * 20)},
        {"large": "x" * 20_000},
    ):
        answer = await stage.api.create(options=options)
        assert answer.status == 400, options
        assert "options" in answer.error, answer.error
    for metadata in ({"tags": "x"}, {"batchId": 7}, {"tags": [7]}, {"x": "y" * 20_000}):
        assert (await stage.api.create(metadata=metadata)).status == 400
    await nothing_was_made(stage)
    kept = await stage.api.create(metadata={"team": {"name": "a"}, "batchId": "b/../c é"})
    assert kept.session["metadata"] == {"team": {"name": "a"}, "batchId": "b/../c é"}
    found = await stage.api.post({"type": "session.list", "orchestrationId": "b/../c é"})
    assert len(found.data["sessions"]) == 1


async def test_wrong_json(stage: Stage) -> None:
    deep = b'{"type":"session.list","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    level = b'{"type":"session.list","x":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}"
    broken = [b"", b"{", b"null", b"[]", b'"x"', b"7", b"\xff\xfe", b'{"type": NaN}', deep, level]
    for data in [*broken, b'{"type":"\\ud800"}']:
        answer = await stage.api.send(data)
        assert answer.status == 400, data[:40]
        assert answer.error.startswith("Invalid JSON"), answer.error
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        answer = await stage.api.send(b'{"type":"session.list"}', Content_Type=content_type)
        assert (answer.status, answer.error) == (400, "Content-Type must be application/json")
    good = await stage.api.send(b'{"type":"session.list"}', Content_Type="application/json; charset=utf-8")
    assert good.status == 200


async def test_bodies_that_are_too_large_or_never_end(idle_stage: Stage) -> None:
    stage = idle_stage
    await stage.shim.start(CLAUDE_SHIM_BODY_LIMIT="4096", CLAUDE_SHIM_BODY_SECONDS="0.5")
    too_large = json.dumps({"type": "session.list", "x": "y" * 5000}).encode()

    async def chunked(pieces: list[bytes]) -> Any:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0.05)

    for data in (too_large, chunked([too_large[:3000], too_large[3000:]])):
        answer = await stage.api.send(data)
        assert answer.status == 413
        assert "4096" in answer.error
    bomb = gzip.compress(b" " * 10_000_000)
    assert (await stage.api.send(bomb, Content_Encoding="gzip")).status in {400, 413}
    assert (await stage.api.send(b"no gzip", Content_Encoding="gzip")).status == 400
    slow = await stage.api.send(chunked([b" "] * 100))
    assert slow.status == 408
    assert slow.error == "Request body did not arrive within 0.5 s"
    assert (await stage.api.post({"type": "session.list"})).status == 200
    assert "Traceback" not in stage.shim.log.read_text(), stage.shim.tail()


async def test_connections_that_begin_nothing(idle_stage: Stage) -> None:
    stage, many, most = idle_stage, 100, 20
    await stage.shim.start(CLAUDE_SHIM_HEAD_SECONDS="1", CLAUDE_SHIM_CONNECTIONS_PER_PEER=str(most))
    connections = [await asyncio.open_connection("127.0.0.1", stage.shim.port) for _ in range(many)]
    slow = connections[0][1]
    slow.write(b"GET /health HTTP/1.1\r\n")

    def open_still() -> int:
        return sum(not reader.at_eof() and reader.exception() is None for reader, _ in connections)

    async with asyncio.timeout(20):
        while open_still() > most:  # noqa: ASYNC110 - another process closes them
            await asyncio.sleep(0.01)
        answer = await _health("127.0.0.2", stage.shim.port)
        assert answer.startswith(b"HTTP/1.1 200 "), "another client is served meanwhile"
        while open_still():  # and none stays: not that one, either, which sends its head line by line
            slow.write(b"X-Slow: 1\r\n")
            await asyncio.sleep(0.01)
    for _, writer in connections:
        writer.transport.abort()
    assert (await stage.api.post({"type": "session.list"})).status == 200


async def _health(address: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_nobody_without_a_key(stage: Stage) -> None:
    secret = stage.api.secret
    for shown in (
        "",
        "Bearer",
        "Bearer ",
        f"Basic {secret}",
        secret,
        f"Bearer {secret}x",
        f"Bearer {secret[:-1]}",
    ):
        # Before anything is read: not even broken JSON is told apart.
        for data in (b'{"type":"session.list"}', b"{"):
            answer = await stage.api.send(data, Authorization=shown)
            assert (answer.status, answer.body) == (401, {"success": False, "error": "Unauthorized"}), shown
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await stage.api.post({"type": "session.list"}, X_Api_Key=secret, Authorization="")).status == 401


async def test_other_paths_and_methods(stage: Stage) -> None:
    async with stage.api.http.get(f"{stage.shim.url}/api/webhooks/claude") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST"
        assert (await answer.json())["success"] is False
    for path in ("/", "/api/claude", "/api/webhooks", "/../etc/passwd", "/%2e%2e/x", "//"):
        async with stage.api.http.get(stage.shim.url + path) as answer:
            assert answer.status == 404, path
            assert await answer.json() == {"success": False, "error": "Not found"}


async def test_too_many_requests(idle_stage: Stage) -> None:
    stage = idle_stage
    await stage.shim.start(CLAUDE_SHIM_RATE_LIMIT="3", CLAUDE_SHIM_RATE_WINDOW="60")
    for left in (2, 1, 0):
        answer = await stage.api.post({"type": "session.list"})
        assert answer.status == 200
        assert answer.headers["RateLimit-Remaining"] == str(left)
        assert answer.headers["RateLimit-Policy"] == "3;w=60"
    refused = await stage.api.create()
    assert refused.status == 429
    assert refused.body["error"] == "Too many webhook requests"
    assert "please try again" in refused.body["message"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Limit"] == "3"
    await nothing_was_made(stage)
    assert (await stage.api.get("/health")).status == 200


async def test_dependencies_in_a_circle(stage: Stage) -> None:
    a, b, c = (str(uuid4()) for _ in range(3))
    answer = await stage.api.create(id=a, dependencies=[a])
    assert answer.status == 400
    assert answer.error == f"Circular dependency: session {a} depends on itself"
    await nothing_was_made(stage)
    # A session may depend on one that does not exist yet: so a circle can be closed.
    assert (await stage.api.create(id=a, dependencies=[b])).status == 200
    assert (await stage.api.create(id=b, dependencies=[c])).status == 200
    closed = await stage.api.create(id=c, dependencies=[a])
    assert closed.status == 400
    assert closed.error == f"Circular dependency: {c} -> {a} -> {b} -> {c}"
    assert len(await stage.objects()) == 2


async def test_eleven_levels_of_dependencies(stage: Stage) -> None:
    before: list[str] = []
    for level in range(12):
        session_id = str(uuid4())
        answer = await stage.api.create(id=session_id, dependencies=before)
        if level == 11:
            assert answer.status == 400
            assert "maximum of 10 levels" in answer.error
            break
        assert answer.status == 200, answer.body
        before = [session_id]
    assert len(await stage.objects()) == 11


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://10.0.0.1:8080/x",
        "http://192.168.1.1./",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.100.100.200/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://0/",
        "http://0.0.0.0/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://x.localhost/",
        "http://metadata.google.internal/",
        "http://claude-gateway.claude-operator.svc:8444/",
        "http://kubernetes/",
        "http://example.com@127.0.0.1/",
        "http://user:pw@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://\u2460\u2461\u2466.0.0.1/",
        "http://%31%32%37.0.0.1/",
        "http://1.2.3.4.5/",
        "http://256.256.256.256/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//example.com/",
        "example.com",
        "http://",
        "http:///x",
        "http://ex ample.com/",
        "http://example.com/\r\nX: y",
        "",
    ],
)
async def test_callbacks_to_forbidden_addresses(stage: Stage, url: str) -> None:
    answer = await stage.api.create(options={"notifyUrl": url})
    assert answer.status == 400, answer.body
    assert answer.error.startswith("options.notifyUrl "), answer.error
    await nothing_was_made(stage)


async def test_a_setting_permits_callbacks_to_private_addresses(idle_stage: Stage) -> None:
    await idle_stage.shim.start(CLAUDE_SHIM_PRIVATE_CALLBACKS="true")
    for url in ("http://127.0.0.1:8080/", "http://localhost/x"):
        made = await idle_stage.api.create(options={"notifyUrl": url})
        assert made.session["options"]["notifyUrl"] == url
    refused = await idle_stage.api.create(options={"notifyUrl": "http://x@127.0.0.1/"})
    assert refused.status == 400
