"""The API server as the official Python client sees it: a witness that shares no code with the operator."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError

FIELD_MANAGER = "witness"

Object = dict[str, Any]


@dataclass(slots=True)
class Refusal:
    """What the API server said; empty until it did."""

    status: int = 0
    message: str = ""


@contextmanager
def refused(*, status: int = 422) -> Iterator[Refusal]:
    """Expect the API server to refuse what is asked of it in the block, with this HTTP status."""
    refusal = Refusal()
    with pytest.raises(DynamicApiError) as caught:
        yield refusal
    refusal.status = caught.value.status
    refusal.message = json.loads(caught.value.body)["message"]
    assert refusal.status == status, refusal.message


class Witness:
    """Reads and writes as one identity."""

    def __init__(self, kubeconfig: Path) -> None:
        self._api = config.new_client_from_config(config_file=str(kubeconfig))
        self._dynamic = DynamicClient(self._api)

    @property
    def core(self) -> Any:
        """The typed core/v1 API."""
        return client.CoreV1Api(self._api)

    def apply(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Server-side apply, the way that this project recommends."""
        resource = self._resource(manifest)
        applied = resource.server_side_apply(
            # As UTF-8: the server reads it as YAML, which knows no surrogate pairs (`\ud83e\udd16`).
            body=json.dumps(manifest, ensure_ascii=False),
            name=manifest["metadata"]["name"],
            namespace=_namespace(resource, manifest),
            field_manager=FIELD_MANAGER,
            **({"dry_run": "All"} if dry_run else {}),
        )
        return _plain(applied)

    def create(self, manifest: Mapping[str, Any]) -> Object:
        """POST."""
        resource = self._resource(manifest)
        return _plain(resource.create(body=dict(manifest), namespace=_namespace(resource, manifest)))

    def merge(self, target: Mapping[str, Any], change: Mapping[str, Any], *, subresource: str = "") -> Object:
        """Merge-patch an object that exists, or one of its subresources."""
        resource = self._resource(target)
        if subresource:
            resource = resource.subresources[subresource]
        patched = resource.patch(
            body=dict(change),
            name=target["metadata"]["name"],
            namespace=target["metadata"].get("namespace", "default"),
            content_type="application/merge-patch+json",
        )
        return _plain(patched)

    def get(self, target: Mapping[str, Any]) -> Object:
        """GET by kind, name and namespace of `target`."""
        resource = self._resource(target)
        return _plain(resource.get(name=target["metadata"]["name"], namespace=_namespace(resource, target)))

    def names(self, api_version: str, kind: str, **query: str) -> set[str]:
        """The names in a list of the default namespace."""
        resource = self._dynamic.resources.get(api_version=api_version, kind=kind)
        return {item.metadata.name for item in resource.get(namespace="default", **query).items}

    def _resource(self, manifest: Mapping[str, Any]) -> Any:
        return self._dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])


def _namespace(resource: Any, manifest: Mapping[str, Any]) -> str | None:
    return manifest["metadata"].get("namespace", "default") if resource.namespaced else None


def _plain(instance: Any) -> Object:
    plain: Object = instance.to_dict()
    return plain
