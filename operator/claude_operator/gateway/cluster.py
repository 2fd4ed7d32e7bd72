"""What the gateway needs of the Kubernetes API, and nothing more.

A protocol of its own: everything above it is tested without an API server, and the list of calls is the
list of permissions that the gateway's Role must grant. `kube_cluster` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from claude_operator.resources.condition import Condition
    from claude_operator.resources.project import ProjectSpec, ProjectStatus
    from claude_operator.resources.session import SessionSpec
    from claude_operator.resources.session_status import SessionStatus


class ClusterUnavailableError(Exception):
    """The API server can't be asked now; trying again helps."""


class ForbiddenError(Exception):
    """The gateway's Role does not allow this; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller reference of an object."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Owned:
    """What the claim looks at in a Pod or a Job."""

    namespace: str
    name: str
    uid: str
    deleting: bool
    labels: Mapping[str, str]
    owner: Owner | None


@dataclass(frozen=True, slots=True)
class Session:
    """A ClaudeSession."""

    namespace: str
    name: str
    uid: str
    deleting: bool
    spec: SessionSpec
    status: SessionStatus
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """A ClaudeProject. `fault` is set, and `spec` is not, when its spec is not readable."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: ProjectSpec | None
    status: ProjectStatus
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret's type and decoded data."""

    type: str
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """A project that was added or changed, or (with `project` None) is gone."""

    namespace: str
    name: str
    project: Project | None


class Cluster(Protocol):
    """Every method may raise ClusterUnavailableError; None means: there is no such object."""

    async def pod(self, namespace: str, name: str) -> Owned | None:
        """A pod."""

    async def job(self, namespace: str, name: str) -> Owned | None:
        """A Job."""

    async def session(self, namespace: str, name: str) -> Session | None:
        """A ClaudeSession."""

    async def project(self, namespace: str, name: str) -> Project | None:
        """A ClaudeProject."""

    def project_changes(self) -> AsyncIterator[ProjectChange | None]:
        """All projects, then each change, without end.

        None marks the end of the first list. Faults are retried inside.
        """

    async def set_project_conditions(
        self, project: Project, conditions: list[Condition], *, observed_generation: int
    ) -> None:
        """Write the project's status; a project that changed or went meanwhile is left alone."""

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret.

        Raises:
            ForbiddenError: the gateway has no Role for it.
        """

    async def ensure_secret(self, name: str, data: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Create a Secret in the gateway's namespace, unless it is there; the data that stands."""

    async def publish_config(self, name: str, data: Mapping[str, str]) -> None:
        """Create or overwrite a ConfigMap in the gateway's namespace."""

    async def signing_keys(self) -> bytes:
        """The JSON Web Key Set of the service accounts (/openid/v1/jwks)."""

    async def issuer(self) -> str:
        """The issuer of service-account tokens (/.well-known/openid-configuration)."""
