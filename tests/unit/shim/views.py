"""Sessions for tests of the directory."""

from __future__ import annotations

from typing import Any

from claude_operator.shim.core.view import SessionView, session_view

Json = dict[str, Any]


def obj(
    name: str, *, version: int = 1, uid: str = "", created: str = "2026-01-01T00:00:00Z", **more: Any
) -> Json:
    """A ClaudeSession; `labels`, `spec` and `status` add to what is there."""
    return {
        "metadata": {
            "namespace": more.get("namespace", "ns"),
            "name": name,
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": str(version),
            "creationTimestamp": created,
            "labels": more.get("labels", {}),
            "annotations": more.get("annotations", {}),
        },
        "spec": {
            "type": "review",
            "repository": "acme/webapp",
            "requirements": "Go.",
            **more.get("spec", {}),
        },
        "status": {"phase": "Pending", **more.get("status", {})},
    }


def view(name: str, **more: Any) -> SessionView:
    return session_view(obj(name, **more))
