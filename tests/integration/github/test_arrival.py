"""What is let in: signatures, bodies, other projects; and what GitHub is told."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.integration.github.stage import SECRET, Hub
from tests.world.github import Fault

pytestmark = pytest.mark.controlplane

Json = dict[str, Any]


def signed(data: bytes, secret: str, kind: str = "sha256") -> str:
    return f"{kind}={hmac.new(secret.encode(), data, getattr(hashlib, kind)).hexdigest()}"


async def nothing(hub: Hub) -> None:
    """No delivery is on record, and no session there."""
    assert await hub.rows() == []
    assert await hub.sessions() == []


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        "sha256=\xe9\xe9",
        "x" * 5000,
        "of another body",
        "of another secret",
        "sha1",
        "upper",
    ],
)
async def test_a_wrong_signature_is_refused_and_leaves_nothing(hub: Hub, signature: str) -> None:
    data = json.dumps(hub.commented("@claude-bot go")).encode()
    signature = {
        "of another body": signed(data + b" ", SECRET),
        "of another secret": signed(data, "another-secret-0123456789"),
        "sha1": signed(data, SECRET, "sha1"),
        "upper": signed(data, SECRET).upper(),
    }.get(signature, signature)
    status, said = await hub.deliver("issue_comment", data, X_Hub_Signature_256=signature)
    assert (status, said["error"]) == (401, "Invalid webhook signature")
    await nothing(hub)


async def test_a_repository_that_no_project_names_gets_the_same_answer(hub: Hub) -> None:
    hub.change_triggers(repositories=["acme/other"])
    unnamed = await hub.deliver("issue_comment", hub.commented("@claude-bot go"))
    hub.change_triggers(repositories=["ACME/web*"])
    unsigned = await hub.deliver("issue_comment", hub.commented("@claude-bot go"), secret="wrong" * 5)
    assert unnamed == unsigned
    assert unnamed[0] == 401
    await nothing(hub)
    assert (await hub.deliver("issue_comment", hub.commented("@claude-bot go")))[0] == 200
    await hub.session()


@pytest.mark.parametrize(
    "html_url",
    ["https://evil.example/acme/webapp", "not a url", "https://git.example:8443/acme/webapp", ""],
)
async def test_a_repository_on_another_host_is_another_one(hub: Hub, html_url: str) -> None:
    body = hub.commented("@claude-bot go")
    body["repository"] = {**body["repository"], "html_url": html_url}
    status, _ = await hub.deliver("issue_comment", body)
    assert status in {200, 401}  # without a repository any project's secret is good for a ping, and no more
    await nothing(hub)


async def test_one_projects_secret_is_worth_nothing_at_another(hub: Hub) -> None:
    hub.cluster.add_secret("theirs", namespace=hub.namespace, webhookSecret="the-other-projects-secret")
    other = {
        **hub.project,
        "triggers": {"github": {"users": ["mallory"], "mention": "@claude-bot", "webhookSecret": "theirs"}},
    }
    hub.cluster.put_project(other, name="theirs", namespace=hub.namespace)
    await hub.deliver(
        "issue_comment", hub.commented("@claude-bot go", user="mallory"), secret="the-other-projects-secret"
    )
    session = await hub.session()
    assert session["spec"]["project"] == "theirs"
    await hub.verdict()
    # Alice may with the first project alone, and the signature is the second one's.
    _, said = await hub.deliver(
        "issue_comment", hub.commented("@claude-bot go"), secret="the-other-projects-secret"
    )
    assert said["message"] == "Unauthorized user - command ignored"
    await hub.verdict(2)
    assert len(await hub.sessions()) == 1


async def test_two_projects_that_share_a_secret_both_get_the_event(hub: Hub) -> None:
    hub.cluster.put_project(hub.project, name="second", namespace=hub.namespace)
    await hub.deliver("issue_comment", hub.commented("@claude-bot go"))
    await hub.verdict(2)
    assert {one["spec"]["project"] for one in await hub.sessions()} == {"default", "second"}


async def test_a_secret_is_replaced_without_a_gap(hub: Hub) -> None:
    hub.cluster.add_secret(
        "both", namespace=hub.namespace, webhookSecret=f"{SECRET}\nthe-new-secret-0123456789\n"
    )
    hub.change_triggers(webhookSecret="both")
    for number, secret in enumerate((SECRET, "the-new-secret-0123456789")):
        body = hub.commented(f"@claude-bot go {number}")
        assert (await hub.deliver("issue_comment", body, secret=secret))[0] == 200


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"{", b"{}x", b'{"repository": 1}', b"[" * 100_000, b"\xff\xfe"]
)
async def test_what_is_no_event_is_refused(hub: Hub, body: bytes) -> None:
    status, said = await hub.deliver("issue_comment", body)
    assert (status, said["error"]) == (400, "Missing or invalid request body")
    await nothing(hub)


async def test_a_body_beyond_its_bound_is_not_read(hub: Hub) -> None:
    status, said = await hub.deliver("issue_comment", b" " * (1024 * 1024 + 1))
    assert status == 413
    assert "too large" in said["error"]
    exploding = b'{"a": [' + b"[]," * 340_000 + b"1]}"
    status, _ = await hub.deliver("issue_comment", exploding)
    assert status == 413
    await nothing(hub)


async def test_a_header_that_is_not_the_bodys_event_is_refused(hub: Hub) -> None:
    """The header is not signed: an issue's event must not become a comment's."""
    status, said = await hub.deliver(
        "check_suite", {**hub.commented("@claude-bot go"), "action": "completed"}
    )
    assert (status, said["error"]) == (400, "the body is none of the event check_suite")
    status, _ = await hub.deliver("issue_comment", hub.event("created", "alice", comment={"id": 1}))
    assert status == 400
    await nothing(hub)


@pytest.mark.parametrize(
    ("event", "action"),
    [
        ("ping", None),
        ("push", None),
        ("issues", "edited"),
        ("issue_comment", "edited"),
        ("issue_comment", "deleted"),
        ("pull_request", "opened"),
        ("check_suite", "requested"),
        ("no_such_event", "created"),
    ],
)
async def test_all_other_events_are_answered_and_forgotten(hub: Hub, event: str, action: str | None) -> None:
    body = hub.commented("@claude-bot go")
    body["action"] = action or ""
    assert await hub.deliver(event, body) == (
        200,
        {"success": True, "message": "Webhook processed successfully"},
    )
    await nothing(hub)


async def test_a_ping_without_a_repository_is_verified_too(hub: Hub) -> None:
    ping = {"zen": "Keep it logically awesome.", "hook_id": 1}
    assert (await hub.deliver("ping", ping))[0] == 200
    assert (await hub.deliver("ping", ping, secret="wrong" * 5))[0] == 401


async def test_a_form_is_as_good_as_json(hub: Hub) -> None:
    """GitHub's default content type."""
    data = urlencode({"payload": json.dumps(hub.commented("@claude-bot go"))}).encode()
    status, _ = await hub.deliver("issue_comment", data, Content_Type="application/x-www-form-urlencoded")
    assert status == 200
    await hub.session()


