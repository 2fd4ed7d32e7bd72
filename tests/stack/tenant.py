"""What an administrator sets up in a namespace before sessions can run there: credentials and a project.

The pieces for any namespace come from `manifests/namespace.yaml`; the credentials and the project are those
of the outside world that runs here.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from claude_operator.resources.identity import API_VERSION, CREDENTIAL_SECRET_TYPE, PROJECT_KIND

if TYPE_CHECKING:
    from tests.stack.outside import WorldState

MODEL_SECRET = "anthropic"
GIT_SECRET = "git"


def objects(world: WorldState) -> list[dict[str, Any]]:
    """Two Secrets and the project `default`, without a namespace."""
    return [
        credential(MODEL_SECRET, hosts=world.model.url, apiKey=world.model.key_file.read_text().strip()),
        credential(
            GIT_SECRET,
            hosts=world.git.url,
            username=world.git.username,
            password=world.git.token_file.read_text().strip(),
        ),
        project(world),
    ]


def credential(name: str, **data: str) -> dict[str, Any]:
    """A Secret that the gateway may use, for the hosts that it lists itself."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": CREDENTIAL_SECRET_TYPE,
        "metadata": {"name": name},
        "data": encoded,
    }


def project(world: WorldState, name: str = "default", **spec: Any) -> dict[str, Any]:
    """A ClaudeProject whose model and git host are the world's."""
    return {
        "apiVersion": API_VERSION,
        "kind": PROJECT_KIND,
        "metadata": {"name": name},
        "spec": {
            "repositoryHosts": [
                {
                    "host": world.git.url.partition("://")[2].strip("/"),
                    "url": world.git.url,
                    "credentialsSecret": GIT_SECRET,
                }
            ],
            "model": {"upstreamURL": world.model.url, "credentialsSecret": MODEL_SECRET},
            **spec,
        },
    }
