"""As much of an API server as a list-watch sees: pages, versions, watches that break as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import ClusterConfig
from claude_operator.kube.retry import RetryPolicy

Object = dict[str, Any]


@dataclass(slots=True)
class FakeApiServer:
    """Pods of one namespace."""

    version: int = 100
    objects: dict[str, Object] = field(default_factory=dict)
    oldest: int = 0
    """A watch from before this version is answered with 410."""
    requests: list[str] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    """What the next requests get instead of an answer, in order."""
    _log: list[tuple[int, Object]] = field(default_factory=list)
    _watchers: list[asyncio.Queue[bytes | None]] = field(default_factory=list)

    def put(self, name: str, *, uid: str = "", announce: bool = True, **fields: Any) -> None:
        """Create or change one; unannounced: it happens while no watch can see it."""
        self.version += 1
        known = self.objects.get(name)
        metadata = {
            "namespace": "default",
            "name": name,
            "uid": uid or (known["metadata"]["uid"] if known else f"uid-{name}"),
            "resourceVersion": str(self.version),
        }
        fresh = known is None or known["metadata"]["uid"] != metadata["uid"]
        self.objects[name] = {"metadata": metadata, **fields}
        self._tell("ADDED" if fresh else "MODIFIED", self.objects[name], announce=announce)

    def delete(self, name: str, *, announce: bool = True) -> None:
        self.version += 1
        item = self.objects.pop(name)
        gone = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}
        self._tell("DELETED", gone, announce=announce)

    def bookmark(self) -> None:
        self.version += 1
        self._tell("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}}, announce=True)

    def send_raw(self, data: bytes) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(data)

    def cut(self, *, forget: bool = False) -> None:
        """End all watches; `forget`: they can't be resumed."""
        for watcher in self._watchers:
            watcher.put_nowait(None)
        if forget:
            self.version += 1
            self.oldest = self.version

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    @property
    def lists(self) -> int:
        return sum("watch=1" not in each for each in self.requests)

    def _tell(self, kind: str, item: Object, *, announce: bool) -> None:
        event = {"type": kind, "object": item}
        self._log.append((self.version, event))
        if announce:
            self.send_raw(json.dumps(event).encode() + b"\n")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if self.answers:
            return self.answers.pop(0)
        if request.query.get("watch"):
            return await self._watch(request)
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        names = sorted(self.objects)
        start = int(request.query.get("continue") or 0)
        end = start + int(request.query["limit"])
        metadata = {"resourceVersion": str(self.version)}
        if end < len(names):
            metadata["continue"] = str(end)
        items = [self.objects[name] for name in names[start:end]]
        return web.json_response({"metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if since < self.oldest:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            return response
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        for version, event in self._log:
            if version > since:
                queue.put_nowait(json.dumps(event).encode() + b"\n")
        self._watchers.append(queue)
        try:
            while (data := await queue.get()) is not None:
                await response.write(data)
        finally:
            self._watchers.remove(queue)
        return response


@asynccontextmanager
async def serving(server: FakeApiServer, *, retry: RetryPolicy | None = None) -> AsyncIterator[KubeClient]:
    """The fake behind a real socket, and a client of it."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server._handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = ClusterConfig(f"http://127.0.0.1:{port}", None)
    try:
        async with KubeClient(config, retry=retry or RetryPolicy(first_delay=0.01)) as client:
            yield client
    finally:
        server.cut()
        await runner.cleanup()
