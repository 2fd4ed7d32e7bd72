"""The gateway's needs of the Kubernetes API, carried out by `kube`."""

from __future__ import annotations

import asyncio
import base64
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError

from claude_operator.gateway.cluster import (
    ClusterUnavailableError,
    ForbiddenError,
    Owned,
    Owner,
    Project,
    ProjectChange,
    Secret,
    Session,
)
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import CONFIG_MAPS, JOBS, PODS, PROJECTS, SECRETS, SESSIONS
from claude_operator.kube.listwatch import Change, ListWatch
from claude_operator.kube.request import Selection
from claude_operator.resources.project import ProjectSpec, ProjectStatus
from claude_operator.resources.session import SessionSpec
from claude_operator.resources.session_status import SessionStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from claude_operator.kube.client import KubeClient
    from claude_operator.kube.kinds import Kind
    from claude_operator.resources.condition import Condition

_FORBIDDEN: Final = 403
_RETRY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KubeCluster:
    """`Cluster` on a KubeClient."""

    client: KubeClient
    namespace: str
    """The gateway's own."""

    async def pod(self, namespace: str, name: str) -> Owned | None:
        """A pod."""
        found = await self._get(PODS, name, namespace)
        return None if found is None else _owned(found)

    async def job(self, namespace: str, name: str) -> Owned | None:
        """A Job."""
        found = await self._get(JOBS, name, namespace)
        return None if found is None else _owned(found)

    async def session(self, namespace: str, name: str) -> Session | None:
        """A ClaudeSession; one whose spec can't be read is as good as none."""
        found = await self._get(SESSIONS, name, namespace)
        if found is None:
            return None
        meta = found["metadata"]
        try:
            spec = SessionSpec.model_validate(found.get("spec") or {})
            status = SessionStatus.model_validate(found.get("status") or {})
        except ValidationError as error:
            _log.warning("ClaudeSession %s/%s can't be read: %s", namespace, name, error)
            return None
        return Session(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            deleting="deletionTimestamp" in meta,
            spec=spec,
            status=status,
            labels=meta.get("labels") or {},
            annotations=meta.get("annotations") or {},
        )

    async def project(self, namespace: str, name: str) -> Project | None:
        """A ClaudeProject."""
        found = await self._get(PROJECTS, name, namespace)
        return None if found is None else _project(found)

    async def project_changes(self) -> AsyncIterator[ProjectChange | None]:
        """All projects, then each change, without end."""
        while True:
            watch = ListWatch(self.client, Selection(PROJECTS))
            try:
                async for change in _until_synced(watch):
                    yield change
            except ApiError as error:
                # Refused for good (no Role yet, no CRD yet): an administrator may be about to mend it.
                _log.error("ClaudeProjects can't be watched: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def set_project_conditions(
        self, project: Project, conditions: list[Condition], *, observed_generation: int
    ) -> None:
        """Write the project's status; a project that changed or went meanwhile is left alone."""
        patch = {
            "metadata": {"resourceVersion": project.resource_version},
            "status": {
                "observedGeneration": observed_generation,
                "conditions": [condition.to_api() for condition in conditions],
            },
        }
        try:
            await self.client.patch(
                PROJECTS, project.name, patch, namespace=project.namespace, subresource="status"
            )
        except ApiError as error:
            # Its change is on its way to us and is checked then.
            if not (error.conflict or error.not_found):
                raise ClusterUnavailableError(str(error)) from error

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret."""
        found = await self._get(SECRETS, name, namespace)
        return None if found is None else Secret(found.get("type", ""), _decoded(found))

    async def ensure_secret(self, name: str, data: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Create a Secret in the gateway's namespace, unless it is there; the data that stands."""
        standing = await self._get(SECRETS, name, self.namespace)
        if standing is not None:
            return _decoded(standing)
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace},
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        try:
            return _decoded(await self.client.create(SECRETS, body, namespace=self.namespace))
        except ApiError as error:
            if not error.already_exists:
                raise _translated(error) from error
        # Another replica was quicker: its CA is the one.
        standing = await self._get(SECRETS, name, self.namespace)
        if standing is None:
            raise ClusterUnavailableError(f"Secret {name} was created and deleted at once")
        return _decoded(standing)

    async def publish_config(self, name: str, data: Mapping[str, str]) -> None:
        """Create or overwrite a ConfigMap in the gateway's namespace."""
        standing = await self._get(CONFIG_MAPS, name, self.namespace)
        if standing is not None and standing.get("data") == dict(data):
            return
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": dict(data),
        }
        try:
            if standing is None:
                try:
                    await self.client.create(CONFIG_MAPS, body, namespace=self.namespace)
                except ApiError as error:
                    if not error.already_exists:
                        raise
                else:
                    return
            await self.client.patch(CONFIG_MAPS, name, {"data": dict(data)}, namespace=self.namespace)
        except ApiError as error:
            raise _translated(error) from error

    async def signing_keys(self) -> bytes:
        """The JSON Web Key Set of the service accounts."""
        return await self._raw("/openid/v1/jwks")

    async def issuer(self) -> str:
        """The issuer of service-account tokens."""
        return str(orjson.loads(await self._raw("/.well-known/openid-configuration"))["issuer"])

    async def _get(self, kind: Kind, name: str, namespace: str) -> dict[str, Any] | None:
        try:
            return await self.client.get(kind, name, namespace=namespace)
        except ApiError as error:
            if error.not_found:
                return None
            raise _translated(error) from error

    async def _raw(self, path: str) -> bytes:
        try:
            return await self.client.get_raw(path)
        except ApiError as error:
            raise _translated(error) from error


