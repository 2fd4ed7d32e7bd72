"""List, then watch, for ever: what changed, in order, and nothing missed.

The hard part is the gap. When a watch can't be resumed (410: the server has forgotten that far back), a new
list shows what exists but not what was deleted meanwhile; the difference to what was known is turned into
the DELETED events that never came. A client that lacks this step keeps ghosts for ever.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import orjson

from claude_operator.kube import request as build
from claude_operator.kube.errors import UNREACHABLE, ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from claude_operator.kube.client import KubeClient
    from claude_operator.kube.request import Selection

log = logging.getLogger(__name__)

INACTIVITY_SECONDS: Final = 75.0
"""The server sends a bookmark about once a minute; a stream silent for longer is dead, whatever TCP says."""
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0
_PAGE: Final = 250
"""Objects in a page of the first list: parsing larger ones is what makes a controller's peak memory."""


class Change(StrEnum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of one object."""

    change: Change
    object: dict[str, Any]
    """Complete, but for a DELETED that was found by comparison: metadata alone, with name, namespace, uid
    and the last known resourceVersion and labels."""


@dataclass(frozen=True, slots=True)
class _Known:
    uid: str
    resource_version: str
    labels: dict[str, str]


_Key = tuple[str, str]


class ListWatch:
    """The endless stream of one selection's changes.

    Attributes:
        synced: set once the whole first list has been handed to the reader.
        last_seen: `time.monotonic()` of the last sign of life, bookmarks included.
    """

    def __init__(
        self,
        client: KubeClient,
        selection: Selection,
        *,
        inactivity: float = INACTIVITY_SECONDS,
        longest_pause: float = _LONGEST_PAUSE,
        page: int = _PAGE,
    ) -> None:
        self.synced = asyncio.Event()
        self.last_seen = time.monotonic()
        self._client = client
        self._selection = selection
        self._inactivity = inactivity
        self._longest_pause = longest_pause
        self._page = page
        self._known: dict[_Key, _Known] = {}
        self._version = ""
        """Where the watch goes on; empty: list first."""
        self._passes_in_vain = 0
        """Since a watch last delivered anything."""

    async def events(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield changes until the reader stops.

        Transient failures are repeated with growing pauses, without end: `last_seen` shows them.

        Raises:
            ApiError: the server refuses this reader for good (401, 403, 404 and other 4xx).
        """
        self.last_seen = time.monotonic()
        while True:
            try:
                async with aclosing(self._pass()) as events:
                    async for event in events:
                        yield event
            except ApiError as error:
                if error.expired:
                    log.info("%s: the watch is too old to go on; listing again", self._selection.kind.plural)
                    self._version = ""
                elif not error.transient:
                    raise
                else:
                    log.warning("%s: %s; trying again", self._selection.kind.plural, error)
            # Also after a regular end: a proxy that cuts each watch at once must not make a busy loop.
            await asyncio.sleep(self._pause())
            self._passes_in_vain += 1

    def _pause(self) -> float:
        ceiling = min(self._longest_pause, _SHORTEST_PAUSE * 2 ** min(self._passes_in_vain, 16))
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing

    async def _pass(self) -> AsyncGenerator[WatchEvent, None]:
        """One list, if needed, and one watch request."""
        if not self._version:
            async with aclosing(self._list()) as events:
                async for event in events:
                    yield event
            self.synced.set()
        async with aclosing(self._watch()) as events:
            async for event in events:
                yield event

    async def _list(self) -> AsyncGenerator[WatchEvent, None]:
        present: set[_Key] = set()
        version = ""
        async for page in self._client.pages(self._selection, limit=self._page):
            self.last_seen = time.monotonic()
            version = page.resource_version
            for item in page.items:
                present.add(_key(item))
                for event in self._note(item):
                    yield event
        for key in [key for key in self._known if key not in present]:
            yield self._forget(key)
        self._version = version

    async def _watch(self) -> AsyncGenerator[WatchEvent, None]:
        # Spread over minutes, so that a fleet of watches does not reconnect at the same moment.
        lifetime = random.randint(300, 600)  # noqa: S311 - likewise
        request = build.watch(self._selection, resource_version=self._version, timeout_seconds=lifetime)
        # Each generator closes the one that it reads: left to the garbage collector, a reader that stops
        # would leave its connection open for some rounds of the loop, and for ever when that ends before.
        async with aclosing(self._client.transport.stream(request, inactivity=self._inactivity)) as lines:
            async for line in lines:
                self.last_seen = time.monotonic()
                try:
                    message = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    # Cut in the middle by a proxy: what follows can't be trusted, the version before it can.
                    raise ApiError(
                        status=UNREACHABLE, reason="BrokenStream", message=f"{request}: {error}"
                    ) from error
                for event in self._read(request, message):
                    yield event

    def _read(self, request: build.Request, message: dict[str, Any]) -> Iterator[WatchEvent]:
        item = message["object"]
        match message["type"]:
            case "ADDED" | "MODIFIED":
                yield from self._note(item)
            case "DELETED":
                self._known.pop(_key(item), None)
                yield WatchEvent(Change.DELETED, item)
            case "BOOKMARK":
                pass
            case _:
                raise ApiError(
                    status=int(item.get("code") or 500),
                    reason=str(item.get("reason") or "WatchError"),
                    message=f"{request}: {item.get('message', 'the watch failed')}",
                )
        self._passes_in_vain = 0
        # After the yields: if the reader stops in between, the event comes again, none is lost.
        self._version = item["metadata"]["resourceVersion"]

    def _note(self, item: dict[str, Any]) -> Iterator[WatchEvent]:
        """An object as it is now: the events that lead there from what was known."""
        key, metadata = _key(item), item["metadata"]
        before = self._known.get(key)
        if before is not None and before.uid != metadata["uid"]:
            # Deleted and made anew under the same name while nobody looked.
            yield self._forget(key)
            before = None
        if before is not None and before.resource_version == metadata["resourceVersion"]:
            return
        self._known[key] = _Known(metadata["uid"], metadata["resourceVersion"], metadata.get("labels") or {})
        yield WatchEvent(Change.ADDED if before is None else Change.MODIFIED, item)

    def _forget(self, key: _Key) -> WatchEvent:
        known = self._known.pop(key)
        namespace, name = key
        metadata: dict[str, Any] = {
            "name": name,
            "uid": known.uid,
            "resourceVersion": known.resource_version,
            "labels": known.labels,
        }
        if namespace:
            metadata["namespace"] = namespace
        kind = self._selection.kind
        return WatchEvent(
            Change.DELETED, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        )


def _key(item: dict[str, Any]) -> _Key:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
