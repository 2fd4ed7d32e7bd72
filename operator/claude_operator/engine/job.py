"""The Job of one attempt: one pod, once, with nothing in it worth stealing.

The pod gets a projected token for the gateway and three empty folders. What it is to do it asks the
gateway (wire.session.Assignment): the Job holds no prompt, so etcd does not store one twice.

The Job selects its pod by our labels, not by the label that the API server would choose: whatever pod carries
a Job's selector and no owner is adopted by the Job controller, and its end ends the Job. Ours are reserved by
an admission policy (manifests/install.yaml), the server's own can be written by whoever may create pods.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from claude_operator.engine.resolve import Resolved, resolve
from claude_operator.resources.identity import (
    API_VERSION,
    GATEWAY_AUDIENCE,
    HOME_PATH,
    LABEL_ATTEMPT,
    LABEL_SESSION_NAME,
    LABEL_SESSION_UID,
    READY_PATH,
    SESSION_CONTAINER,
    SESSION_KIND,
    SESSION_SERVICE_ACCOUNT,
    SESSION_UID,
    TOKEN_PATH,
    WORKSPACE_PATH,
)
from claude_operator.wire.session import ENV_GATEWAY_CA, ENV_GATEWAY_PROXY, ENV_GATEWAY_URL

if TYPE_CHECKING:
    from claude_operator.engine.config import EngineConfig
    from claude_operator.engine.decision import JobPlan
    from claude_operator.engine.observation import Project, Session

TOKEN_SECONDS = 3600
"""Lifetime of the projected token; kubelet renews it at 80 %."""


def job_name(session_name: str, session_uid: str, attempt: int) -> str:
    """`<session name, cut>-<hash of uid>-<attempt>`: the same for the same attempt, whoever creates it.

    At most 63 characters: the Job controller copies it into a label of its pods.
    """
    digest = hashlib.sha256(session_uid.encode()).hexdigest()[:8]
    tail = f"-{digest}-{attempt}"
    return session_name[: 63 - len(tail)].rstrip("-.") + tail


def build(session: Session, project: Project, plan: JobPlan, config: EngineConfig) -> dict[str, Any]:
    """The Job object; session.intent and project.spec must be readable (the engine has seen to it)."""
    intent = session.intent
    assert intent is not None, "a Job is planned for readable specs alone"
    assert project.spec is not None, "a Job is planned for readable projects alone"
    resolved = resolve(intent, project.spec, config)
    labels = {
        LABEL_SESSION_UID: session.uid,
        LABEL_SESSION_NAME: session.name,
        LABEL_ATTEMPT: str(plan.attempt),
        "app.kubernetes.io/managed-by": "claude-operator",
    }
    selected = {name: labels[name] for name in (LABEL_SESSION_UID, LABEL_ATTEMPT)}
    # The API server adds these beside a selector of its own; people and tools look for them.
    named = {"batch.kubernetes.io/job-name": plan.name, "job-name": plan.name}
    deadline = intent.start_deadline_seconds + intent.timeout_seconds + config.job_grace_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": plan.name,
            "namespace": session.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": SESSION_KIND,
                    "name": session.name,
                    "uid": session.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": config.job_ttl_seconds,
            "manualSelector": True,
            "selector": {"matchLabels": selected},
            "template": {"metadata": {"labels": {**labels, **named}}, "spec": _pod_spec(resolved, config)},
        },
    }


def _pod_spec(resolved: Resolved, config: EngineConfig) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": SESSION_SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": config.pod_grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": SESSION_UID,
            "runAsGroup": SESSION_UID,
            "fsGroup": SESSION_UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(resolved, config)],
        "volumes": [
            {"name": "workspace", "emptyDir": {}},
            {"name": "home", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {
                "name": "gateway-token",
                "projected": {
                    "defaultMode": 0o440,
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "audience": GATEWAY_AUDIENCE,
                                "expirationSeconds": TOKEN_SECONDS,
                                "path": TOKEN_PATH.rpartition("/")[2],
                            }
                        }
                    ],
                },
            },
        ],
    }
    if resolved.node_selector:
        pod["nodeSelector"] = resolved.node_selector
    if resolved.tolerations:
        pod["tolerations"] = [toleration.to_api() for toleration in resolved.tolerations]
    if resolved.runtime_class_name:
        pod["runtimeClassName"] = resolved.runtime_class_name
    if resolved.priority_class_name:
        pod["priorityClassName"] = resolved.priority_class_name
    return pod


def _container(resolved: Resolved, config: EngineConfig) -> dict[str, Any]:
    return {
        "name": SESSION_CONTAINER,
        "image": resolved.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": ["claude-operator", "runner"],
        "workingDir": WORKSPACE_PATH,
        "env": [
            {"name": ENV_GATEWAY_URL, "value": config.gateway_url},
            {"name": ENV_GATEWAY_PROXY, "value": config.gateway_proxy},
            {"name": ENV_GATEWAY_CA, "value": config.gateway_ca},
            {"name": "HOME", "value": HOME_PATH},
            {"name": "TMPDIR", "value": "/tmp"},  # noqa: S108 - the pod's own emptyDir
        ],
        "resources": resolved.resources.to_api(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # A startup probe, not a readiness probe: once the agent runs nothing is probed any more.
        # The controller keeps the start deadline; the probe itself never gives up.
        "startupProbe": {
            "exec": {"command": ["/usr/bin/test", "-e", READY_PATH]},
            "periodSeconds": 1,
            "failureThreshold": 100_000,
        },
        "volumeMounts": [
            {"name": "workspace", "mountPath": WORKSPACE_PATH},
            {"name": "home", "mountPath": HOME_PATH},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
            {"name": "gateway-token", "mountPath": TOKEN_PATH.rpartition("/")[0], "readOnly": True},
        ],
        "terminationMessagePolicy": "File",
    }