async def test_it_answers_within_two_seconds_also_when_github_and_gateway_do_not(hub: Hub) -> None:
    hub.github.faults.append(Fault("issues/list-comments", delay=3))
    begun = time.monotonic()
    status, _ = await hub.deliver("issue_comment", hub.commented("@claude-bot go"))
    assert (status, time.monotonic() - begun < 2) == (200, True)
    async with _busy(hub):
        begun = time.monotonic()
        status, said = await hub.deliver("issue_comment", hub.commented("@claude-bot go on"))
        assert (status, time.monotonic() - begun < 2) == (503, True), said


async def test_the_provider_is_listed(hub: Hub) -> None:
    async with hub.http.get(f"{hub.shim.url}/api/webhooks/health") as answer:
        providers = (await answer.json())["providers"]
    assert {"name": "github", "handlerCount": 4} in providers


async def test_who_may_not_is_told_so_and_nothing_is_asked_of_github(hub: Hub) -> None:
    for number, (event, body) in enumerate(
        [
            ("issues", hub.opened(30, user="mallory")),
            ("issue_comment", hub.commented("@claude-bot go", user="mallory")),
            ("issue_comment", hub.commented("@claude-bot go", user="alice", sender="mallory")),
            ("issue_comment", hub.commented("@claude-bot go", user="dependabot[bot]")),
        ],
        start=1,
    ):
        status, _ = await hub.deliver(event, body)
        assert status == 200
        assert "may not start sessions" in await hub.verdict(number)
    assert await hub.sessions() == []
    assert hub.github.sent == []


@asynccontextmanager
async def _busy(hub: Hub) -> AsyncIterator[None]:
    """The database's writer does something else."""
    release = Event()
    blocked = asyncio.create_task(hub.gateway.store.write(lambda _: release.wait(20)))
    try:
        yield
    finally:
        release.set()
        await blocked
