"""One namespace with everything that a session needs, and a controller that runs that namespace alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import from_kubeconfig
from claude_operator.kube.kinds import (
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    PODS,
    PROJECTS,
    SERVICE_ACCOUNTS,
    SESSIONS,
    Kind,
)
from tests.cluster.controlplane import ControlPlane
from tests.integration.controller.audit import Audit
from tests.integration.controller.history import History, Object
from tests.integration.controller.kubelet import Kubelet
from tests.integration.controller.process import ControllerProcess
from tests.integration.controller.standin import TOKEN, StandInGateway, now

_number = count(1)


@dataclass(slots=True)
class Stage:
    """What a test plays on."""

    client: KubeClient
    namespace: str
    folder: Path
    gateway: StandInGateway
    sessions: History
    jobs: History
    pods: History
    events: History
    kubelet: Kubelet
    controller: ControllerProcess
    audit: Audit
    plane: ControlPlane

    async def apply(self, name: str, **spec: Any) -> str:
        """Create a session; its uid."""
        body = {
            "metadata": {"name": name},
            "spec": {"repository": "demo/greeter", "requirements": "Go.", **spec},
        }
        created = await self.client.create(SESSIONS, body, namespace=self.namespace)
        return str(created["metadata"]["uid"])

    async def change(self, name: str, **spec: Any) -> None:
        await self.client.patch(SESSIONS, name, {"spec": spec}, namespace=self.namespace)

    async def delete(self, name: str) -> None:
        await self.client.delete(SESSIONS, name, namespace=self.namespace)

    async def run_to_success(self, uid: str, *, name: str, attempt: int = 1) -> None:
        """Its pod starts, works, pushes and ends well."""
        pod = await self.kubelet.pod(uid, attempt=attempt)
        await self.kubelet.agent_starts(pod)
        await self.sessions.phase(name, "Running")
        self.gateway.saw(uid, namespace=self.namespace, name=name, attempt=attempt, commit="c0ffee")
        await self.kubelet.ends(pod)

    async def add_project(self, name: str = "default", *, ready: bool = True, **spec: Any) -> None:
        body = {"metadata": {"name": name}, "spec": {"repositoryHosts": [{"host": "github.com"}], **spec}}
        created = await self.client.create(PROJECTS, body, namespace=self.namespace)
        if ready:
            await self.set_ready(name, created["metadata"]["generation"])

    async def set_ready(self, name: str, generation: int, *, status: str = "True", message: str = "") -> None:
        """What the gateway writes after it has checked the credentials."""
        condition = {
            "type": "Ready",
            "status": status,
            "reason": "Ready" if status == "True" else "SecretNotFound",
            "message": message,
            "lastTransitionTime": now(),
        }
        await self.client.patch(
            PROJECTS,
            name,
            {"status": {"observedGeneration": generation, "conditions": [condition]}},
            namespace=self.namespace,
            subresource="status",
        )

    async def until(self, kind: Kind, name: str, condition: Callable[[Object], bool]) -> None:
        """Until an object that no history follows is so."""
        async with asyncio.timeout(20):
            get = partial(self.client.get, kind, name, namespace=self.namespace)
            while not condition(await get()):  # noqa: ASYNC110 - polled, as no watch follows this kind
                await asyncio.sleep(0.05)

    async def until_outcome(self, uid: str, phase: str, *, seconds: float = 20) -> None:
        """Until the gateway has been told how a session ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while uid not in self.gateway.outcomes:
            assert asyncio.get_running_loop().time() < deadline, (
                f"no outcome of {uid}:\n{self.controller.tail()}"
            )
            await asyncio.sleep(0.02)
        assert self.gateway.outcomes[uid].phase == phase

    async def hold(self, job: str) -> None:
        """Keep a Job from vanishing when it is deleted."""
        await self._finalizers(job, ["orphan-test.example/hold"])

    async def release(self, job: str) -> None:
        await self._finalizers(job, None)

    async def _finalizers(self, job: str, names: list[str] | None) -> None:
        patch = {"metadata": {"finalizers": names}}
        await self.client.patch(JOBS, job, patch, namespace=self.namespace)

    async def take_lease(self, holder: str) -> None:
        """As a replica does that saw it expire."""
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 600}
        await self.client.patch(
            LEASES, "claude-operator-controller", {"spec": spec}, namespace=self.namespace
        )

    def replica(self, name: str) -> ControllerProcess:
        """Another process of the same controller; not started."""
        return ControllerProcess(name, self.folder / f"{name}.log", self.controller.environment)

    def job_names(self) -> list[str]:
        return sorted(self.jobs.versions)


@asynccontextmanager
async def staged(plane: ControlPlane, folder: Path, **environment: str) -> AsyncIterator[Stage]:
    """A stage whose controller is not started yet."""
    namespace = f"stage-{next(_number)}"
    user = f"controller-{namespace}"
    kubeconfig = plane.client_kubeconfig(user, user=user, groups=["system:masters"])
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    gateway = StandInGateway()
    async with AsyncExitStack() as stack:
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        controller = ControllerProcess(
            f"{namespace}-a",
            folder / "controller.log",
            {
                "KUBECONFIG": str(kubeconfig),
                "POD_NAMESPACE": namespace,
                "CLAUDE_NAMESPACES": namespace,
                "CLAUDE_SESSION_IMAGE": "session:test",
                "CLAUDE_GATEWAY_URL": gateway.url,
                "CLAUDE_GATEWAY_PROXY": "127.0.0.1:1",
                "CLAUDE_GATEWAY_INTERNAL_URL": gateway.url,
                "CLAUDE_GATEWAY_TOKEN_FILE": str(token_file),
                **environment,
            },
        )
        audit = Audit(plane.audit_log, user)
        audit.restart()
        client = await stack.enter_async_context(KubeClient(from_kubeconfig(plane.kubeconfig)))
        await client.create(NAMESPACES, {"metadata": {"name": namespace}})
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "claude-session"}}, namespace=namespace)
        histories = [History(client, kind, namespace) for kind in (SESSIONS, JOBS, PODS, EVENTS)]
        watches = [asyncio.create_task(history.run()) for history in histories]
        sessions, jobs, pods, events = histories
        stage = Stage(
            client=client,
            namespace=namespace,
            folder=folder,
            gateway=gateway,
            sessions=sessions,
            jobs=jobs,
            pods=pods,
            events=events,
            kubelet=Kubelet(client, namespace, pods),
            controller=controller,
            audit=audit,
            plane=plane,
        )
        try:
            yield stage
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            if controller._process is not None:
                # pytest shows it with a failure: also whether the controller had ended by itself.
                print(f"exit code before its end was asked for: {controller.running.returncode}")
                await controller.kill()
                print(controller.tail())
