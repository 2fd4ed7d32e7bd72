"""A GitHub App instead of a token: minted for one repository and one act, held, renewed."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select

from claude_operator.gateway.store import tables
from tests.integration.github.stage import DEADLINE, HEAD, Hub
from tests.world.github import Fault

pytestmark = pytest.mark.controlplane


@pytest.fixture
def app_hub(hub: Hub) -> Hub:
    """The project's login is an App's."""
    login(hub)
    return hub


def login(hub: Hub, **changes: str) -> None:
    app = hub.github.app
    data = {"hosts": f"git.example {hub.github.origin}", "appId": app.id, "privateKey": app.pem}
    hub.cluster.add_secret("git", namespace=hub.namespace, **{**data, **changes})
    # As if the seconds for which a Secret is held were over.
    hub.gateway.projects._credentials._held.clear()


def minted(hub: Hub) -> list[dict[str, Any]]:
    return [one.body for one in hub.github.of("apps/create-installation-access-token")]


async def fault(hub: Hub) -> str:
    """What the outbox complains of, once it does."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await hub.gateway.store.read(
                lambda connection: connection.execute(select(tables.outbox.c.fault)).scalars().all()
            )
            if any(found):
                return str(next(one for one in found if one))
            await asyncio.sleep(0.02)


async def test_a_command_with_tokens_of_an_app(app_hub: Hub) -> None:
    await app_hub.deliver("issue_comment", app_hub.commented("@claude-bot go"))
    session = await app_hub.session()
    await app_hub.comment("Accepted")
    await app_hub.claim(session)
    await app_hub.finish(session, "Done.")
    await app_hub.comment("Done.")
    assert minted(app_hub) == [
        {"repositories": ["webapp"], "permissions": {"issues": "read", "pull_requests": "read"}},
        {"repositories": ["webapp"], "permissions": {"issues": "write"}},
    ]


async def test_a_review_takes_no_more_than_it_needs(app_hub: Hub) -> None:
    app_hub.repo.add_pull(5, sha=HEAD)
    await app_hub.deliver("check_suite", app_hub.checked())
    session = await app_hub.session()
    await app_hub.claim(session)
    await app_hub.finish(session, "Fine.", output={"body": "Fine.", "event": "COMMENT"})
    await app_hub.until(lambda: app_hub.repo.reviews)
    assert [one["permissions"] for one in minted(app_hub)] == [
        {"pull_requests": "read", "checks": "read"},
        {"pull_requests": "write"},
    ]


async def test_a_token_is_renewed_before_it_expires(app_hub: Hub) -> None:
    app_hub.github.app.seconds = 200
    await app_hub.deliver("issue_comment", app_hub.commented("@claude-bot go"))
    session = await app_hub.session()
    await app_hub.comment("Accepted")
    await app_hub.claim(session)
    await app_hub.comment("Working")
    writes = [one for one in minted(app_hub) if one["permissions"] == {"issues": "write"}]
    assert len(writes) >= 2


async def test_a_permission_that_the_app_lacks_is_named(app_hub: Hub) -> None:
    app_hub.github.app.permissions["issues"] = "read"
    await app_hub.deliver("issue_comment", app_hub.commented("@claude-bot go"))
    said = await fault(app_hub)
    assert "token of App 4711 for acme/webapp" in said
    assert "answers 422" in said
    # Once somebody has granted it, the comment comes.
    app_hub.github.app.permissions["issues"] = "write"
    await app_hub.comment("Accepted")


async def test_a_key_that_is_none_is_said(app_hub: Hub) -> None:
    login(app_hub, privateKey="-----BEGIN RSA PRIVATE KEY-----\nnot one\n-----END RSA PRIVATE KEY-----")
    await app_hub.deliver("issue_comment", app_hub.commented("@claude-bot go"))
    async with asyncio.timeout(DEADLINE):
        while "is no RSA key" not in app_hub.shim.log.read_text():  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.02)
    assert await app_hub.sessions() == []
    assert "not one" not in app_hub.shim.log.read_text()


async def test_a_page_that_leads_elsewhere_is_not_followed(app_hub: Hub) -> None:
    """The link to a list's next page is the host's to write; the token is not sent along."""
    stranger: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        stranger.append(request.path)
        return web.json_response([])

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        link = f'<http://127.0.0.1:{runner.addresses[0][1]}/next>; rel="next"'
        app_hub.github.faults.append(
            Fault("issues/list-comments", status=200, times=100, body=[], headers={"Link": link})
        )
        await app_hub.deliver("issue_comment", app_hub.commented("@claude-bot go"))
        async with asyncio.timeout(DEADLINE):
            while "leads to another host" not in app_hub.shim.log.read_text():  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.02)
    finally:
        await runner.cleanup()
    assert stranger == []
