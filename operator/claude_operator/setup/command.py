"""`claude-operator setup FILE`: create the projects in a YAML file that do not exist yet.

What exists is left as it is: from then on it is the administrator's. A project that the API server refuses
is reported and skipped, for the controller must start all the same; only a CRD that is not there yet, or an
API server that does not answer, is waited for.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import ConfigError, load
from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import PROJECTS

if TYPE_CHECKING:
    from claude_operator.kube.config import ClusterConfig

WAIT_SECONDS: Final = 60.0
"""For the CRD; the pod's restart begins anew. Establishing one takes about a second."""
_PAUSE: Final = 0.5


@click.command("setup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Default: as in a pod.")
def command(file: Path, kubeconfig: Path | None) -> None:
    """Create the ClaudeProjects in FILE that do not exist yet; an absent FILE is nothing to do."""
    if not file.exists():
        click.echo(f"{file} is not there: nothing to set up")
        return
    try:
        projects = read(file.read_text())
        asyncio.run(_create_all(load(kubeconfig), projects))
    except (ConfigError, ApiError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def read(text: str) -> list[dict[str, Any]]:
    """The ClaudeProjects in a YAML text.

    Raises:
        ValueError: it is not YAML, or holds something else.
    """
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    for document in documents:
        kind = (document.get("apiVersion"), document.get("kind")) if isinstance(document, dict) else ()
        if kind != (PROJECTS.api_version, PROJECTS.kind):
            raise ValueError(f"expected {PROJECTS.api_version} {PROJECTS.kind}, found {document!r:.200}")
        if not (document.get("metadata") or {}).get("name"):
            raise ValueError("metadata.name is missing")
    return documents


async def _create_all(cluster: ClusterConfig, projects: list[dict[str, Any]]) -> None:
    async with KubeClient(cluster) as client:
        for project in projects:
            namespace = project["metadata"].get("namespace", cluster.namespace)
            outcome = await create_missing(client, project, namespace=namespace)
            click.echo(f"claudeproject {namespace}/{project['metadata']['name']}: {outcome}")


async def create_missing(client: KubeClient, project: dict[str, Any], *, namespace: str) -> str:
    """Create one project unless it exists, and say what happened.

    Raises:
        ApiError: no answer, or no CRD, within WAIT_SECONDS.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            await client.create(PROJECTS, project, namespace=namespace)
        except ApiError as error:
            if error.already_exists:
                return "exists, left as it is"
            # 404 is a missing CRD, or a missing namespace: both may be on their way.
            if not (error.not_found or error.transient):
                return f"refused, go on without it: {error.message}"
            if time.monotonic() + _PAUSE > deadline:
                raise
            await asyncio.sleep(_PAUSE)
        else:
            return "created"
