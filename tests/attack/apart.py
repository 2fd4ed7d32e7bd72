"""A gateway in a process of its own, on a cluster of dictionaries: so its memory can be measured.

Run as a module it is that process: settings and sessions come as JSON in its argument, where it listens and
who may speak goes out as a line, and it runs until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import uvloop

from claude_operator.gateway.serve import Gateway
from claude_operator.gateway.settings import Settings
from tests.integration.gateway.cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


@dataclass
class Apart:
    """As its pods see it."""

    pid: int
    url: str
    tokens: list[str]
    """Of one pod for each session; all have claimed."""
    http: aiohttp.ClientSession

    @property
    def resident(self) -> int:
        """Bytes of memory now."""
        return self._memory("VmRSS")

    @property
    def peak(self) -> int:
        """Bytes of memory at the most, ever."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

    async def ask(self, session: int, path: str, body: bytes = b"") -> int:
        """A POST of the pod of a session; the answer's status."""
        headers = {"Authorization": f"Bearer {self.tokens[session]}"}
        # As a stream of known length: a large body in one piece would hold up this very loop.
        headers["Content-Length"] = str(len(body))
        async with self.http.post(f"{self.url}{path}", data=_pieces(body), headers=headers) as answer:
            await answer.read()
            return answer.status


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), MIB):
        yield body[start : start + MIB]


@asynccontextmanager
async def apart(folder: Path, *, model_url: str, sessions: int, **settings: Any) -> AsyncIterator[Apart]:
    """One with so many claimed sessions."""
    told = {"folder": str(folder), "model": model_url, "sessions": sessions, "settings": settings}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.attack.apart", json.dumps(told)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=MIB,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            said = json.loads(await child.stdout.readline())
        tls = ssl.create_default_context(cadata=said["authority"])
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            made = Apart(child.pid, f"https://127.0.0.1:{said['port']}", said["tokens"], http)
            for session in range(sessions):
                assert await made.ask(session, "/v1/session/claim") == 200
            yield made
    finally:
        child.kill()  # an orderly end would wait for what the test has left under way
        await child.wait()


async def _gateway(told: dict[str, Any]) -> None:
    cluster = FakeCluster()
    cluster.add_secret("anthropic", hosts=told["model"], apiKey="sk-ant-test-0123456789abcdefghij")
    cluster.put_project(
        {
            "repositoryHosts": [{"host": "git.example"}],
            "model": {"upstreamURL": told["model"], "credentialsSecret": "anthropic"},
        }
    )
    pods = [cluster.add_pod(cluster.add_session(f"session-{number}")) for number in range(told["sessions"])]
    settings = Settings(
        namespace="claude-operator",
        data=Path(told["folder"]),
        host="127.0.0.1",
        session_port=0,
        internal_port=0,
        connect_port=0,
        drain_seconds=0.1,
        **told["settings"],
    )
    async with Gateway(settings, cluster) as gateway:
        assert gateway.authority is not None
        said = {
            "port": gateway.ports.session,
            "authority": gateway.authority.pem,
            "tokens": [pod.token() for pod in pods],
        }
        print(json.dumps(said), flush=True)
        await gateway.failed()


if __name__ == "__main__":
    uvloop.run(_gateway(json.loads(sys.argv[1])))
