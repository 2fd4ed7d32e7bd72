"""The gateway as its own process on a real API server: real projected tokens, Jobs, Secrets, conditions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from claude_operator.gateway.kube_cluster import KubeCluster
from claude_operator.gateway.tls import shared_authority
from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import from_kubeconfig
from tests.cluster import ports
from tests.cluster.fixtures import control_plane
from tests.cluster.kubectl import KubectlError
from tests.world.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cluster.controlplane import ControlPlane

# Fixtures are found by name in the module that uses them.
__all__ = ["control_plane"]

pytestmark = pytest.mark.controlplane
CRDS = Path(__file__).parents[3] / "crds"
KEY = "sk-ant-test-0123456789abcdefghij"
DEADLINE = 30.0


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """With the CRDs, our namespace and a tenant's."""
    kubectl = control_plane.kubectl
    kubectl.run("apply", "--server-side", "-f", str(CRDS))
    kubectl.run("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    for namespace in ("claude-operator", "team"):
        kubectl.run("create", "namespace", namespace)
    kubectl.run("create", "serviceaccount", "claude-session", "-n", "team")
    kubectl.run("create", "serviceaccount", "claude-controller", "-n", "claude-operator")
    return control_plane


async def kubectl(plane: ControlPlane, *args: str, stdin: Any = None) -> str:
    text = None if stdin is None else json.dumps(stdin)
    return await asyncio.to_thread(plane.kubectl.run, *args, stdin=text)


async def apply(plane: ControlPlane, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        await kubectl(plane, "apply", "--server-side", "-o", "json", "-f", "-", stdin=body)
    )
    return found


async def until(what: Any, seconds: float = DEADLINE) -> Any:
    """The first answer of `what` that is true."""
    async with asyncio.timeout(seconds):
        while True:
            if answer := await what():
                return answer
            await asyncio.sleep(0.05)


class Process:
    """`claude-operator gateway`."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.ports = ports.choose(("session", "internal", "connect"))
        self._plane = plane
        self._folder = folder
        self._log = folder / "gateway.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("claude-operator")),
                "gateway",
                "--data",
                str(self._folder / "data"),
                "--namespace",
                "claude-operator",
                "--host",
                "127.0.0.1",
                "--kubeconfig",
                str(self._plane.kubeconfig),
                *(f"--{name}-port={port}" for name, port in self.ports.items()),
                env={
                    "PATH": os.environ["PATH"],
                    "CLAUDE_GATEWAY_INTERNAL_SUBJECTS": (
                        "system:serviceaccount:claude-operator:claude-controller,"
                        "system:serviceaccount:claude-operator:claude-shim"
                    ),
                },
                stdout=log,
                stderr=log,
            )

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), DEADLINE)

    async def client(self) -> aiohttp.ClientSession:
        """A client that trusts the CA that the ConfigMap publishes, once the gateway is ready."""

        async def authority() -> str:
            try:
                config = await kubectl(
                    self._plane, "get", "cm", "claude-gateway-ca", "-n", "claude-operator", "-o", "json"
                )
            except KubectlError:
                return ""
            return str(json.loads(config)["data"]["ca.crt"])

        context = ssl.create_default_context(cadata=await until(authority))
        http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

        async def ready() -> bool:
            try:
                async with http.get(f"https://localhost:{self.ports['internal']}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                assert self._process is not None
                assert self._process.returncode is None, self._log.read_text()
                return False

        await until(ready)
        return http


@asynccontextmanager
async def process(plane: ControlPlane, folder: Path) -> AsyncIterator[tuple[Process, aiohttp.ClientSession]]:
    gateway = Process(plane, folder)
    await gateway.start()
    try:
        async with await gateway.client() as http:
            yield gateway, http
    finally:
        assert await gateway.stop() == 0, (folder / "gateway.log").read_text()


async def token(plane: ControlPlane, account: str, namespace: str, audience: str, pod: str = "") -> str:
    bound = ["--bound-object-kind=Pod", f"--bound-object-name={pod}"] if pod else []
    text = await kubectl(plane, "create", "token", account, "-n", namespace, f"--audience={audience}", *bound)
    return text.strip()


def session_of(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "claude-operator.dev/v1alpha1",
        "kind": "ClaudeSession",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"repository": "acme/greetings", "requirements": "Say hello."},
    }


def job_of(session: dict[str, Any]) -> dict[str, Any]:
    labels = {
        "claude-operator.dev/session-uid": session["metadata"]["uid"],
        "claude-operator.dev/attempt": "1",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{session['metadata']['name']}-1",
            "namespace": "team",
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": session["apiVersion"],
                    "kind": "ClaudeSession",
                    "name": session["metadata"]["name"],
                    "uid": session["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "claude-session",
                    "containers": [{"name": "session", "image": "none"}],
                },
            },
        },
    }


async def condition(plane: ControlPlane) -> dict[str, Any]:
    text = await kubectl(plane, "get", "claudeproject", "default", "-n", "team", "-o", "json")
    project = json.loads(text)
    for one in project.get("status", {}).get("conditions", []):
        if one.get("observedGeneration") == project["metadata"]["generation"]:
            found: dict[str, Any] = one
            return found
    return {}


async def test_a_pod_claims_with_its_projected_token(plane: ControlPlane, tmp_path: Path) -> None:
    async with ModelServer(keys=[KEY]) as model, process(plane, tmp_path) as (gateway, http):
        await apply(
            plane,
            {
                "apiVersion": "claude-operator.dev/v1alpha1",
                "kind": "ClaudeProject",
                "metadata": {"name": "default", "namespace": "team"},
                "spec": {
                    "repositoryHosts": [{"host": "git.example"}],
                    "model": {"upstreamURL": model.url},
                },
            },
        )

        async def is_missing() -> bool:
            return (await condition(plane)).get("reason") == "SecretNotFound"

        await until(is_missing)
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "claude-operator.dev/credential",
            "metadata": {"name": "anthropic", "namespace": "team"},
            "stringData": {"hosts": model.url, "apiKey": KEY},
        }
        await apply(plane, secret)

        async def is_ready() -> bool:
            return (await condition(plane)).get("status") == "True"

        await until(is_ready)
        session = await apply(plane, session_of("fix"))
        await kubectl(plane, "create", "-f", "-", stdin=job_of(session))

        async def pod_of() -> str:
            return (
                await kubectl(plane, "get", "pods", "-n", "team", "-l", "job-name=fix-1", "-o", "name")
            ).strip()

        pod = (await until(pod_of)).removeprefix("pod/")
        bound = await token(plane, "claude-session", "team", "claude-gateway", pod)
        url = f"https://localhost:{gateway.ports['session']}"

        async def ask(method: str, path: str, bearer: str, body: Any = None) -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {bearer}"}
            async with http.request(method, path, headers=headers, json=body) as answer:
                return answer.status, await answer.json()

        status, assignment = await ask("POST", f"{url}/v1/session/claim", bound)
        assert (status, assignment["name"]) == (200, "fix"), assignment
        message = {
            "model": "claude-sonnet-5-5",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "hi"}],
        }
        status, answer = await ask("POST", f"{url}/v1/messages", bound, message)
        assert (status, answer["type"]) == (200, "message"), answer

        unbound = await token(plane, "claude-session", "team", "claude-gateway")
        assert (await ask("POST", f"{url}/v1/session/claim", unbound))[0] == 401
        wrong = await token(plane, "claude-session", "team", "another", pod)
        assert (await ask("POST", f"{url}/v1/session/claim", wrong))[0] == 401

        internal = f"https://localhost:{gateway.ports['internal']}/internal/v1/sessions"
        caller = await token(plane, "claude-controller", "claude-operator", "claude-gateway-internal")
        uid = session["metadata"]["uid"]
        status, record = await ask("GET", f"{internal}/{uid}", caller)
        assert (status, record["usage"]["turns"]) == (200, 1), record

        # Killed and started again, it goes on where it was.
        assert await gateway.stop(signal.SIGKILL) == -signal.SIGKILL
        await gateway.start()
        async with await gateway.client():
            assert (await ask("POST", f"{url}/v1/messages", bound, message))[0] == 200
            status, record = await ask("GET", f"{internal}/{uid}", caller)
            assert record["usage"]["turns"] == 2

            await kubectl(plane, "delete", "pod", pod, "-n", "team", "--force", "--grace-period=0")
            status, refused = await ask("POST", f"{url}/v1/session/claim", bound)
            assert (status, refused["reason"]) == (409, "ClaimRefused")


async def test_two_that_start_at_once_agree_on_one_authority(plane: ControlPlane) -> None:
    await kubectl(plane, "create", "namespace", "race")
    async with KubeClient(from_kubeconfig(plane.kubeconfig)) as client:
        cluster = KubeCluster(client, "race")
        first, second, third = await asyncio.gather(*(shared_authority(cluster) for _ in range(3)))

    assert first.pem == second.pem == third.pem
    published = json.loads(
        await kubectl(plane, "get", "configmap", "claude-gateway-ca", "-n", "race", "-o", "json")
    )
    assert published["data"] == {"ca.crt": first.pem}
