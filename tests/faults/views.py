"""What a client sees of the cluster through its watches: held back, released, ended with 410, or silent."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

GONE = (
    json.dumps(
        {
            "type": "ERROR",
            "object": {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": "too old resource version",
                "reason": "Expired",
                "code": 410,
            },
        }
    ).encode()
    + b"\n"
)
"""As the API server ends a watch that it can't go on with: inside a stream that began with 200."""


@dataclass(slots=True, eq=False)
class Stream:
    """One watch under way: lines wait here between server and client."""

    resource: str
    lines: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    expired: bool = False
    silent: bool = False

    def expire(self) -> None:
        """Forget what was held back, and end with 410."""
        self.expired = True
        self.lines.put_nowait(None)


class Views:
    """All watches of one client."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._held: set[str] = set()
        self._released = asyncio.Condition()

    @property
    def watched(self) -> set[str]:
        """The resources with a watch under way."""
        return {stream.resource for stream in self._streams if not stream.silent}

    async def hold(self, *resources: str) -> None:
        """Hold back every event of these from now on: the client's view grows stale."""
        self._held |= set(resources)

    async def release(self, *resources: str) -> None:
        """Deliver what was held back of these, in order; without names, of all."""
        async with self._released:
            self._held -= set(resources or self._held)
            self._released.notify_all()

    async def expire(self, *resources: str) -> None:
        """End the watches of these with 410 Gone; what was held back is never delivered."""
        async with self._released:
            for stream in self._streams:
                if stream.resource in resources:
                    stream.expire()
            self._held -= set(resources)
            self._released.notify_all()

    def silence(self, *resources: str) -> None:
        """Let the connections of these under way be half open: they bring nothing more, and do not end."""
        for stream in self._streams:
            stream.silent = stream.silent or stream.resource in resources

    @contextmanager
    def stream(self, resource: str) -> Iterator[Stream]:
        """A watch, for as long as the block runs."""
        stream = Stream(resource)
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    async def visible(self, stream: Stream) -> AsyncIterator[bytes]:
        """The stream's lines, when the client may see them."""
        while True:
            line = await stream.lines.get()
            async with self._released:
                await self._released.wait_for(lambda: stream.expired or stream.resource not in self._held)
            if stream.silent:
                await asyncio.Event().wait()  # until the proxy is closed, whatever the client does
            if stream.expired:
                yield GONE
                return
            if line is None:
                return
            yield line
