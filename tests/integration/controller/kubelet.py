"""Plays the kubelet: moves pods along by their status, as the real one would. The Job controller is real."""

from collections.abc import Mapping
from typing import Any

from claude_operator.kube.client import KubeClient
from claude_operator.kube.kinds import PODS
from claude_operator.resources.identity import LABEL_SESSION_UID, SESSION_CONTAINER
from tests.integration.controller.history import History
from tests.integration.controller.standin import now

Pod = dict[str, Any]


class Kubelet:
    """Of one namespace."""

    def __init__(self, client: KubeClient, namespace: str, pods: History) -> None:
        self._client = client
        self._namespace = namespace
        self._pods = pods

    async def pod(self, session_uid: str, *, attempt: int = 1, seconds: float = 20) -> Pod:
        """The pod that the Job controller made for an attempt."""
        wanted = {LABEL_SESSION_UID: session_uid, "claude-operator.dev/attempt": str(attempt)}
        return await self._pods.find(
            lambda pod: wanted.items() <= pod["metadata"]["labels"].items(),
            what=f"a pod with {wanted}",
            seconds=seconds,
        )

    async def waiting(self, pod: Pod, reason: str, message: str) -> None:
        await self._status(pod, {"phase": "Pending"}, {"waiting": {"reason": reason, "message": message}})

    async def unschedulable(self, pod: Pod, message: str) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": now(),
        }
        await self._client.patch(
            PODS,
            pod["metadata"]["name"],
            {"status": {"phase": "Pending", "conditions": [condition]}},
            namespace=self._namespace,
            subresource="status",
        )

    async def agent_starts(self, pod: Pod) -> None:
        """The container runs and its probe has seen the ready file."""
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": now()}]
        await self._status(
            pod,
            {"phase": "Running", "conditions": conditions, "startTime": now()},
            {"running": {"startedAt": now()}},
            ready=True,
        )

    async def node_is_lost(self, pod: Pod) -> None:
        """As the taint manager and the garbage collector of pods leave it."""
        gone = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "lastTransitionTime": now(),
        }
        await self._status(
            pod, {"phase": "Failed", "conditions": [gone], "message": "its node is gone"}, {"waiting": {}}
        )

    async def ends(self, pod: Pod, *, exit_code: int = 0, reason: str = "", message: str = "") -> None:
        terminated = {
            "exitCode": exit_code,
            "reason": reason or ("Completed" if exit_code == 0 else "Error"),
            "message": message,
            "startedAt": now(),
            "finishedAt": now(),
        }
        phase = "Succeeded" if exit_code == 0 else "Failed"
        conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": now()}]
        await self._status(pod, {"phase": phase, "conditions": conditions}, {"terminated": terminated})

    async def _status(
        self, pod: Pod, status: Mapping[str, Any], state: Mapping[str, Any], *, ready: bool = False
    ) -> None:
        container = {
            "name": SESSION_CONTAINER,
            "image": "session",
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            "state": state,
        }
        await self._client.patch(
            PODS,
            pod["metadata"]["name"],
            {"status": {**status, "containerStatuses": [container]}},
            namespace=self._namespace,
            subresource="status",
        )
