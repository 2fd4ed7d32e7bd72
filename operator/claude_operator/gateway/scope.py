"""What one session may do, from its spec and its project: repository, branch, model, caps. Pure.

The controller has checked the spec before it made the Job; the gateway checks again what it enforces,
because labels and owner references are all that it takes to make a pod look like a session's.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from yarl import URL

from claude_operator.engine.resolve import split_repository
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.model.usage import NANO_PER_USD
from claude_operator.resources.identity import default_publish_branch
from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.session import Limits

if TYPE_CHECKING:
    from claude_operator.resources.project import ProjectSpec, RepositoryHost
    from claude_operator.resources.session import SessionSpec


@dataclass(frozen=True, slots=True)
class Repository:
    """The one repository of a session."""

    host: str
    path: str
    """`owner/repo`."""
    entry: RepositoryHost

    @property
    def url(self) -> URL:
        """Base of its smart-HTTP endpoints, `.git` included."""
        base = (self.entry.url or f"https://{self.host}").rstrip("/")
        return URL(f"{base}/{self.path}.git", encoded=True)


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits over all attempts of a session; None: no limit."""

    cost_nanousd: int | None = None
    tokens: int | None = None
    turns: int | None = None


def repository_of(spec: SessionSpec, project: ProjectSpec) -> Repository:
    """The session's repository.

    Raises:
        Refusal: 409 InvalidSpec, the project does not allow it.
    """
    host, path = split_repository(spec.repository, project)
    entry = next((entry for entry in project.repository_hosts if entry.host == host), None)
    if entry is None:
        known = ", ".join(entry.host for entry in project.repository_hosts)
        raise Refusal(
            409, Reason.INVALID_SPEC, f"spec.repository: the project has no repository host {host} ({known})"
        )
    if entry.repositories and not any(fnmatchcase(path, glob) for glob in entry.repositories):
        raise Refusal(
            409, Reason.INVALID_SPEC, f"spec.repository: {path} matches none of the project's repositories"
        )
    return Repository(host, path, entry)


def publish_branch_of(name: str, uid: str, spec: SessionSpec, project: ProjectSpec) -> str:
    """The one branch that the session may push to.

    Raises:
        Refusal: 409 InvalidSpec, the project does not allow it.
    """
    branch = spec.publish.branch if spec.publish else None
    if branch is None:
        return default_publish_branch(name, uid)
    if branch == spec.branch:
        raise Refusal(409, Reason.INVALID_SPEC, f"spec.publish.branch: {branch} is the base branch")
    if not any(fnmatchcase(branch, glob) for glob in project.branch_patterns):
        patterns = ", ".join(project.branch_patterns) or "none"
        raise Refusal(
            409,
            Reason.INVALID_SPEC,
            f"spec.publish.branch: {branch} matches none of the project's branchPatterns ({patterns})",
        )
    return branch


def models_of(project: ProjectSpec) -> frozenset[str]:
    """The models that the project's sessions may call."""
    return frozenset({project.model.default, *project.model.allowed})


def model_of(spec: SessionSpec, project: ProjectSpec) -> str:
    """The session's model.

    Raises:
        Refusal: 409 InvalidSpec, the project does not allow it.
    """
    model = spec.model or project.model.default
    if model not in models_of(project):
        allowed = ", ".join(sorted(models_of(project)))
        raise Refusal(
            409, Reason.INVALID_SPEC, f"spec.model: {model} is not allowed by the project ({allowed})"
        )
    return model


def caps_of(spec: SessionSpec, project: ProjectSpec) -> Caps:
    """The session's caps: field by field its own, else the project's."""
    own = spec.limits or Limits()
    default = (project.defaults.limits if project.defaults else None) or Limits()
    cost = own.max_cost_usd or default.max_cost_usd
    return Caps(
        cost_nanousd=None if cost is None else round(cost * NANO_PER_USD),
        tokens=own.max_tokens or default.max_tokens,
        turns=own.max_turns or default.max_turns,
    )
