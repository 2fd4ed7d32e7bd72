"""API objects as a real API server would serve them, small enough to read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from claude_operator.engine.config import EngineConfig
from claude_operator.engine.observation import Observed, Project, Session
from claude_operator.engine.views import format_time, project_view, session_view

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
UID = "6f1c2c1e-0d0a-4a39-9a37-0d9a2b1f5c11"
CONFIG = EngineConfig(
    session_image="claude-session:test",
    gateway_url="https://gateway:8443",
    gateway_proxy="gateway:8445",
    gateway_ca="-----BEGIN CERTIFICATE-----\n",
)


def session_object(
    *, status: dict[str, Any] | None = None, name: str = "first", **spec: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": UID,
            "generation": 1,
            "resourceVersion": "10",
            "creationTimestamp": format_time(NOW),
        },
        "spec": {"repository": "demo/greeter", "requirements": "Say hello.", **spec},
        "status": status or {},
    }


def session(*, status: dict[str, Any] | None = None, **spec: Any) -> Session:
    return session_view(session_object(status=status, **spec))


def project_object(*, ready: bool = True, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": "default", "uid": "p", "generation": 3},
        "spec": {"repositoryHosts": [{"host": "github.com"}], **spec},
        "status": {
            "observedGeneration": 3,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "reason": "Ready" if ready else "SecretNotFound",
                    "message": "" if ready else "Secret default/anthropic does not exist",
                    "lastTransitionTime": format_time(NOW),
                }
            ],
        },
    }


def project(*, ready: bool = True, **spec: Any) -> Project:
    return project_view(project_object(ready=ready, **spec))


def observed(**changes: Any) -> Observed:
    return Observed(**{"session": session(), "project": project(), **changes})
