"""The list-watch against a server that breaks in every way that a real one does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web

from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import PODS
from claude_operator.kube.listwatch import ListWatch, WatchEvent
from claude_operator.kube.request import Selection
from tests.unit.kube.apiserver import FakeApiServer, serving


class Reader:
    """Collects what a list-watch yields."""

    def __init__(self, watch: ListWatch) -> None:
        self.watch = watch
        self.events: list[WatchEvent] = []
        self.error: ApiError | None = None
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        try:
            async with aclosing(self.watch.events()) as events:
                async for event in events:
                    async with self._changed:
                        self.events.append(event)
                        self._changed.notify_all()
        except ApiError as error:
            self.error = error

    @property
    def told(self) -> list[str]:
        return [f"{event.change} {event.object['metadata']['name']}" for event in self.events]

    async def until(self, count: int) -> list[str]:
        """The first so many events, and what they were."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: len(self.events) >= count)
        return self.told


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is the server's state
            await asyncio.sleep(0.005)


@asynccontextmanager
async def reading(server: FakeApiServer, *, inactivity: float = 5.0, page: int = 2) -> AsyncIterator[Reader]:
    async with serving(server) as client:
        selection = Selection(PODS, "default", label_selector="a=b", field_selector="c=d")
        reader = Reader(ListWatch(client, selection, inactivity=inactivity, longest_pause=0.05, page=page))
        task = asyncio.create_task(reader.run())
        try:
            yield reader
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_lists_in_pages_then_follows() -> None:
    server = FakeApiServer()
    for name in "abc":
        server.put(name)
    async with reading(server) as reader:
        assert await reader.until(3) == ["ADDED a", "ADDED b", "ADDED c"]
        await until(lambda: server.watchers == 1)
        assert reader.watch.synced.is_set()
        server.put("b", changed=True)
        server.delete("a")
        assert (await reader.until(5))[3:] == ["MODIFIED b", "DELETED a"]
    assert server.lists == 2, "two pages, once"
    assert all("labelSelector=a%3Db" in each and "fieldSelector=c%3Dd" in each for each in server.requests)


async def test_an_empty_list_is_synced_too() -> None:
    async with reading(FakeApiServer()) as reader:
        async with asyncio.timeout(5):
            await reader.watch.synced.wait()
        assert reader.events == []


async def test_a_broken_watch_goes_on_where_it_was() -> None:
    server = FakeApiServer()
    server.put("a")
    async with reading(server) as reader:
        await reader.until(1)
        await until(lambda: server.watchers == 1)
        server.cut()
        server.put("b", announce=False)
        assert await reader.until(2) == ["ADDED a", "ADDED b"]
    assert server.lists == 1


async def test_deletes_in_a_gap_that_cannot_be_resumed_are_found() -> None:
    server = FakeApiServer()
    for name in ("gone", "kept", "changed", "reborn"):
        server.put(name)
    async with reading(server) as reader:
        await reader.until(4)
        await until(lambda: server.watchers == 1)
        server.delete("gone", announce=False)
        server.put("changed", announce=False, new=True)
        server.delete("reborn", announce=False)
        server.put("reborn", uid="another", announce=False)
        server.cut(forget=True)
        told = (await reader.until(8))[4:]
        assert told == ["MODIFIED changed", "DELETED reborn", "ADDED reborn", "DELETED gone"]
        by_uid = {event.object["metadata"]["uid"] for event in reader.events[4:]}
        assert by_uid == {"uid-changed", "uid-reborn", "another", "uid-gone"}
        await until(lambda: server.watchers == 1)
        server.put("kept", still="watched")
        assert (await reader.until(9))[8:] == ["MODIFIED kept"]


async def test_a_watch_without_any_sign_of_life_is_given_up() -> None:
    server = FakeApiServer()
    async with reading(server, inactivity=0.2) as reader:
        await until(lambda: server.watchers == 1)
        watches = sum("watch=1" in each for each in server.requests)
        await until(lambda: sum("watch=1" in each for each in server.requests) > watches)
        server.put("a")
        await reader.until(1)


async def test_a_watch_is_resumed_at_the_last_bookmark() -> None:
    server = FakeApiServer()
    async with reading(server) as reader:
        await until(lambda: server.watchers == 1)
        server.put("a")
        server.bookmark()
        bookmark = server.version
        server.cut()
        await until(lambda: f"resourceVersion={bookmark}&" in server.requests[-1])
        assert reader.told == ["ADDED a"], "nothing comes twice"


async def test_a_line_that_was_cut_is_read_again() -> None:
    server = FakeApiServer()
    async with reading(server) as reader:
        await until(lambda: server.watchers == 1)
        server.send_raw(b'{"type": "ADDED", "obj\n')
        server.put("a")
        assert await reader.until(1) == ["ADDED a"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_passes_is_waited_for(status: int) -> None:
    server = FakeApiServer()
    server.put("a")
    server.answers = [web.Response(status=status) for _ in range(3)]
    async with reading(server) as reader:
        assert await reader.until(1) == ["ADDED a"]


async def test_what_does_not_pass_is_an_error() -> None:
    server = FakeApiServer()
    body = {"kind": "Status", "reason": "Forbidden", "message": "pods is forbidden"}
    server.answers = [web.json_response(body, status=403)]
    async with reading(server) as reader:
        await until(lambda: reader.error is not None)
        assert reader.error is not None
        assert (reader.error.status, reader.error.reason) == (403, "Forbidden")
        assert "pods is forbidden" in str(reader.error)


async def test_a_line_may_be_larger_than_any_buffer() -> None:
    server = FakeApiServer()
    async with reading(server) as reader:
        await until(lambda: server.watchers == 1)
        server.put("large", text="x" * 3_000_000)
        await reader.until(1)
        assert len(reader.events[0].object["text"]) == 3_000_000
