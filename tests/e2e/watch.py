"""Every version of every session in the cluster, as a watch of the official client tells it.

One watch for the whole suite, opened before any session exists, so that no phase passes unseen and nothing
is polled. It is the tests' own witness: none of it is the product's code.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3
from kubernetes import client, config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Version:
    """An object as it was at some moment."""

    at: float
    """Of `time.monotonic()`, when the watch told it."""
    object: Object


@dataclass
class SessionWatch:
    """What has been seen since `start`."""

    kubeconfig: Path
    _versions: defaultdict[Key, list[Version]] = field(default_factory=lambda: defaultdict(list))
    _deleted: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _stopped: bool = False
    _response: Any = None

    def start(self) -> None:
        """Open the watch; whatever changes from here on is seen."""
        api = client.CustomObjectsApi(config.new_client_from_config(config_file=str(self.kubeconfig)))
        place = ("claude-operator.dev", "v1alpha1", "claudesessions")
        listed = api.list_cluster_custom_object(*place)
        self._response = api.list_cluster_custom_object(
            *place,
            watch=True,
            resource_version=listed["metadata"]["resourceVersion"],
            timeout_seconds=3600,
            _preload_content=False,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._stopped = True
        self._response.shutdown()

    def versions(self, key: Key) -> list[Version]:
        """Of one session, oldest first; of the latest one of that name."""
        with self._changed:
            return list(self._versions[key])

    def wait(self, holds: Callable[[], bool], *, seconds: float) -> bool:
        """Look again at each change until it holds; whether it does within `seconds`."""
        with self._changed:
            return self._changed.wait_for(holds, timeout=seconds)

    def deleted(self, uid: str) -> bool:
        """Whether the session of this uid has been deleted."""
        return uid in self._deleted

    def _read(self) -> None:
        try:
            rest = b""
            for chunk in self._response.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
        except (urllib3.exceptions.HTTPError, OSError):
            # By `stop`, or because the API server went. Then every wait runs into its deadline and tells.
            if not self._stopped:
                raise

    def _take(self, event: Object) -> None:
        found = event["object"]
        metadata = found["metadata"]
        key = (metadata["namespace"], metadata["name"])
        with self._changed:
            if event["type"] == "DELETED":
                self._deleted.add(metadata["uid"])
            else:
                if event["type"] == "ADDED":
                    self._versions[key].clear()
                self._versions[key].append(Version(time.monotonic(), found))
            self._changed.notify_all()
