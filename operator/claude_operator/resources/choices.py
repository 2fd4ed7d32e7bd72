"""What a session may choose of what its project offers, and what holds when it does not choose.

Rules that need only the session are CEL rules of the CRD; these need the project too. The controller asks
before it makes a Job, and the gateway asks again before it lets a pod act: labels and owner references are
all that it takes to make a pod look like a session's. Both must come to the same answer, so it is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from claude_operator.resources.session import Limits

if TYPE_CHECKING:
    from claude_operator.resources.project import ProjectSpec, RepositoryHost


class NotAllowedError(ValueError):
    """The project does not allow a choice; the message names field, value and remedy."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a session's repository is."""

    host: str
    path: str
    """`owner/repo`."""
    entry: RepositoryHost
    """The project's entry for the host."""


def repository_of(repository: str, project: ProjectSpec) -> Repository:
    """The repository; without a host the project's first one is meant.

    Raises:
        NotAllowedError: the project does not list the host, or not this repository on it.
    """
    host, _, path = repository.partition("/")
    if "/" not in path:
        host, path = project.repository_hosts[0].host, repository
    entry = next((each for each in project.repository_hosts if each.host == host), None)
    if entry is None:
        known = ", ".join(each.host for each in project.repository_hosts)
        raise NotAllowedError(
            f"spec.repository: host {host!r} is not one of the project's repositoryHosts ({known})"
        )
    if entry.repositories and not _matches(path, entry.repositories):
        raise NotAllowedError(
            f"spec.repository: {path!r} matches none of the project's repositories on {host}"
        )
    return Repository(host, path, entry)


def models_of(project: ProjectSpec) -> frozenset[str]:
    """The models that the project's sessions may call."""
    return frozenset({project.model.default, *project.model.allowed})


def model_of(model: str | None, project: ProjectSpec) -> str:
    """The session's model, or the project's.

    Raises:
        NotAllowedError: the project does not allow it.
    """
    allowed = models_of(project)
    if model is not None and model not in allowed:
        raise NotAllowedError(
            f"spec.model: {model!r} is not allowed by the project (allowed: {', '.join(sorted(allowed))})"
        )
    return model or project.model.default


def require_branch(branch: str | None, project: ProjectSpec) -> None:
    """The branch to publish to; None, the default one, is always allowed.

    Raises:
        NotAllowedError: it matches none of the project's patterns.
    """
    if branch is None or _matches(branch, project.branch_patterns):
        return
    patterns = ", ".join(project.branch_patterns) or "none: leave it out for claude/<name>-<uid>"
    raise NotAllowedError(
        f"spec.publish.branch: {branch!r} matches none of the project's branchPatterns ({patterns})"
    )


def require_notify_host(url: str | None, project: ProjectSpec) -> None:
    """Where the session's end is told; None, nowhere, is always allowed.

    Raises:
        NotAllowedError: the project names its hosts, and this is none of them.
    """
    if url is None or not project.notify_hosts:
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise NotAllowedError(f"spec.notify.url: it is not a URL: {error}") from error
    usual = port in (None, 443 if parts.scheme == "https" else 80)
    if (host in project.notify_hosts and usual) or f"{host}:{port}" in project.notify_hosts:
        return
    known = ", ".join(project.notify_hosts)
    shown = host if usual else f"{host}:{port}"
    raise NotAllowedError(f"spec.notify.url: {shown!r} is not one of the project's notifyHosts ({known})")


def limits_of(own: Limits | None, project: ProjectSpec) -> Limits | None:
    """The caps, field by field the session's own, else the project's."""
    default = project.defaults.limits if project.defaults else None
    if own is None or default is None:
        return own or default
    return Limits(
        max_turns=own.max_turns or default.max_turns,
        max_cost_usd=own.max_cost_usd or default.max_cost_usd,
        max_tokens=own.max_tokens or default.max_tokens,
    )


def _matches(text: str, globs: list[str]) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)