async def _until_synced(watch: ListWatch) -> AsyncIterator[ProjectChange | None]:
    """The watch's events, with a None where the first list ends, also when it was empty."""
    queue: asyncio.Queue[ProjectChange | ApiError | None] = asyncio.Queue(1)

    async def read() -> None:
        try:
            async with aclosing(watch.events()) as events:
                async for event in events:
                    await queue.put(_change(event.change, event.object))
        except ApiError as error:
            await queue.put(error)

    async def tell() -> None:
        await watch.synced.wait()
        await queue.put(None)

    tasks = [asyncio.create_task(read()), asyncio.create_task(tell())]
    try:
        while True:
            item = await queue.get()
            if isinstance(item, ApiError):
                raise item
            yield item
    finally:
        for task in tasks:
            task.cancel()


def _change(change: Change, item: dict[str, Any]) -> ProjectChange:
    meta = item["metadata"]
    project = None if change is Change.DELETED else _project(item)
    return ProjectChange(meta["namespace"], meta["name"], project)


def _project(item: dict[str, Any]) -> Project:
    meta = item["metadata"]
    spec, fault = None, ""
    try:
        spec = ProjectSpec.model_validate(item.get("spec") or {})
    except ValidationError as error:
        fault = "; ".join(
            f"spec.{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        )
    try:
        status = ProjectStatus.model_validate(item.get("status") or {})
    except ValidationError:
        status = ProjectStatus()  # a newer version's: it is written anew
    return Project(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        spec=spec,
        status=status,
        fault=fault,
    )


def _owned(item: dict[str, Any]) -> Owned:
    meta = item["metadata"]
    controller = next((one for one in meta.get("ownerReferences") or [] if one.get("controller")), None)
    return Owned(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        deleting="deletionTimestamp" in meta,
        labels=meta.get("labels") or {},
        owner=Owner(controller["kind"], controller["name"], controller["uid"]) if controller else None,
    )


def _decoded(item: dict[str, Any]) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (item.get("data") or {}).items()}


def _translated(error: ApiError) -> Exception:
    if error.status == _FORBIDDEN:
        return ForbiddenError(error.message)
    return ClusterUnavailableError(str(error))
