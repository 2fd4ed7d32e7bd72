"""A whole cluster with real containers: what pods can do in it, what it survives, what it leaves behind."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typing_extensions import override

from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import cluster
from tests.cluster.kubectl import Kubectl
from tests.cluster.places import REPOSITORY
from tests.cluster.waiting import wait_until

# Fixtures are found by name in the module that uses them.
__all__ = ["cluster"]

pytestmark = pytest.mark.cluster
NAMESPACE = "harness"


@dataclass(frozen=True, slots=True)
class Workload:
    """A namespace under Pod Security "restricted", and pods in it that abide by that."""

    kubectl: Kubectl
    images: Mapping[str, str]

    def run(self, name: str, script: str, *, image: str = "session", **spec: object) -> str:
        """Run a bash script in a pod to its end and return its log."""
        self.start(name, script, image=image, **spec)
        self.wait(name, "Succeeded", "Failed")
        log = self.kubectl.run("-n", NAMESPACE, "logs", name)
        assert self.phase(name) == "Succeeded", log
        return log

    def start(self, name: str, script: str, *, image: str = "session", **spec: object) -> None:
        container = {
            "name": "main",
            "image": self.images[image],
            "command": ["bash", "-ec", script],
            "volumeMounts": [{"name": "work", "mountPath": "/work"}],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "resources": {
                "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "1Mi"},
                "limits": {"memory": "1Gi", "ephemeral-storage": "100Mi"},
            },
        }
        pod = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "work", "emptyDir": {}}],
            **spec,
        }
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
        self.kubectl.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}])

    def phase(self, name: str) -> str:
        return self.kubectl.run("-n", NAMESPACE, "get", "pod", name, "-o", "jsonpath={.status.phase}")

    def wait(self, name: str, *phases: str) -> None:
        wait_until(
            lambda: self.phase(name) in phases, what=f"pod {name} to be {phases}", seconds=60, interval=0.2
        )


@pytest.fixture(scope="module")
def workload(cluster: Cluster) -> Workload:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.kubectl.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}]
    )
    return Workload(cluster.kubectl, images.provide_all(cluster.provider))


def test_a_restricted_pod_runs_and_its_log_can_be_read(workload: Workload) -> None:
    log = workload.run("restricted", "id -u; touch /work/file && echo written; touch /file || echo read-only")
    assert log.splitlines()[:2] == ["1000", "written"]
    assert "read-only" in log


def test_the_session_image_holds_what_a_session_needs(workload: Workload) -> None:
    log = workload.run(
        "session-image",
        "claude --version; git --version; jq --version; curl --version | head -1; python3 --version; "
        "claude-operator --help | head -3; command -v npm node pip gcc || echo lean",
    )
    assert "2.1.330" in log
    assert "git version" in log
    assert "Usage:" in log
    assert "lean" in log


def test_the_operator_image_holds_no_build_tools_and_no_root(workload: Workload) -> None:
    log = workload.run(
        "operator-image",
        "id -u; claude-operator --help | head -1; command -v pip git claude || echo lean; "
        "/opt/claude-operator/bin/python -c 'import kubernetes' 2>&1 | tail -1",
        image="operator",
    )
    assert log.splitlines()[0] == "65532"
    assert "Usage:" in log
    assert "lean" in log
    assert "ModuleNotFoundError: No module named 'kubernetes'" in log


def test_a_service_is_reached_by_its_name_and_by_its_address(workload: Workload) -> None:
    workload.start("web", "cd /work && echo served >index.html && exec python3 -m http.server 8080")
    workload.wait("web", "Running")
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    metadata = {"name": "web", "namespace": NAMESPACE}
    workload.kubectl.apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}])
    address = workload.kubectl.run("-n", NAMESPACE, "get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")
    fetch = "curl -fsS --retry 20 --retry-all-errors --retry-delay 1 --retry-max-time 40 --max-time 5"
    # From another pod on the node: the reply must come back from the address that was called.
    log = workload.run(
        "client",
        f"for h in web web.{NAMESPACE}.svc.cluster.local {address}; do {fetch} http://$h/ 2>/dev/null; done",
    )
    assert log.splitlines() == ["served"] * 3
    # And from the host, as the demo's own clients do.
    answer = subprocess.run(
        [*fetch.split(), f"http://{address}/"], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "served\n"


def test_a_name_that_does_not_exist_is_told_so_at_once(workload: Workload) -> None:
    log = workload.run(
        "no-such-name", "SECONDS=0; getent hosts nowhere.invalid || echo unknown after $SECONDS"
    )
    assert log.splitlines()[-1] in {"unknown after 0", "unknown after 1"}


def test_pods_reach_this_host_and_in_cluster_credentials_work(workload: Workload, cluster: Cluster) -> None:
    with server_on(cluster.host_address) as port:
        log = workload.run("to-host", f"curl -fsS --max-time 5 http://{cluster.host_address}:{port}/")
    assert log == "hello from the host"
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    log = workload.run(
        "in-cluster",
        f'curl -sS --max-time 5 --cacert {token}/ca.crt -H "Authorization: Bearer $(cat {token}/token)" '
        "https://kubernetes.default.svc/api/v1/namespaces",
        automountServiceAccountToken=True,
    )
    # Authenticated, and rightly refused.
    assert f"system:serviceaccount:{NAMESPACE}:default" in json.loads(log)["message"]


def test_a_volume_claim_is_bound_and_writable_by_the_pods_group(workload: Workload) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "data", "namespace": NAMESPACE}
    workload.kubectl.apply(
        [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim}]
    )
    volumes = [{"name": "work", "persistentVolumeClaim": {"claimName": "data"}}]
    workload.run("writes", "echo kept >/work/file", volumes=volumes)
    assert workload.run("reads", "cat /work/file", volumes=volumes) == "kept\n"


def test_an_unchanged_image_is_neither_built_nor_loaded_again(workload: Workload, cluster: Cluster) -> None:
    lines = subprocess.run(
        [sys.executable, "-m", "tests.cluster", "images", "--name", cluster.name],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    if set(lines.stdout.split()) >= set(workload.images.values()):
        # Else the code was edited since the fixture built it, and building it again is right.
        assert "building" not in lines.stderr
        assert "loading" not in lines.stderr


@contextmanager
def server_on(address: str) -> Iterator[int]:
    """An HTTP server of this host's at the address; yields its port."""

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the host")

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    with ThreadingHTTPServer((address, 0), Hello) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
