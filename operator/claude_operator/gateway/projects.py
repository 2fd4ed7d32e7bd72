"""Projects: the rules that hold now, and whether their credentials are usable.

The gateway alone may read Secrets, so it alone can say whether a project is ready. It watches projects;
each is checked when it changes, again every 5 s while it is not ready (somebody is about to create the
Secret) and every 60 s while it is. A watch on Secrets was rejected: it would need permission to list every
Secret of the namespace.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from yarl import URL

from claude_operator.gateway.clock import stamp
from claude_operator.gateway.cluster import ClusterUnavailableError
from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal, unavailable
from claude_operator.resources.condition import Condition, ConditionStatus, ConditionType
from claude_operator.resources.lifecycle import ProjectReason, Reason

if TYPE_CHECKING:
    from claude_operator.gateway.cluster import Cluster, Project
    from claude_operator.gateway.credentials import Credentials
    from claude_operator.resources.project import ProjectSpec, RepositoryHost

_UNREADY_SECONDS: Final = 5.0
_READY_SECONDS: Final = 60.0
_FAULT_SECONDS: Final = 2.0
_MOST_MESSAGE: Final = 4000

_log = logging.getLogger(__name__)
_Key = tuple[str, str]


class Projects:
    """The projects of every namespace that the gateway serves."""

    def __init__(self, cluster: Cluster, credentials: Credentials) -> None:
        self._cluster = cluster
        self._credentials = credentials
        self._known: dict[_Key, Project] = {}
        self._checks: dict[_Key, asyncio.Task[None]] = {}
        self.synced = asyncio.Event()
        """Set once every project that exists is known."""

    async def rules(self, namespace: str, name: str) -> ProjectSpec:
        """What holds for the sessions of a project now.

        Raises:
            Refusal: 409 ProjectNotReady, there is no such project or its spec can't be read.
        """
        project = self._known.get((namespace, name))
        if project is None:
            # Just created, or the watch is behind: the API server knows.
            try:
                project = await self._cluster.project(namespace, name)
            except ClusterUnavailableError as error:
                raise unavailable(f"ClaudeProject {name} can't be read now: {error}") from error
        if project is None:
            raise Refusal(409, Reason.PROJECT_NOT_READY, f"there is no ClaudeProject {name} in {namespace}")
        if project.spec is None:
            raise Refusal(409, Reason.PROJECT_NOT_READY, f"ClaudeProject {name}: {project.fault}")
        return project.spec

    def all(self) -> list[tuple[str, str, ProjectSpec]]:
        """Namespace, name and rules of every project that is known and readable."""
        return [(*key, one.spec) for key, one in self._known.items() if one.spec is not None]

    async def require_ready(self, namespace: str, name: str) -> ProjectSpec:
        """The rules of a project whose credentials are usable now.

        Raises:
            Refusal: 409 ProjectNotReady; the text says what is missing.
        """
        spec = await self.rules(namespace, name)
        reason, message = await self.verdict(namespace, spec)
        if reason is not ProjectReason.READY:
            raise Refusal(409, Reason.PROJECT_NOT_READY, f"ClaudeProject {name}: {message}")
        return spec

    async def verdict(
        self, namespace: str, spec: ProjectSpec, *, fresh: bool = False
    ) -> tuple[ProjectReason, str]:
        """Whether a project is ready, and why not."""
        faults: list[CredentialError] = []
        for check in (
            self._model(namespace, spec, fresh=fresh),
            *(self._host(namespace, entry, fresh=fresh) for entry in spec.repository_hosts),
            self._webhook(namespace, spec, fresh=fresh),
        ):
            try:
                await check
            except CredentialError as error:
                faults.append(error)
        if not faults:
            return ProjectReason.READY, "the credentials are usable"
        return faults[0].reason, "; ".join(str(fault) for fault in faults)[:_MOST_MESSAGE]

    async def _model(self, namespace: str, spec: ProjectSpec, *, fresh: bool) -> None:
        name = spec.model.credentials_secret
        credential = await self._credentials.get(namespace, name, fresh=fresh)
        credential.require(URL(spec.model.upstream_url))
        if not credential.api_key and not credential.auth_token:
            raise CredentialError(
                ProjectReason.SECRET_INVALID, f"Secret {name} has neither the key `apiKey` nor `authToken`"
            )

    async def _host(self, namespace: str, entry: RepositoryHost, *, fresh: bool) -> None:
        base = URL(entry.url or f"https://{entry.host}")
        name = entry.credentials_secret
        if name is None:
            if base.scheme == "http":
                raise CredentialError(
                    ProjectReason.INVALID_SPEC,
                    f"repositoryHosts[{entry.host}].url is plain http: a Secret must list it as "
                    f"http://{base.host}:{base.port}; name it in credentialsSecret",
                )
            return
        credential = await self._credentials.get(namespace, name, fresh=fresh)
        credential.require(base)
        if entry.api_url is not None:
            credential.require(URL(entry.api_url))

    async def _webhook(self, namespace: str, spec: ProjectSpec, *, fresh: bool) -> None:
        triggers = spec.triggers.github if spec.triggers else None
        if triggers is None:
            return
        if triggers.webhook_secret is None:
            raise CredentialError(
                ProjectReason.INVALID_SPEC,
                "triggers.github has no webhookSecret: without it no event of GitHub can be verified",
            )
        credential = await self._credentials.get(namespace, triggers.webhook_secret, fresh=fresh)
        if not credential.webhook_secrets:
            raise CredentialError(
                ProjectReason.SECRET_INVALID,
                f"Secret {triggers.webhook_secret} has no key `webhookSecret`",
            )

    async def run(self) -> None:
        """Watch and check, without end."""
        try:
            async for change in self._cluster.project_changes():
                if change is None:
                    self.synced.set()
                    continue
                key = (change.namespace, change.name)
                before = self._known.get(key)
                if change.project is None:
                    self._known.pop(key, None)
                    self._stop(key)
                    continue
                self._known[key] = change.project
                # Our own status write comes back as a change; it is not a reason to check again.
                if before is None or before.generation != change.project.generation:
                    self._stop(key)
                    self._checks[key] = asyncio.create_task(self._keep_checked(key))
        finally:
            for key in list(self._checks):
                self._stop(key)

    def _stop(self, key: _Key) -> None:
        task = self._checks.pop(key, None)
        if task is not None:
            task.cancel()

    async def _keep_checked(self, key: _Key) -> None:
        while (project := self._known.get(key)) is not None:
            try:
                pause = await self._check(project)
            except (ClusterUnavailableError, Refusal) as error:
                _log.warning("ClaudeProject %s/%s can't be checked now: %s", *key, error)
                pause = _FAULT_SECONDS
            await asyncio.sleep(pause)

    async def _check(self, project: Project) -> float:
        if project.spec is None:
            reason, message = ProjectReason.INVALID_SPEC, project.fault[:_MOST_MESSAGE]
        else:
            reason, message = await self.verdict(project.namespace, project.spec, fresh=True)
        condition = ready_condition(project, reason, message)
        standing = project.status.conditions
        if condition not in standing or project.status.observed_generation != project.generation:
            others = [other for other in standing if other.type != ConditionType.READY]
            await self._cluster.set_project_conditions(
                project, [*others, condition], observed_generation=project.generation
            )
        return _READY_SECONDS if reason is ProjectReason.READY else _UNREADY_SECONDS


def ready_condition(project: Project, reason: ProjectReason, message: str) -> Condition:
    """The Ready condition; its transition time changes only when its status does."""
    status = ConditionStatus.TRUE if reason is ProjectReason.READY else ConditionStatus.FALSE
    before = next((one for one in project.status.conditions if one.type == ConditionType.READY), None)
    since = before.last_transition_time if before and before.status == status else f"{stamp()[:19]}Z"
    return Condition(
        type=ConditionType.READY,
        status=status,
        observed_generation=project.generation,
        last_transition_time=since,
        reason=reason.value,
        message=message,
    )
