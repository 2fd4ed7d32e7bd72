"""The shim as its own process, as it runs in a pod."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.cluster import ports

SECRET = "a-secret-of-the-tests-0123456789"
Json = dict[str, Any]


@dataclass(slots=True)
class ShimProcess:
    """One replica; `start` and `kill` as often as a test likes."""

    log: Path
    environment: Mapping[str, str]
    port: int = field(default_factory=lambda: ports.choose(("shim",))["shim"])
    _process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, ready: bool = True, **environment: str) -> None:
        """Start it; with `ready`, wait until it has listed everything."""
        variables = {
            **os.environ,
            "CLAUDE_SHIM_HOST": "127.0.0.1",
            "CLAUDE_SHIM_PORT": str(self.port),
            "CLAUDE_WEBHOOK_SECRET": SECRET,
            **self.environment,
            **environment,
        }
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "claude_operator", "shim"), env=variables, stdout=log, stderr=log
            )
        if ready:
            await self.until_ready()

    async def until_ready(self, *, seconds: float = 20) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while await self.status("/readyz") != 200:
            if self.running.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"the shim did not become ready:\n{self.tail()}")
            await asyncio.sleep(0.02)

    @property
    def running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    async def status(self, path: str) -> int:
        """The status of a GET; 0 while nothing answers."""
        try:
            async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
                return response.status
        except aiohttp.ClientError:
            return 0

    async def kill(self) -> None:
        """Kill it without warning (-9)."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(signal.SIGTERM)

    async def ended(self, *, seconds: float = 20) -> int:
        async with asyncio.timeout(seconds):
            return await self.running.wait()

    async def clean_up(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    @property
    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    async def _end(self, number: signal.Signals) -> int:
        process = self.running
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(20):
            return await process.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets."""

    status: int
    body: Json
    headers: Mapping[str, str]

    @property
    def data(self) -> Json:
        assert self.body["success"] is True, self.body
        found: Json = self.body["data"]
        return found

    @property
    def session(self) -> Json:
        found: Json = self.data["session"]
        return found

    @property
    def error(self) -> str:
        assert self.body["success"] is False, self.body
        return str(self.body["error"])


@dataclass(slots=True)
class Client:
    """An agent that speaks the API."""

    url: str
    http: aiohttp.ClientSession
    secret: str = SECRET

    async def post(self, body: Json, *, path: str = "/api/webhooks/claude", **headers: str) -> Answer:
        """A request with its JSON body; headers with _ for -."""
        return await self.send(json.dumps(body).encode(), path=path, **headers)

    async def send(self, data: Any, *, path: str = "/api/webhooks/claude", **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"} | given
        async with self.http.post(
            self.url + path, data=data, headers={name: value for name, value in sent.items() if value}
        ) as answer:
            return Answer(answer.status, await answer.json(), answer.headers)

    async def get(self, path: str) -> Answer:
        async with self.http.get(self.url + path) as answer:
            return Answer(answer.status, await answer.json(), answer.headers)

    async def create(self, **more: Any) -> Answer:
        """The smallest session, with further members."""
        session: Json = {
            "type": "implementation",
            "project": {"repository": "acme/webapp", "requirements": "Add a login page."},
        }
        options = more.pop("options", None)
        project = more.pop("project", None)
        session |= more
        if project is not None:
            session["project"] = session["project"] | project
        body: Json = {"type": "session.create", "session": session}
        if options is not None:
            body["options"] = options
        return await self.post(body)

    async def on(self, what: str, session_id: str, **more: Any) -> Answer:
        """An operation on one session."""
        return await self.post({"type": f"session.{what}", "sessionId": session_id, **more})
