"""Pull requests, opened by the platform on a host that speaks GitHub's REST API."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.integration.gateway.conftest import GIT_TOKEN, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from claude_operator.gateway.cluster import Session
    from tests.integration.gateway.cluster import Pod

WANTED = {"title": "Say hello", "body": "All of it.", "base": "main", "draft": True}


class GitHub:
    """Two endpoints, and what was asked of them."""

    def __init__(self) -> None:
        self.pulls: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.refuse = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.headers.get("Authorization", "")))
        if self.refuse:
            login = request.headers["Authorization"]
            return web.json_response({"message": f"no, {login}"}, status=self.refuse)
        if request.method == "GET":
            return web.json_response(self.pulls)
        wanted = await request.json()
        number = len(self.pulls) + 7
        pull = {
            "number": number,
            "html_url": f"https://git.example/acme/greetings/pull/{number}",
            "head": {"ref": wanted["head"]},
            "base": {"ref": wanted["base"]},
            "title": wanted["title"],
            "draft": wanted["draft"],
        }
        self.pulls.append(pull)
        return web.json_response(pull, status=201)


@asynccontextmanager
async def github(world: World) -> AsyncIterator[GitHub]:
    """The host, named in the project and listed in its Secret."""
    host = GitHub()
    app = web.Application()
    app.router.add_route("*", "/api/repos/acme/greetings/pulls", host.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    world.cluster.add_secret("forge", hosts=f"{world.git.url} {url}", password=GIT_TOKEN)
    (entry,) = world.project["repositoryHosts"]
    world.change_project(repositoryHosts=[{**entry, "apiURL": f"{url}/api", "credentialsSecret": "forge"}])
    try:
        yield host
    finally:
        await runner.cleanup()


async def published(world: World) -> tuple[Session, Pod]:
    session, pod, assignment = await world.claimed()
    clone = await world.clone(pod)
    await world.commit(pod, clone)
    await world.git_in_pod(pod, "push", "origin", f"HEAD:{assignment['publishBranch']}", cwd=clone)
    return session, pod


async def test_it_is_opened_once_and_found_again(world: World) -> None:
    async with github(world) as host:
        session, pod = await published(world)
        answers = [await world.ask(pod, "POST", "/v1/session/pull-request", json=WANTED) for _ in range(3)]

    opened = {"url": "https://git.example/acme/greetings/pull/7", "number": 7}
    assert answers == [(200, opened)] * 3
    assert [(pull["title"], pull["draft"]) for pull in host.pulls] == [("Say hello", True)]
    assert {login for _, login in host.asked} == {f"Bearer {GIT_TOKEN}"}
    record = await world.record(session)
    assert record["pullRequest"] == opened
    events = [event for event in await world.journal(session) if event["type"] == "gateway.pull_request"]
    assert len(events) == 1


async def test_nothing_is_opened_before_the_push(world: World) -> None:
    async with github(world) as host:
        _, pod, _ = await world.claimed()
        status, body = await world.ask(pod, "POST", "/v1/session/pull-request", json=WANTED)

    assert (status, body["reason"]) == (409, "PublishRejected")
    assert "push" in body["message"]
    assert not host.asked


async def test_the_host_s_refusal_is_quoted_without_the_login(world: World) -> None:
    async with github(world) as host:
        session, pod = await published(world)
        host.refuse = 422
        status, body = await world.ask(pod, "POST", "/v1/session/pull-request", json=WANTED)

        assert (status, body["reason"]) == (502, "PublishRejected")
        assert "422" in body["message"]
        assert GIT_TOKEN not in body["message"]
        await world.verdict(session, lambda verdict: verdict == "PublishRejected")


async def test_a_host_without_an_api_says_what_is_missing(world: World) -> None:
    _, pod = await published(world)

    status, body = await world.ask(pod, "POST", "/v1/session/pull-request", json=WANTED)

    assert status == 409
    assert "apiURL" in body["message"]
