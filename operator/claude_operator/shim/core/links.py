"""Where a session's repository can be looked at in a browser: its host's base URL, from the ClaudeProject."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pydantic import ValidationError

from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import PROJECTS
from claude_operator.resources.project import ProjectSpec

if TYPE_CHECKING:
    from claude_operator.kube.client import KubeClient
    from claude_operator.shim.core.view import SessionView

_FRESH_SECONDS: Final = 60.0
_MOST: Final = 1000
"""Projects that are remembered."""


class Links:
    """Reads a project once a minute at the most."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str], tuple[float, ProjectSpec | None]] = {}

    async def repository(self, view: SessionView) -> str | None:
        """`https://host/owner/repo`; None where the project is not to be read: no link is invented."""
        project = await self._project(view.namespace, view.project)
        if project is None:
            return None
        *named, owner, repository = view.repository.split("/")
        host = "/".join(named)
        entry = next((one for one in project.repository_hosts if not host or one.host == host), None)
        if entry is None:
            return None
        return f"{(entry.url or f'https://{entry.host}').rstrip('/')}/{quote(f'{owner}/{repository}')}"

    async def _project(self, namespace: str, name: str) -> ProjectSpec | None:
        read_at, project = self._known.get((namespace, name), (float("-inf"), None))
        if time.monotonic() - read_at < _FRESH_SECONDS:
            return project
        try:
            obj = await self._client.get(PROJECTS, name, namespace=namespace)
            project = ProjectSpec.model_validate(obj.get("spec") or {})
        except (ApiError, ValidationError):
            project = None  # links are an extra: their absence must not fail the answer
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[namespace, name] = (time.monotonic(), project)
        return project
