"""Up and down, in order.

Each step is harmless when it was done before, so an interrupted run is simply repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.cluster import environment
from tests.cluster.cluster import Cluster
from tests.cluster.images import provide_all
from tests.cluster.places import DEFAULT_NAME
from tests.cluster.progress import step
from tests.stack import tenant
from tests.stack.access import GatewayAccess
from tests.stack.installation import Installation
from tests.stack.outside import Outside
from tests.stack.shim import ShimAccess

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stack:
    """A cluster with everything on it."""

    cluster: Cluster

    @classmethod
    def up(cls, name: str = DEFAULT_NAME, *, namespace: str = "default") -> Self:
        """Everything, until a session can be applied in `namespace`."""
        stack = cls(Cluster.up(name))
        images = provide_all(stack.cluster.provider)
        with step("starting the model and git servers"):
            stack.outside.up(stack.cluster.host_address)
        stack.installation.up(images, stack.shim.keys())
        stack.prepare(namespace)
        stack.gateway.up(stack.cluster.kubectl)
        stack.shim.up(stack.cluster.kubectl)
        stack._contribute()
        return stack

    @classmethod
    def find(cls, name: str = DEFAULT_NAME) -> Self:
        """The stack on a cluster that was brought up before.

        Raises:
            tests.cluster.cluster.NotUpError: none was.
        """
        return cls(Cluster.find(name))

    @property
    def outside(self) -> Outside:
        """The model and git servers."""
        return Outside(self._directory / "world")

    @property
    def gateway(self) -> GatewayAccess:
        """The gateway's internal port."""
        return GatewayAccess(self._directory / "access")

    @property
    def shim(self) -> ShimAccess:
        """The HTTP APIs."""
        return ShimAccess(self._directory / "access")

    @property
    def installation(self) -> Installation:
        """The operator in the cluster."""
        return Installation(self.cluster.kubectl)

    @property
    def _directory(self) -> Path:
        return self.cluster.state / "stack"

    def prepare(self, namespace: str) -> None:
        """Make a namespace ready for sessions."""
        with step(f"preparing namespace {namespace}"):
            self.installation.namespace(namespace, tenant.objects(self.outside.state))

    def down(self) -> None:
        """Stop what stands beside the cluster, then the cluster; or the operator in one that is not ours."""
        self.shim.down()
        self.gateway.down()
        if self.cluster.kind == "existing":
            self.installation.down(tenant.objects(self.outside.state))
        self.outside.down()
        self.cluster.down()

    def _contribute(self) -> None:
        world = self.outside.state
        environment.contribute(
            self.cluster.state,
            {
                "GIT_URL": world.git.url,
                "GIT_USERNAME": world.git.username,
                "GIT_TOKEN_FILE": str(world.git.token_file),
                "GIT_REPOSITORIES": str(world.git.repositories),
                "MODEL_URL": world.model.url,
                "MODEL_KEY_FILE": str(world.model.key_file),
                "GATEWAY_URL": self.gateway.url,
                "GATEWAY_CA_FILE": str(self.gateway.ca_file),
                "GATEWAY_TOKEN_FILE": str(self.gateway.token_file),
                "SHIM_URL": self.shim.url,
                "SHIM_SECRET_FILE": str(self.shim.secret_file),
            },
        )
