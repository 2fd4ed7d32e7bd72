"""Whether a project is ready: said within moments of each change, and in words that can be acted on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from claude_operator.gateway.cluster import ProjectChange
from tests.integration.gateway.conftest import MODEL_KEY, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_operator.resources.condition import Condition


async def ready(world: World, wanted: Callable[[Condition], bool], seconds: float = 20) -> Condition:
    """The Ready condition of the project's last generation, once it is as wanted."""
    async with asyncio.timeout(seconds):
        while True:
            project = world.cluster.projects["team", "default"]
            for condition in project.status.conditions:
                if condition.observed_generation == project.generation and wanted(condition):
                    return condition
            await asyncio.sleep(0.01)


async def test_a_usable_project_is_ready(world: World) -> None:
    condition = await ready(world, lambda one: one.status == "True")

    assert (condition.type, condition.reason) == ("Ready", "Ready")
    assert world.cluster.projects["team", "default"].status.observed_generation == 1


def _missing(world: World) -> None:
    world.change_model(credentialsSecret="missing")


def _wrong_type(world: World) -> None:
    world.cluster.add_secret("wrong", kind="Opaque", hosts=world.model.url, apiKey=MODEL_KEY)
    world.change_model(credentialsSecret="wrong")


def _other_host(world: World) -> None:
    world.cluster.add_secret("other", hosts="api.anthropic.com", apiKey=MODEL_KEY)
    world.change_model(credentialsSecret="other")


def _no_hosts(world: World) -> None:
    world.cluster.add_secret("hostless", apiKey=MODEL_KEY)
    world.change_model(credentialsSecret="hostless")


def _no_key(world: World) -> None:
    world.cluster.add_secret("keyless", hosts=world.model.url)
    world.change_model(credentialsSecret="keyless")


def _forbidden(world: World) -> None:
    world.cluster.forbidden.add("secret-one")
    world.change_model(credentialsSecret="secret-one")


def _two_lines(world: World) -> None:
    world.cluster.add_secret("lines", hosts=world.model.url, apiKey="a\nx-evil: 1")
    world.change_model(credentialsSecret="lines")


def _triggers(world: World, **triggers: Any) -> None:
    world.change_project(triggers={"github": {"users": ["alice"], **triggers}})


def _no_webhook_secret(world: World) -> None:
    _triggers(world)


def _webhook_without_key(world: World) -> None:
    _triggers(world, webhookSecret="git")


def _short_webhook_secret(world: World) -> None:
    world.cluster.add_secret("webhook", webhookSecret="short")
    _triggers(world, webhookSecret="webhook")


def _half_an_app(world: World) -> None:
    world.cluster.add_secret("app", hosts=world.git.url, appId="1")
    (entry,) = world.project["repositoryHosts"]
    world.change_project(repositoryHosts=[{**entry, "credentialsSecret": "app"}])


def _plain_http(world: World) -> None:
    world.change_project(repositoryHosts=[{"host": "git.example", "url": "http://git.example"}])


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (_missing, "SecretNotFound", "Secret missing does not exist in namespace team: create it"),
        (_wrong_type, "SecretInvalid", "it must be claude-operator.dev/credential"),
        (_other_host, "SecretInvalid", "it lists: api.anthropic.com"),
        (_no_hosts, "SecretInvalid", "has no key `hosts`"),
        (_no_key, "SecretInvalid", "neither the key `apiKey` nor `authToken`"),
        (_forbidden, "SecretForbidden", "bind the gateway's Role"),
        (_two_lines, "SecretInvalid", "more than one line"),
        (_plain_http, "InvalidSpec", "plain http"),
        (_no_webhook_secret, "InvalidSpec", "triggers.github has no webhookSecret"),
        (_webhook_without_key, "SecretInvalid", "Secret git has no key `webhookSecret`"),
        (_short_webhook_secret, "SecretInvalid", "needs at least 16 characters"),
        (_half_an_app, "SecretInvalid", "`appId` and `privateKey` belong together"),
    ],
)
async def test_each_fault_has_its_reason_within_two_seconds(
    world: World, change: Any, reason: str, says: str
) -> None:
    await ready(world, lambda one: one.status == "True")
    begun = time.monotonic()
    change(world)

    condition = await ready(world, lambda one: one.status == "False")

    assert condition.reason == reason
    assert says in condition.message
    assert MODEL_KEY not in condition.message
    assert time.monotonic() - begun < 2


async def test_a_webhooks_secret_needs_no_hosts_and_goes_nowhere(world: World) -> None:
    world.cluster.add_secret("webhook", webhookSecret="0123456789abcdef")
    _triggers(world, webhookSecret="webhook")
    condition = await ready(world, lambda one: one.observed_generation == 2)
    assert condition.status == "True"
    (entry,) = world.project["repositoryHosts"]
    world.change_project(repositoryHosts=[{**entry, "credentialsSecret": "webhook"}])
    condition = await ready(world, lambda one: one.status == "False")
    assert "does not list" in condition.message


async def test_a_secret_that_is_created_later_makes_it_ready(world: World) -> None:
    world.change_model(credentialsSecret="late")
    first = await ready(world, lambda one: one.reason == "SecretNotFound")

    world.cluster.add_secret("late", hosts=world.model.url, apiKey=MODEL_KEY)

    second = await ready(world, lambda one: one.status == "True")
    assert first.observed_generation == second.observed_generation == 2


async def test_our_own_status_write_is_no_reason_to_write_again(world: World) -> None:
    await ready(world, lambda one: one.status == "True")
    version = world.cluster.projects["team", "default"].resource_version
    # A status that is written by somebody else comes back as a change as well.
    project = world.cluster.projects["team", "default"]
    world.cluster._tell(ProjectChange("team", "default", project))
    await asyncio.sleep(0.2)

    assert world.cluster.projects["team", "default"].resource_version == version
