"""Kubernetes Events: repetitions are counted, floods are cut off, errors hold up nobody."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from claude_operator.kube import events as module
from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import ClusterConfig
from claude_operator.kube.events import About, EventRecorder
from claude_operator.kube.kinds import SESSIONS

ABOUT = About(SESSIONS, "default", "first", "uid-1")


class Store:
    """The Events as an API server would hold them."""

    def __init__(self) -> None:
        self.created: list[dict[str, object]] = []
        self.patched: list[dict[str, object]] = []
        self.expired = False
        self.refuses = False

    async def post(self, request: web.Request) -> web.Response:
        if self.refuses:
            return web.json_response({"reason": "Forbidden", "message": "no"}, status=403)
        self.created.append(json.loads(await request.read()))
        return web.json_response(self.created[-1])

    async def patch(self, request: web.Request) -> web.Response:
        if self.expired:
            return web.json_response({"reason": "NotFound", "message": "gone"}, status=404)
        self.patched.append(json.loads(await request.read()))
        return web.json_response({})


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def recorder(store: Store) -> AsyncIterator[EventRecorder]:
    application = web.Application()
    path = "/api/v1/namespaces/default/events"
    application.add_routes([web.post(path, store.post), web.patch(path + "/{name}", store.patch)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with KubeClient(ClusterConfig(f"http://127.0.0.1:{runner.addresses[0][1]}", None)) as client:
        yield EventRecorder(client, component="claude-operator", instance="pod-1")
    await runner.cleanup()


def say(recorder: EventRecorder, message: str = "no memory", about: About = ABOUT) -> None:
    recorder.record(about, warning=True, reason="OOMKilled", message=message)


async def test_the_first_is_created_and_repetitions_are_counted(
    recorder: EventRecorder, store: Store
) -> None:
    for _ in range(3):
        say(recorder)
    say(recorder, "something else")
    await recorder.drain()
    assert [each["message"] for each in store.created] == ["no memory", "something else"]
    first = store.created[0]
    assert (first["type"], first["reason"], first["count"]) == ("Warning", "OOMKilled", 1)
    assert first["involvedObject"] == {
        "apiVersion": "claude-operator.dev/v1alpha1",
        "kind": "ClaudeSession",
        "namespace": "default",
        "name": "first",
        "uid": "uid-1",
    }
    assert [each["count"] for each in store.patched] == [2, 3]


async def test_one_that_has_expired_is_said_anew(recorder: EventRecorder, store: Store) -> None:
    say(recorder)
    await recorder.drain()
    store.expired = True
    say(recorder)
    await recorder.drain()
    assert len(store.created) == 2


async def test_a_flood_about_one_object_does_not_silence_the_others(
    recorder: EventRecorder, store: Store
) -> None:
    for number in range(200):
        say(recorder, f"message {number}")
    say(recorder, "of another", About(SESSIONS, "default", "second", "uid-2"))
    await recorder.drain()
    assert len(store.created) == module.BURST + 1
    assert store.created[-1]["message"] == "of another"
    assert recorder.dropped == 200 - module.BURST


async def test_the_queue_is_bounded_and_never_waits(
    recorder: EventRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BURST", 10_000)
    for number in range(module.QUEUE_LENGTH + 50):
        say(recorder, f"message {number}")
    assert recorder.dropped == 50


async def test_an_event_that_cannot_be_written_is_dropped(recorder: EventRecorder, store: Store) -> None:
    store.refuses = True
    say(recorder)
    await recorder.drain()
    assert recorder.dropped == 1
    store.refuses = False
    say(recorder, "the next")
    await recorder.drain()
    assert [each["message"] for each in store.created] == ["the next"]


async def test_a_message_is_cut_to_what_the_server_takes(recorder: EventRecorder, store: Store) -> None:
    say(recorder, "x" * 5000)
    await recorder.drain()
    assert store.created[0]["message"] == "x" * 1024
