"""Pods and Jobs that say they are a session's, to end it early: with the admission policies there are none.

On a real API server with its real Job controller and our real controller; the test plays the kubelet. None of
these needs the session's service account: what is forged is what controller and Job controller go by.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from claude_operator.engine.job import job_name
from claude_operator.engine.views import parse_time
from claude_operator.kube.kinds import JOBS, PODS
from tests.cluster.ability import why_no_control_plane
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import KubectlError
from tests.integration.controller.conftest import prepared
from tests.integration.controller.stage import Stage, staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(180)]

INSTALL = Path(__file__).parents[2] / "manifests" / "install.yaml"
CONTROLLER = "system:serviceaccount:claude-operator:claude-controller"
POD_WORDS = "the label claude-operator.dev/session-uid belong to the pods that claude-operator starts"
JOB_WORDS = (
    "Jobs of sessions (by service account, label or owner) are made and changed by claude-operator alone"
)
LABEL_WORDS = "the labels claude-operator.dev/session-uid and claude-operator.dev/attempt never change"
HOLD = ["attack.example/hold"]
"""A finalizer: the Job controller removes one pod too many, and it shall stay to be counted."""

Object = dict[str, Any]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Of this module alone: the policies are for the whole cluster."""
    if reason := why_no_control_plane():
        pytest.skip(reason)
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as made:
        prepared(made)
        yield made


@pytest.fixture
async def stage(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Stage]:
    """Its controller is who the policies know as the controller."""
    kubeconfig = plane.client_kubeconfig("controller", user=CONTROLLER, groups=["system:masters"])
    async with staged(plane, tmp_path, KUBECONFIG=str(kubeconfig)) as made:
        await made.add_project()
        await made.controller.start()
        yield made


