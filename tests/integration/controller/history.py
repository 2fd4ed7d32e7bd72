"""Everything that happened to the objects of one kind in one namespace, as a watch of its own tells it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from claude_operator.kube.client import KubeClient
from claude_operator.kube.kinds import Kind
from claude_operator.kube.listwatch import Change, ListWatch
from claude_operator.kube.request import Selection

Object = dict[str, Any]
SECONDS = 20.0


class History:
    """Objects as they are, and the ways that they took."""

    def __init__(self, client: KubeClient, kind: Kind, namespace: str) -> None:
        self.objects: dict[str, Object] = {}
        self.deleted: list[str] = []
        self.versions: defaultdict[str, list[Object]] = defaultdict(list)
        self._watch = ListWatch(client, Selection(kind, namespace))
        self._changed = asyncio.Condition()
        self._kind = kind
        self._failure = "nothing"

    async def run(self) -> None:
        try:
            await self._follow()
        except Exception as error:
            self._failure = repr(error)
            raise

    async def _follow(self) -> None:
        async with aclosing(self._watch.events()) as events:
            async for event in events:
                name = event.object["metadata"]["name"]
                async with self._changed:
                    if event.change is Change.DELETED:
                        self.objects.pop(name, None)
                        self.deleted.append(name)
                    else:
                        self.objects[name] = event.object
                        self.versions[name].append(event.object)
                    self._changed.notify_all()

    async def find(self, wanted: Callable[[Object], bool], *, what: str, seconds: float = SECONDS) -> Object:
        """The first object, present or to come, that is wanted."""
        found: list[Object] = []

        def look() -> bool:
            found[:] = [each for each in self.objects.values() if wanted(each)]
            return bool(found)

        await self._until(look, what=what, seconds=seconds)
        return found[0]

    async def gone(self, name: str, *, seconds: float = SECONDS) -> None:
        await self._until(
            lambda: name not in self.objects, what=f"{self._kind.kind} {name} to be deleted", seconds=seconds
        )

    async def seen(self, count: int, *, seconds: float = SECONDS) -> None:
        """Until so many objects have existed."""
        await self._until(lambda: len(self.versions) >= count, what=f"{count} of them", seconds=seconds)

    async def phase(self, name: str, phase: str, *, reason: str = "", seconds: float = SECONDS) -> Object:
        """A session, once it stands in this phase (for this reason)."""
        return await self.find(
            lambda item: (
                item["metadata"]["name"] == name
                and item["status"]["phase"] == phase
                and reason in {"", ready(item)["reason"]}
            ),
            what=f"{name} to be {phase} {reason}",
            seconds=seconds,
        )

    def phases(self, name: str) -> list[str]:
        """Of a session, in order, without repetitions."""
        way: list[str] = []
        for version in self.versions[name]:
            phase = version["status"]["phase"]
            if way[-1:] != [phase]:
                way.append(phase)
        return way

    async def _until(self, condition: Callable[[], bool], *, what: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            states = str({name: each.get("status") for name, each in self.objects.items()})
            silence = time.monotonic() - self._watch.last_seen
            raise AssertionError(
                f"waited {seconds:g} s for {what}; there is: {states[:4000]}; "
                f"the watch was silent for {silence:.1f} s and failed with {self._failure}"
            ) from None


def ready(item: Object) -> Object:
    """The Ready condition of a session."""
    found: Object = next(each for each in item["status"]["conditions"] if each["type"] == "Ready")
    return found
