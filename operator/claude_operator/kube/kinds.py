"""The kinds of objects that the project touches, and their paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from claude_operator.resources import identity


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API server."""

    group: str
    """Empty: the core group."""
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path; namespace None: cluster-wide (a list or watch of all namespaces)."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


PODS: Final = Kind("", "v1", "pods", "Pod")
SECRETS: Final = Kind("", "v1", "secrets", "Secret")
CONFIG_MAPS: Final = Kind("", "v1", "configmaps", "ConfigMap")
NAMESPACES: Final = Kind("", "v1", "namespaces", "Namespace")
SERVICE_ACCOUNTS: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
EVENTS: Final = Kind("", "v1", "events", "Event")
JOBS: Final = Kind("batch", "v1", "jobs", "Job")
LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
SESSIONS: Final = Kind(identity.GROUP, identity.VERSION, identity.SESSION_PLURAL, identity.SESSION_KIND)
PROJECTS: Final = Kind(identity.GROUP, identity.VERSION, identity.PROJECT_PLURAL, identity.PROJECT_KIND)
