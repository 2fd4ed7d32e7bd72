"""Retries, errors and tokens, over a real socket."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import ClusterConfig, TokenFile
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import EVENTS, JOBS, PODS, SESSIONS
from claude_operator.kube.retry import RetryPolicy
from tests.unit.kube.apiserver import FakeApiServer, serving

JOB = {"metadata": {"name": "j"}}


def status(code: int, reason: str, message: str = "no", **headers: str) -> web.Response:
    return web.json_response(
        {"kind": "Status", "reason": reason, "message": message, "code": code}, status=code, headers=headers
    )


def found() -> web.Response:
    return web.json_response({"metadata": {"name": "x"}})


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(code: int) -> None:
    server = FakeApiServer(answers=[status(code, "Busy"), status(code, "Busy"), found()])
    async with serving(server) as client:
        assert (await client.create(JOBS, JOB, namespace="default"))["metadata"]["name"] == "x"
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [400, 403, 404, 409, 422])
async def test_a_refusal_is_not(code: int) -> None:
    server = FakeApiServer(answers=[status(code, "Because", "the reason")])
    async with serving(server) as client:
        with pytest.raises(ApiError) as caught:
            await client.get(PODS, "p", namespace="default")
    assert (caught.value.status, caught.value.reason) == (code, "Because")
    assert "GET /api/v1/namespaces/default/pods/p: the reason" in str(caught.value)
    assert len(server.requests) == 1


async def test_a_create_whose_name_the_server_chooses_is_not_repeated_blindly() -> None:
    server = FakeApiServer(answers=[status(500, "InternalError")])
    async with serving(server) as client:
        with pytest.raises(ApiError):
            await client.create(EVENTS, {"metadata": {"generateName": "e-"}}, namespace="default")
    assert len(server.requests) == 1


async def test_retry_after_is_obeyed_and_the_deadline_ends_it() -> None:
    server = FakeApiServer(answers=[status(429, "TooManyRequests", **{"Retry-After": "1"}), found()])
    loop = asyncio.get_running_loop()
    async with serving(server) as client:
        begun = loop.time()
        await client.get(PODS, "p", namespace="default")
        assert loop.time() - begun >= 1
    server.answers = [status(429, "TooManyRequests", **{"Retry-After": "60"})]
    async with serving(server) as client:
        begun = loop.time()
        with pytest.raises(ApiError) as caught:
            await client.get(PODS, "p", namespace="default")
        assert loop.time() - begun < 5
    assert caught.value.retry_after == 60


async def test_nobody_listens() -> None:
    config = ClusterConfig("http://127.0.0.1:1", None)
    async with KubeClient(config, retry=RetryPolicy(deadline=0.3, first_delay=0.05)) as client:
        with pytest.raises(ApiError) as caught:
            await client.get(PODS, "p", namespace="default")
    assert caught.value.unreachable
    assert caught.value.transient


async def test_a_rotated_token_is_noticed_by_the_refusal(tmp_path: Path) -> None:
    tokens: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"])
        return found() if tokens[-1] == "Bearer new" else web.Response(status=401, text="Unauthorized")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    path = tmp_path / "token"
    path.write_text("old")
    token = TokenFile(path)
    token.token()
    path.write_text("new")
    try:
        async with KubeClient(
            ClusterConfig(f"http://127.0.0.1:{runner.addresses[0][1]}", None, token)
        ) as client:
            await client.create(JOBS, JOB, namespace="default")
            await client.get(PODS, "p", namespace="default")
    finally:
        await runner.cleanup()
    assert tokens == ["Bearer old", "Bearer new", "Bearer new"]


async def test_writes_are_counted_by_what_they_are() -> None:
    server = FakeApiServer(answers=[found() for _ in range(4)])
    async with serving(server) as client:
        await client.create(JOBS, JOB, namespace="default")
        await client.patch(SESSIONS, "s", {}, namespace="default", subresource="status")
        await client.get(PODS, "p", namespace="default")
        await client.delete(JOBS, "j", namespace="default", uid="u")
        assert client.writes == {"POST jobs": 1, "PATCH claudesessions/status": 1, "DELETE jobs": 1}
