"""Clones, pushes and pull requests with a GitHub App's tokens, where a Secret's token would be."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.integration.gateway.conftest import GIT_TOKEN, World
from tests.world.github import GitHubServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REPOSITORY = "acme/greetings"
READ, WRITE = {"contents": "read"}, {"contents": "write"}


@asynccontextmanager
async def app(world: World, *, lists_api: bool = True) -> AsyncIterator[GitHubServer]:
    """The project's login is an App's; its tokens are what the git host knows."""
    async with GitHubServer() as github:
        github.add(REPOSITORY, f"https://git.example/{REPOSITORY}")
        github.app.next_tokens = [GIT_TOKEN, GIT_TOKEN]
        hosts = f"{world.git.url} {github.origin}" if lists_api else world.git.url
        world.cluster.add_secret("app", hosts=hosts, appId=github.app.id, privateKey=github.app.pem)
        (entry,) = world.project["repositoryHosts"]
        world.change_project(repositoryHosts=[{**entry, "apiURL": github.url, "credentialsSecret": "app"}])
        yield github
        assert github.violations == []


async def test_clone_push_and_pull_request(world: World) -> None:
    async with app(world) as github:
        session, pod, assignment = await world.claimed()
        clone = await world.clone(pod)
        commit = await world.commit(pod, clone)
        await world.git_in_pod(pod, "push", "origin", f"HEAD:{assignment['publishBranch']}", cwd=clone)
        wanted = {"title": "Say hello", "body": "All ![x](https://evil.example) of it.", "base": "main"}
        answers = [await world.ask(pod, "POST", "/v1/session/pull-request", json=wanted) for _ in range(2)]
        assert [status for status, _ in answers] == [200, 200], answers
        assert (await world.record(session))["published"]["commit"] == commit
        asked = [one.body for one in github.of("apps/create-installation-access-token")]
        assert asked == [
            {"repositories": ["greetings"], "permissions": permissions}
            for permissions in (READ, WRITE, {"pull_requests": "write"})
        ]
        [created] = github.of("pulls/create")
        assert created.body["body"] == "All [x](https://evil.example) of it."
        assert [opened["number"] for _, opened in answers] == [1, 1]


async def test_the_app_s_key_goes_only_where_the_secret_says(world: World) -> None:
    async with app(world, lists_api=False) as github:
        session = world.cluster.add_session()
        pod = world.cluster.add_pod(session)
        status, refusal = await world.claim(pod)
        assert (status, refusal["reason"]) == (409, "ProjectNotReady")
        assert "does not list" in refusal["message"]
        assert github.sent == []