def forged_pod(job: Object, name: str, *, labels: Object, owned: bool) -> Object:
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "name": name,
        "namespace": job["metadata"]["namespace"],
        "labels": labels,
        "finalizers": HOLD,
        "ownerReferences": [owner] if owned else [],
    }
    spec = {"restartPolicy": "Never", "containers": [{"name": "session", "image": "none"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def forged_job(stage: Stage, session: str, uid: str, **metadata: Any) -> Object:
    """The first attempt of a session that has not begun."""
    owner = {
        "apiVersion": "claude-operator.dev/v1alpha1",
        "kind": "ClaudeSession",
        "name": session,
        "uid": uid,
        "controller": True,
    }
    full = {
        "name": job_name(session, uid, 1),
        "namespace": stage.namespace,
        "labels": {"claude-operator.dev/session-uid": uid, "claude-operator.dev/attempt": "1"},
        "ownerReferences": [owner],
    }
    spec = {"restartPolicy": "Never", "containers": [{"name": "other", "image": "none"}]}
    template = {"metadata": {"labels": {"forged": session}}, "spec": spec}
    body = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**full, **metadata}, "spec": body}


async def running(stage: Stage, name: str) -> tuple[Object, Object]:
    """A session whose agent works: its Job and pod."""
    uid = await stage.apply(name)
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    await stage.sessions.phase(name, "Running")
    job = await stage.client.get(JOBS, job_name(name, uid, 1), namespace=stage.namespace)
    return job, pod


async def until_younger_than(pod: Object) -> None:
    """Pods are made in whole seconds, and of two the younger one counts."""
    made = parse_time(pod["metadata"]["creationTimestamp"])
    async with asyncio.timeout(5):
        while (datetime.now(UTC) - made).total_seconds() < 1:  # noqa: ASYNC110 - the clock has no event
            await asyncio.sleep(0.02)


async def refusal(plane: ControlPlane, *command: str, stdin: Object | None = None) -> str:
    """What the API server says against it; empty: nothing."""
    text = None if stdin is None else json.dumps(stdin)
    try:
        await asyncio.to_thread(plane.kubectl.run, *command, "--dry-run=server", stdin=text)
    except KubectlError as error:
        return str(error)
    return ""


async def until_refused(plane: ControlPlane, manifest: Object, words: str) -> None:
    """A policy is compiled a moment after it is there."""
    async with asyncio.timeout(20):
        create = ("create", "-f", "-")
        while words not in await refusal(plane, *create, stdin=manifest):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def test_without_the_policies_anybodys_pod_ends_a_session(stage: Stage) -> None:
    for name, owned in (("owned", True), ("adopted", False)):
        job, real = await running(stage, name)
        await until_younger_than(real)
        # By its owner our controller takes it for the Job's, by the Job's selector the Job controller does.
        labels = {**job["metadata"]["labels"], **job["spec"]["selector"]["matchLabels"]}
        forged = forged_pod(job, f"forged-{name}", labels=labels, owned=owned)
        made = await stage.client.create(PODS, forged, namespace=stage.namespace)
        await stage.kubelet.ends(made)

        await stage.sessions.phase(name, "Succeeded")


async def test_without_the_policies_anybodys_job_runs_in_a_sessions_place(stage: Stage) -> None:
    uid = await stage.apply("robbed", suspend=True)
    await stage.client.create(JOBS, forged_job(stage, "robbed", uid), namespace=stage.namespace)
    pod = await stage.pods.find(
        lambda pod: pod["metadata"]["labels"].get("forged") == "robbed", what="the forged Job's pod"
    )
    await stage.change("robbed", suspend=False)
    await stage.kubelet.ends(pod)

    await stage.sessions.phase("robbed", "Succeeded")


async def test_with_them_a_session_ends_by_its_own_pod_alone(stage: Stage, plane: ControlPlane) -> None:
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    found = [one for one in yaml.safe_load_all(INSTALL.read_text()) if one and one["kind"] in kinds]
    plane.kubectl.run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(found))
    job, real = await running(stage, "guarded")
    uid = await stage.apply("waits", suspend=True)
    ours, theirs = job["metadata"]["labels"], {"forged": "yes"}
    plain = forged_pod(job, "plain", labels=theirs, owned=False)
    await stage.client.create(PODS, plain, namespace=stage.namespace)

    refused: list[tuple[Object, str]] = [
        (forged_pod(job, "forged", labels=ours, owned=True), POD_WORDS),
        (forged_pod(job, "forged", labels=job["spec"]["selector"]["matchLabels"], owned=False), POD_WORDS),
        (forged_job(stage, "waits", uid), JOB_WORDS),
        (forged_job(stage, "waits", uid, labels={}), JOB_WORDS),
        (forged_job(stage, "waits", uid, ownerReferences=[]), JOB_WORDS),
    ]
    for manifest, words in refused:
        await until_refused(plane, manifest, words)
    marks = [f"{key}={value}" for key, value in job["spec"]["selector"]["matchLabels"].items()]
    label = ("label", "--overwrite", "-n", stage.namespace, "pod")
    status = ("patch", "--subresource=status", "-n", stage.namespace, "pod", real["metadata"]["name"])
    bare = json.dumps({"metadata": {"labels": {"claude-operator.dev/session-uid": None}}})
    assert LABEL_WORDS in await refusal(plane, *label, "plain", *marks), "what came without gets none"
    assert LABEL_WORDS in await refusal(plane, *label, real["metadata"]["name"], marks[1][:-1] + "7")
    assert LABEL_WORDS in await refusal(plane, *status, "--type=merge", "-p", bare), (
        "what has them keeps them"
    )

    # The Job controller's own marks are free, and lead nowhere: such a pod is let go again, not counted.
    uids = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"], **theirs}
    marked = forged_pod(job, "marked", labels=uids, owned=True)
    made = await stage.client.create(PODS, marked, namespace=stage.namespace)
    await stage.kubelet.ends(made)
    await stage.until(PODS, "marked", lambda pod: not pod["metadata"].get("ownerReferences"))
    now = await stage.client.get(JOBS, job["metadata"]["name"], namespace=stage.namespace)
    assert (now["status"].get("succeeded", 0), now["status"]["active"]) == (0, 1)

    await stage.kubelet.ends(real)
    done = await stage.sessions.phase("guarded", "Succeeded")
    assert [attempt["pod"] for attempt in done["status"]["attempts"]] == [real["metadata"]["name"]]
