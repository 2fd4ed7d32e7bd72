"""Kubernetes Events: what a person reads in `kubectl describe`, at a bounded price.

Written in the background, after the fact: an Event that can't be written is logged and dropped, and never
holds up or fails the work. Repetitions raise a count instead of making objects; each object has a token
bucket; the queue is bounded. core/v1 rather than events.k8s.io/v1: both are the same store, and its count
and timestamps are what every kubectl shows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from claude_operator.kube import timestamps
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import EVENTS

if TYPE_CHECKING:
    from claude_operator.kube.client import KubeClient
    from claude_operator.kube.kinds import Kind

log = logging.getLogger(__name__)

_K = TypeVar("_K")
_V = TypeVar("_V")

QUEUE_LENGTH: Final = 1000
BURST: Final = 25
"""Events that one object may have at once; client-go's number."""
REFILL_SECONDS: Final = 60.0
"""After which one more is allowed. client-go waits 300; sessions are shorter-lived than Deployments."""
_REMEMBERED: Final = 4096
_MAX_MESSAGE: Final = 1024
"""The API server's limit of `message`."""
_REPEATED_WITHIN: Final = 600.0
"""Seconds within which the same words count as a repetition: client-go's correlation interval."""


@dataclass(frozen=True, slots=True)
class About:
    """The object that an Event is about."""

    kind: Kind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class _Saying:
    about: About
    warning: bool
    reason: str
    message: str


@dataclass(slots=True)
class _Said:
    name: str
    count: int
    at: float


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class EventRecorder:
    """A queue of Events and the loop that writes them.

    Attributes:
        dropped: Events not written, because of a full queue, an empty bucket or an error.
    """

    def __init__(self, client: KubeClient, *, component: str, instance: str) -> None:
        self.dropped = 0
        self._client = client
        self._component, self._instance = component, instance
        self._queue: asyncio.Queue[_Saying] = asyncio.Queue(QUEUE_LENGTH)
        self._said: OrderedDict[_Saying, _Said] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def record(self, about: About, *, warning: bool, reason: str, message: str) -> None:
        """Queue one Event; never waits.

        Args:
            about: the object that it is about.
            warning: type Warning instead of Normal.
            reason: CamelCase, for machines.
            message: for people; cut to 1 KiB.
        """
        saying = _Saying(about, warning, reason, message[:_MAX_MESSAGE])
        if not self._allowed(about.uid):
            self.dropped += 1
            return
        try:
            self._queue.put_nowait(saying)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write what is queued, for ever."""
        while True:
            await self._write_one(await self._queue.get())

    async def drain(self) -> None:
        """Write what is still queued, before the end; the caller sets the deadline."""
        while not self._queue.empty():
            await self._write_one(self._queue.get_nowait())

    async def _write_one(self, saying: _Saying) -> None:
        try:
            await self._write(saying)
        except ApiError as error:
            self.dropped += 1
            log.warning("an Event could not be written: %s", error)

    async def _write(self, saying: _Saying) -> None:
        now = datetime.now(UTC)
        said = self._said.get(saying)
        if said is not None and time.monotonic() - said.at < _REPEATED_WITHIN:
            said.count, said.at = said.count + 1, time.monotonic()
            patch = {"count": said.count, "lastTimestamp": timestamps.time(now)}
            try:
                await self._client.patch(EVENTS, said.name, patch, namespace=saying.about.namespace)
            except ApiError as error:
                if not error.not_found:
                    raise
                # It has expired on the server (an hour by default): say it anew.
            else:
                return
        body = self._body(saying, now)
        await self._client.create(EVENTS, body, namespace=saying.about.namespace)
        _remember(self._said, saying, _Said(body["metadata"]["name"], 1, time.monotonic()))

    def _body(self, saying: _Saying, now: datetime) -> dict[str, Any]:
        about = saying.about
        # client-go's form of the name. Chosen here and not by the server, so that a create may be retried.
        name = f"{about.name[:200]}.{time.time_ns():x}"
        return {
            "metadata": {"name": name, "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": about.kind.api_version,
                "kind": about.kind.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "type": "Warning" if saying.warning else "Normal",
            "reason": saying.reason,
            "message": saying.message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": timestamps.time(now),
            "lastTimestamp": timestamps.time(now),
            "count": 1,
        }

    def _allowed(self, uid: str) -> bool:
        now = time.monotonic()
        bucket = self._buckets.get(uid) or _Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL_SECONDS)
        bucket.at = now
        _remember(self._buckets, uid, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _remember(memory: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
