"""A cluster of dictionaries behind the gateway's own protocol, with tokens signed as an API server does.

What the real one does is tested beside it, on a real control plane (`test_control_plane`); here every state
of pods, Jobs, sessions and Secrets can be had at once.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

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
from claude_operator.resources.identity import (
    CREDENTIAL_SECRET_TYPE,
    GATEWAY_AUDIENCE,
    GATEWAY_INTERNAL_AUDIENCE,
    LABEL_ATTEMPT,
    LABEL_SESSION_UID,
    SESSION_SERVICE_ACCOUNT,
)
from claude_operator.resources.project import ProjectSpec, ProjectStatus
from claude_operator.resources.session import SessionSpec
from claude_operator.resources.session_status import SessionStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from claude_operator.resources.condition import Condition

ISSUER = "https://kubernetes.default.svc"
CONTROLLER = "system:serviceaccount:claude-operator:claude-controller"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Pod:
    """A session's pod as its test sees it."""

    namespace: str
    name: str
    uid: str

    def token(self, **changes: Any) -> str:
        """Its projected token; `changes` replace claims."""
        return sign(
            {
                "aud": [GATEWAY_AUDIENCE],
                "sub": f"system:serviceaccount:{self.namespace}:{SESSION_SERVICE_ACCOUNT}",
                "kubernetes.io": {
                    "namespace": self.namespace,
                    "pod": {"name": self.name, "uid": self.uid},
                    "serviceaccount": {"name": SESSION_SERVICE_ACCOUNT, "uid": "sa"},
                },
                **changes,
            }
        )


def sign(claims: Mapping[str, Any], *, key: rsa.RSAPrivateKey = _KEY, kid: str = "key-1") -> str:
    """A token with these claims and sensible others."""
    now = int(time.time())
    full = {"iss": ISSUER, "iat": now, "nbf": now, "exp": now + 600, **claims}
    return jwt.encode(full, key, algorithm="RS256", headers={"kid": kid})


def internal_token(subject: str = CONTROLLER, **changes: Any) -> str:
    """The controller's token, or another's."""
    namespace, name = subject.split(":")[-2:]
    return sign(
        {
            "aud": [GATEWAY_INTERNAL_AUDIENCE],
            "sub": subject,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "sa"}},
            **changes,
        }
    )


