"""What a session gets: its own choices, its project's defaults, the installation's; and what it may not have.

Rules that need only the session are CEL rules of the CRD. Here stand those that need the project too; a
choice outside the project's lists is an invalid spec, said at once and by field.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from claude_operator.resources import choices
from claude_operator.resources.pod import PodSpec, Resources, Toleration
from claude_operator.resources.project import PodChoices, ProjectSpec

if TYPE_CHECKING:
    from claude_operator.engine.config import EngineConfig
    from claude_operator.engine.observation import Intent
    from claude_operator.resources.session import Limits

DEFAULT_RESOURCES = Resources(
    requests={"cpu": "100m", "memory": "512Mi"},
    limits={"memory": "2Gi"},
)
"""The CLI alone peaks at 205 to 310 MiB; the rest is for the work's own builds."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Everything that session, project and installation decide together."""

    model: str
    image: str
    limits: Limits | None
    resources: Resources
    node_selector: dict[str, str]
    tolerations: tuple[Toleration, ...]
    runtime_class_name: str | None
    priority_class_name: str | None


def resolve(intent: Intent, project: ProjectSpec, config: EngineConfig) -> Resolved:
    """Merge the three; call `problems` first: a choice that is not allowed is not caught here."""
    own = intent.pod or PodSpec()
    defaults = (project.defaults.pod if project.defaults else None) or PodSpec()
    return Resolved(
        model=intent.model or project.model.default,
        image=own.image or defaults.image or config.session_image,
        limits=choices.limits_of(intent.limits, project),
        resources=own.resources or defaults.resources or DEFAULT_RESOURCES,
        node_selector={**own.node_selector, **defaults.node_selector},
        tolerations=(*defaults.tolerations, *own.tolerations),
        # The project's runtime class is a floor: a session cannot leave the sandbox it is put into.
        runtime_class_name=defaults.runtime_class_name or own.runtime_class_name,
        priority_class_name=own.priority_class_name or defaults.priority_class_name,
    )


def problems(intent: Intent, project: ProjectSpec, *, notify_url: str | None = None) -> list[str]:
    """Every choice that the project does not allow, each naming field, value and remedy."""
    found = []
    for check in (
        lambda: choices.repository_of(intent.repository, project),
        lambda: choices.model_of(intent.model, project),
        lambda: choices.require_branch(intent.publish_branch, project),
        lambda: choices.require_notify_host(notify_url, project),
    ):
        try:
            check()
        except choices.NotAllowedError as error:
            found.append(str(error))
    found.extend(_pod_problems(intent.pod or PodSpec(), project.pod or PodChoices(), project))
    return found


def _pod_problems(own: PodSpec, choices: PodChoices, project: ProjectSpec) -> list[str]:
    defaults = (project.defaults.pod if project.defaults else None) or PodSpec()
    found = []
    if own.image and not any(fnmatchcase(own.image, glob) for glob in choices.images):
        found.append(f"spec.pod.image: {own.image!r} matches none of the project's pod.images")
    if own.runtime_class_name and own.runtime_class_name not in choices.runtime_class_names:
        found.append(f"spec.pod.runtimeClassName: {own.runtime_class_name!r} is not in the project's list")
    if defaults.runtime_class_name and own.runtime_class_name not in (None, defaults.runtime_class_name):
        found.append(f"spec.pod.runtimeClassName: the project requires {defaults.runtime_class_name!r}")
    if own.priority_class_name and own.priority_class_name not in choices.priority_class_names:
        found.append(f"spec.pod.priorityClassName: {own.priority_class_name!r} is not in the project's list")
    found.extend(
        f"spec.pod.nodeSelector: key {key!r} is not in the project's pod.nodeSelectorKeys"
        for key in own.node_selector
        if key not in choices.node_selector_keys
    )
    found.extend(
        f"spec.pod.tolerations: key {toleration.key!r} is not in the project's pod.tolerationKeys"
        for toleration in own.tolerations
        if toleration.key not in choices.toleration_keys
    )
    if own.resources is not None:
        found.extend(_resource_problems(own.resources, choices))
    return found


def _resource_problems(resources: Resources, choices: PodChoices) -> list[str]:
    found = []
    for name, most in (("cpu", choices.max_cpu), ("memory", choices.max_memory)):
        for kind, amounts in (("requests", resources.requests), ("limits", resources.limits)):
            amount = amounts.get(name)
            if amount is None or most is None:
                continue
            if quantity(amount) > quantity(most):
                found.append(f"spec.pod.resources.{kind}.{name}: {amount} is over the project's {most}")
    return found


_SUFFIXES = {
    "m": 0.001,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def quantity(text: str) -> float:
    """A resource quantity as a number of bytes or cores; ValueError when it is none."""
    digits = text.rstrip("mkMGTi")
    return float(digits) * _SUFFIXES.get(text[len(digits) :], 1.0)
