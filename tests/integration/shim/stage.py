"""One namespace, a shim that makes its sessions there, and a gateway's record that a test fills.

Where a test does not run the controller, it writes the statuses that the controller would.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import from_kubeconfig
from claude_operator.kube.kinds import NAMESPACES, SESSIONS
from claude_operator.kube.request import Selection
from tests.cluster.controlplane import ControlPlane
from tests.integration.shim.process import Client, ShimProcess
from tests.integration.shim.record import TOKEN, Record

_number = count(1)
Json = dict[str, Any]


@dataclass(slots=True)
class Stage:
    """What a test plays on."""

    plane: ControlPlane
    kube: KubeClient
    namespace: str
    folder: Path
    record: Record
    shim: ShimProcess
    api: Client

    async def object(self, name: str) -> Json:
        return await self.kube.get(SESSIONS, name, namespace=self.namespace)

    async def objects(self) -> list[Json]:
        return await self.kube.list(Selection(SESSIONS, self.namespace))

    async def apply(self, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Json:
        """As kubectl does."""
        body = {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"repository": "acme/webapp", "requirements": "Go.", **spec},
        }
        return await self.kube.create(SESSIONS, body, namespace=self.namespace)

    async def move(self, name: str, phase: str, *, reason: str = "", message: str = "", **more: Any) -> Json:
        """As the controller does."""
        ready = {
            "type": "Ready",
            "status": "True" if phase == "Succeeded" else "False",
            "reason": reason or phase,
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {"phase": phase, "conditions": [ready], **more}
        return await self.kube.patch(
            SESSIONS, name, {"status": status}, namespace=self.namespace, subresource="status"
        )

    async def finish(self, name: str, phase: str = "Succeeded", *, seconds: int = 60, **more: Any) -> Json:
        """To its end, after so many seconds of running."""
        times = {
            "startTime": "2026-01-01T10:00:00Z",
            "completionTime": f"2026-01-01T10:{seconds // 60:02}:{seconds % 60:02}Z",
        }
        return await self.move(name, phase, **times, **more)

    async def shows(self, session_id: str, **wanted: Any) -> Json:
        """The session, once the API shows it so: the watch may be a few milliseconds behind."""
        deadline = asyncio.get_running_loop().time() + 10
        while True:
            answer = await self.api.on("get", session_id)
            # What kubectl made is found by its uid only once the watch has brought it.
            if answer.status == 200 and wanted.items() <= answer.session.items():
                return answer.session
            assert asyncio.get_running_loop().time() < deadline, f"{answer.body} never showed {wanted}"
            await asyncio.sleep(0.01)

    def replica(self) -> ShimProcess:
        """Another process of the same shim; not started."""
        return ShimProcess(self.folder / "replica.log", self.shim.environment)

    def client(self, shim: ShimProcess | None = None, *, secret: str | None = None) -> Client:
        return Client((shim or self.shim).url, self.api.http, secret or self.api.secret)


@asynccontextmanager
async def staged(plane: ControlPlane, folder: Path) -> AsyncIterator[Stage]:
    """A stage whose shim is not started yet."""
    namespace = f"shim-{next(_number)}"
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    record = Record()
    await record.start()
    shim = ShimProcess(
        folder / "shim.log",
        {
            "KUBECONFIG": str(plane.kubeconfig),
            "CLAUDE_SHIM_NAMESPACE": namespace,
            "CLAUDE_NAMESPACES": namespace,
            "CLAUDE_GATEWAY_INTERNAL_URL": record.url,
            "CLAUDE_GATEWAY_TOKEN_FILE": str(token_file),
        },
    )
    async with KubeClient(from_kubeconfig(plane.kubeconfig)) as kube, aiohttp.ClientSession() as http:
        await kube.create(NAMESPACES, {"metadata": {"name": namespace}})
        stage = Stage(plane, kube, namespace, folder, record, shim, Client(shim.url, http))
        try:
            yield stage
        finally:
            await shim.clean_up()
            await record.stop()