@dataclass
class FakeCluster:
    """Objects by (namespace, name)."""

    pods: dict[tuple[str, str], Owned] = field(default_factory=dict)
    jobs: dict[tuple[str, str], Owned] = field(default_factory=dict)
    sessions: dict[tuple[str, str], Session] = field(default_factory=dict)
    projects: dict[tuple[str, str], Project] = field(default_factory=dict)
    secrets: dict[tuple[str, str], Secret] = field(default_factory=dict)
    config_maps: dict[str, dict[str, str]] = field(default_factory=dict)
    key_reads: int = 0
    down: bool = False
    forbidden: set[str] = field(default_factory=set)
    _changes: list[asyncio.Queue[ProjectChange]] = field(default_factory=list)

    def add_secret(
        self, name: str, *, namespace: str = "team", kind: str = CREDENTIAL_SECRET_TYPE, **data: str
    ) -> None:
        """A Secret, by default a usable one."""
        self.secrets[namespace, name] = Secret(kind, {key: value.encode() for key, value in data.items()})

    def put_project(self, spec: dict[str, Any], *, name: str = "default", namespace: str = "team") -> Project:
        """Create or change a project."""
        before = self.projects.get((namespace, name))
        project = Project(
            namespace=namespace,
            name=name,
            uid=f"project-{name}",
            generation=before.generation + 1 if before else 1,
            resource_version=str(uuid.uuid4()),
            spec=ProjectSpec.model_validate(spec),
            status=before.status if before else ProjectStatus(),
        )
        self.projects[namespace, name] = project
        self._tell(ProjectChange(namespace, name, project))
        return project

    def add_session(
        self, name: str = "fix", *, namespace: str = "team", uid: str | None = None, **spec: Any
    ) -> Session:
        """A ClaudeSession."""
        session = Session(
            namespace=namespace,
            name=name,
            uid=uid or str(uuid.uuid4()),
            deleting=False,
            spec=SessionSpec.model_validate(
                {"repository": "acme/greetings", "requirements": "Say hello.", **spec}
            ),
            status=SessionStatus(),
        )
        self.sessions[namespace, name] = session
        return session

    def add_pod(self, session: Session, *, attempt: int = 1, suffix: str = "") -> Pod:
        """The Job of an attempt, unless it is there, and a pod of it."""
        namespace, job = session.namespace, f"{session.name}-{attempt}"
        labels = {LABEL_SESSION_UID: session.uid, LABEL_ATTEMPT: str(attempt)}
        self.jobs.setdefault(
            (namespace, job),
            Owned(
                namespace=namespace,
                name=job,
                uid=str(uuid.uuid4()),
                deleting=False,
                labels=labels,
                owner=Owner("ClaudeSession", session.name, session.uid),
            ),
        )
        pod = Owned(
            namespace=namespace,
            name=f"{job}-pod{suffix}",
            uid=str(uuid.uuid4()),
            deleting=False,
            labels=labels,
            owner=Owner("Job", job, self.jobs[namespace, job].uid),
        )
        self.pods[namespace, pod.name] = pod
        return Pod(namespace, pod.name, pod.uid)

    def change_session(self, session: Session, **changes: Any) -> None:
        """Replace fields of a session's spec."""
        spec = session.spec.model_copy(update=changes)
        self.sessions[session.namespace, session.name] = replace(session, spec=spec)

    async def pod(self, namespace: str, name: str) -> Owned | None:
        self._require_up()
        return self.pods.get((namespace, name))

    async def job(self, namespace: str, name: str) -> Owned | None:
        self._require_up()
        return self.jobs.get((namespace, name))

    async def session(self, namespace: str, name: str) -> Session | None:
        self._require_up()
        return self.sessions.get((namespace, name))

    async def project(self, namespace: str, name: str) -> Project | None:
        self._require_up()
        return self.projects.get((namespace, name))

    async def project_changes(self) -> AsyncIterator[ProjectChange | None]:
        queue: asyncio.Queue[ProjectChange] = asyncio.Queue()
        self._changes.append(queue)
        for (namespace, name), project in list(self.projects.items()):
            yield ProjectChange(namespace, name, project)
        yield None
        while True:
            yield await queue.get()

    async def set_project_conditions(
        self, project: Project, conditions: list[Condition], *, observed_generation: int
    ) -> None:
        self._require_up()
        key = (project.namespace, project.name)
        standing = self.projects.get(key)
        if standing is None or standing.resource_version != project.resource_version:
            return
        status = ProjectStatus(observed_generation=observed_generation, conditions=conditions)
        self.projects[key] = replace(standing, status=status, resource_version=str(uuid.uuid4()))
        self._tell(ProjectChange(*key, self.projects[key]))

    async def secret(self, namespace: str, name: str) -> Secret | None:
        self._require_up()
        if name in self.forbidden:
            raise ForbiddenError(f"secrets {name!r} is forbidden")
        return self.secrets.get((namespace, name))

    async def ensure_secret(self, name: str, data: Mapping[str, bytes]) -> Mapping[str, bytes]:
        await asyncio.sleep(0)  # two that start at once must meet here
        return self.secrets.setdefault(("claude-operator", name), Secret("Opaque", dict(data))).data

    async def publish_config(self, name: str, data: Mapping[str, str]) -> None:
        self.config_maps[name] = dict(data)

    async def signing_keys(self) -> bytes:
        self._require_up()
        self.key_reads += 1
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_KEY.public_key()))
        return json.dumps({"keys": [{**key, "kid": "key-1", "alg": "RS256", "use": "sig"}]}).encode()

    async def issuer(self) -> str:
        return ISSUER

    def _require_up(self) -> None:
        if self.down:
            raise ClusterUnavailableError("connection refused")

    def _tell(self, change: ProjectChange) -> None:
        for queue in self._changes:
            queue.put_nowait(change)
