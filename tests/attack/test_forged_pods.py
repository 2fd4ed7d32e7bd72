"""Pods made by hand with a session's account, labels and owners: with the admission policies there are none.

On a real API server, with a real gateway process. Without the policies the first of these attacks works:
whoever may create pods takes a session over. That is what they are for.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster.fixtures import control_plane
from tests.cluster.kubectl import KubectlError
from tests.integration.gateway.test_control_plane import (
    apply,
    condition,
    job_of,
    kubectl,
    plane,
    process,
    session_of,
    token,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.cluster.controlplane import ControlPlane

    Ask = Callable[[str, str, str], Coroutine[Any, Any, tuple[int, dict[str, Any]]]]

# Fixtures are found by name in the module that uses them.
__all__ = ["control_plane", "plane"]

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(180)]
INSTALL = Path(__file__).parents[2] / "manifests" / "install.yaml"
CLAIM = "/v1/session/claim"
INBOX = "/v1/session/inbox?after=0&wait=0"


@asynccontextmanager
async def gateway(plane: ControlPlane, folder: Path) -> AsyncIterator[Ask]:
    """A gateway with a usable project in `team`; requests to its session port."""
    async with process(plane, folder) as (running, http):
        url = f"https://localhost:{running.ports['session']}"
        project = {
            "apiVersion": "claude-operator.dev/v1alpha1",
            "kind": "ClaudeProject",
            "metadata": {"name": "default", "namespace": "team"},
            "spec": {"repositoryHosts": [{"host": "git.example"}]},
        }
        await apply(plane, project)
        data = {"hosts": "api.anthropic.com", "apiKey": "sk-ant-x" * 4}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "claude-operator.dev/credential",
            "metadata": {"name": "anthropic", "namespace": "team"},
            "stringData": data,
        }
        await apply(plane, secret)

        async def is_ready() -> bool:
            return (await condition(plane)).get("status") == "True"

        await until(is_ready)

        async def ask(method: str, path: str, bearer: str) -> tuple[int, dict[str, Any]]:
            headers = {"Authorization": f"Bearer {bearer}"}
            async with http.request(method, url + path, headers=headers) as answer:
                return answer.status, await answer.json()

        yield ask


def forged(job: dict[str, Any], name: str) -> dict[str, Any]:
    """A pod that says of itself all that a session's pod says."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "team",
            "labels": job["metadata"]["labels"],
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": job["metadata"]["name"],
                    "uid": job["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": job["spec"]["template"]["spec"],
    }


async def made(plane: ControlPlane, name: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A session, its Job and the name of the Job's own pod."""
    session = await apply(plane, session_of(name))
    await kubectl(plane, "create", "-f", "-", stdin=job_of(session))
    job = json.loads(await kubectl(plane, "get", "job", f"{name}-1", "-n", "team", "-o", "json"))

    return session, job, await pod_of(plane, f"{name}-1")


async def pod_of(plane: ControlPlane, job: str) -> str:
    """The pod that the Job controller has made for a Job."""

    async def pod() -> str:
        found = await kubectl(plane, "get", "pods", "-n", "team", "-l", f"job-name={job}", "-o", "name")
        return found.strip().partition("\n")[0]

    return str(await until(pod)).removeprefix("pod/")


async def test_without_the_policies_whoever_makes_pods_takes_a_session_over(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async with gateway(plane, tmp_path) as ask:
        session, _, real = await made(plane, "taken")
        own = await token(plane, "claude-session", "team", "claude-gateway", real)
        assert (await ask("POST", CLAIM, own))[0] == 200

        # A Job of its own keeps the Job controller from removing one pod too many.
        impostor = job_of(session)
        impostor["metadata"]["name"] = "impostor"
        await kubectl(plane, "create", "-f", "-", stdin=impostor)
        pod = await pod_of(plane, "impostor")
        stolen = await token(plane, "claude-session", "team", "claude-gateway", pod)
        status, assignment = await ask("POST", CLAIM, stolen)

        assert (status, assignment["name"]) == (200, "taken"), "undefended: the impostor is the session"
        assert (await ask("GET", INBOX, own))[0] == 403, "and the session's own pod is out"


async def test_with_them_there_is_neither_such_a_pod_nor_such_a_token(plane: ControlPlane) -> None:
    session, job, real = await made(plane, "guarded")
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    found = [one for one in yaml.safe_load_all(INSTALL.read_text()) if one and one["kind"] in kinds]
    plane.kubectl.run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(found))
    own = {**job_of(session), "metadata": {"name": "impostor-2", "namespace": "team"}}
    dry = ("create", "--dry-run=server", "-f", "-")
    account = ("claude-session", "team", "claude-gateway")
    attempts: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "the service account claude-session and the label claude-operator.dev/session-uid belong": lambda: (
            kubectl(plane, *dry, stdin=forged(job, "impostor"))
        ),
        "Jobs of sessions (by service account, label or owner) are made and changed by": lambda: kubectl(
            plane, *dry, stdin=own
        ),
        "tokens of the service account claude-session are for session pods alone": lambda: token(
            plane, *account, real
        ),
    }

    for words, attempt in attempts.items():

        async def refusal(attempt: Any = attempt) -> str:
            try:
                await attempt()
            except KubectlError as error:
                return str(error)
            return ""  # a policy is compiled a moment after it is there

        assert words in await until(refusal)
