"""What one session may do, from its spec and its project: repository, branch, model, caps. Pure.

The controller has checked the spec before it made the Job; the gateway checks again what it enforces,
because labels and owner references are all that it takes to make a pod look like a session's.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.model.usage import NANO_PER_USD
from claude_operator.resources import choices
from claude_operator.resources.identity import default_publish_branch
from claude_operator.resources.lifecycle import Reason
from claude_operator.resources.session import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_operator.resources.choices import Repository
    from claude_operator.resources.project import ProjectSpec
    from claude_operator.resources.session import SessionSpec


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
    with _refusing():
        return choices.repository_of(spec.repository, project)


def web_url(repository: Repository) -> str:
    """As people know it; with `.git` behind it the base of its smart-HTTP endpoints."""
    base = (repository.entry.url or f"https://{repository.host}").rstrip("/")
    return f"{base}/{repository.path}"


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
    with _refusing():
        choices.require_branch(branch, project)
    return branch


def model_of(spec: SessionSpec, project: ProjectSpec) -> str:
    """The session's model.

    Raises:
        Refusal: 409 InvalidSpec, the project does not allow it.
    """
    with _refusing():
        return choices.model_of(spec.model, project)


def caps_of(spec: SessionSpec, project: ProjectSpec) -> Caps:
    """The session's caps: field by field its own, else the project's."""
    limits = choices.limits_of(spec.limits, project) or Limits()
    cost = limits.max_cost_usd
    return Caps(
        cost_nanousd=None if cost is None else round(cost * NANO_PER_USD),
        tokens=limits.max_tokens,
        turns=limits.max_turns,
    )


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except choices.NotAllowedError as error:
        raise Refusal(409, Reason.INVALID_SPEC, str(error)) from error
