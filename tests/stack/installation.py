"""Installing the operator the way the README says, with the images that were built here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from claude_operator.resources.identity import PROJECT_KIND
from tests.cluster.places import REPOSITORY
from tests.cluster.progress import step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.cluster.kubectl import Kubectl


SYSTEM_NAMESPACE = "claude-operator"
OPERATOR_IMAGE = "claude-operator:0.1.0"
SESSION_IMAGE = "claude-session:0.1.0"
"""The names in `manifests/install.yaml`, which every user replaces by where their images are."""
FIELD_MANAGER = "--field-manager=claude-operator-install"


@dataclass(frozen=True, slots=True)
class Installation:
    """The operator in a cluster."""

    kubectl: Kubectl

    def up(self, images: Mapping[str, str], keys: dict[str, Any]) -> None:
        """Apply CRDs and manifests, and wait until all processes are ready.

        Args:
            images: references of the images `operator` and `session`.
            keys: the Secret with the keys of the shim, which waits for one.

        Raises:
            KubectlError: something was refused, or did not become ready within 3 minutes.
        """
        with step("installing the operator"):
            self._apply("-f", str(REPOSITORY / "crds"))
            self.kubectl.run(
                *("wait", "--for=condition=Established", "--timeout=60s", "crd"),
                *("claudesessions.claude-operator.dev", "claudeprojects.claude-operator.dev"),
            )
            objects = list(render(REPOSITORY / "manifests" / "install.yaml", images))
            # Before the shim: kubelet takes up to a minute to bring a Secret that comes later.
            first = [one for one in objects if one["kind"] == "Namespace"]
            self._apply("-f", "-", stdin=yaml.safe_dump_all([*first, keys]))
            self._apply("-f", "-", stdin=yaml.safe_dump_all(objects))
        with step("waiting for gateway, controller and shim"):
            for workload in (
                "statefulset/claude-gateway",
                "deployment/claude-controller",
                "deployment/claude-shim",
            ):
                self.kubectl.run(
                    *("rollout", "status", workload, "-n", SYSTEM_NAMESPACE, "--timeout=180s"), seconds=190
                )

    def namespace(self, name: str, objects: list[dict[str, Any]]) -> None:
        """Prepare a namespace for sessions; `objects` are credentials and project."""
        if name != "default":
            self.kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
        pieces = yaml.safe_dump_all([*render(REPOSITORY / "manifests" / "namespace.yaml", {}), *objects])
        self._apply("-n", name, "-f", "-", stdin=pieces)
        self.kubectl.run(
            *("wait", "--for=condition=Ready", "--timeout=60s", "-n", name, "claudeproject/default"),
            seconds=70,
        )

    def down(self, objects: list[dict[str, Any]]) -> None:
        """Remove what `up` and `namespace("default", objects)` put into a cluster that stays."""
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        gone = ("--ignore-not-found", "--wait=true", "--timeout=120s")
        with step("removing the operator"):
            self.kubectl.run("delete", *gone, "-n", "default", "-f", "-", stdin=content, seconds=130)
            manifests = REPOSITORY / "manifests"
            self.kubectl.run(
                "delete", *gone, "-n", "default", "-f", str(manifests / "namespace.yaml"), seconds=130
            )
            self.kubectl.run("delete", *gone, "-f", str(REPOSITORY / "crds"), seconds=130)
            self.kubectl.run("delete", *gone, "-f", str(manifests / "install.yaml"), seconds=130)

    def _apply(self, *arguments: str, stdin: str | None = None) -> None:
        self.kubectl.run(
            "apply", "--server-side", "--force-conflicts", FIELD_MANAGER, *arguments, stdin=stdin
        )


def render(manifest: Path, images: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The manifest's objects with the images that were built here, and without its project: ours is another.

    Args:
        manifest: a file of `manifests/`.
        images: references of the images `operator` and `session`; what is missing stays as it is.
    """
    names = {"operator": OPERATOR_IMAGE, "session": SESSION_IMAGE}
    replacements = {names[image]: reference for image, reference in images.items()}
    for found in yaml.safe_load_all(manifest.read_text()):
        brings_project = found["kind"] == "ConfigMap" and "projects.yaml" in found["data"]
        if found["kind"] != PROJECT_KIND and not brings_project:
            yield _replaced(found, replacements)


def _replaced(value: Any, replacements: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, replacements) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, replacements) for item in value]
    return replacements.get(value, value) if isinstance(value, str) else value
