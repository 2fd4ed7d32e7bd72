"""A control plane without a node: what it serves and records, and that several live side by side."""

import json
import socket
import time
from pathlib import Path

import pytest

from tests.cluster import ports
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import control_plane
from tests.cluster.processes import Process
from tests.cluster.waiting import wait_until

# Fixtures are found by name in the module that uses them.
__all__ = ["control_plane"]


@pytest.mark.controlplane
def test_the_control_plane_serves_and_audits(control_plane: ControlPlane) -> None:
    control_plane.kubectl.run("create", "configmap", "audited", "--from-literal=a=b")
    lines = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]
    creations = [
        line
        for line in lines
        if line["verb"] == "create" and line.get("objectRef", {}).get("resource") == "configmaps"
    ]
    assert [line["user"]["username"] for line in creations].count("admin") == 1


@pytest.mark.controlplane
def test_jobs_get_pods_from_the_job_controllers_own_account(control_plane: ControlPlane) -> None:
    kubectl = control_plane.kubectl
    kubectl.run("create", "job", "own-account", "--image=none")
    wait_until(
        lambda: "own-account" in kubectl.run("get", "pods", "-l", "job-name=own-account", "-o", "name"),
        what="the Job's pod",
        seconds=20,
        interval=0.2,
    )
    audit = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]
    makers = {
        line["user"]["username"]
        for line in audit
        if line["verb"] == "create" and line.get("objectRef", {}).get("resource") == "pods"
    }
    assert makers == {"system:serviceaccount:kube-system:job-controller"}


@pytest.mark.controlplane
def test_two_control_planes_live_side_by_side_and_one_survives_a_crash(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with ControlPlane.start(tmp_path, controllers=False) as other:
        other.kubectl.run("create", "namespace", "only-here")
        assert "only-here" not in control_plane.kubectl.run("get", "namespaces")
        before = other.process("kube-apiserver").identity
        other.process("kube-apiserver").kill()
        other.up()
        assert other.process("kube-apiserver").identity != before
        assert "only-here" in other.kubectl.run("get", "namespaces")
        processes = other.processes
        pids = [process.identity for process in processes]
    assert not any(pid.alive for pid in pids if pid)
    assert control_plane.kubectl.run("get", "--raw", "/readyz") == "ok"


@pytest.mark.controlplane
def test_a_component_that_dies_is_reported_with_its_words(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(RuntimeError, match="unknown flag: --no-such-flag"):
        ControlPlane.start(tmp_path, apiserver_flags=["--no-such-flag"])
    assert time.monotonic() - begun < 20, "waited although the process was dead"
    # The survivors of the failed start can't outlive this test run, but need not wait for its end.
    for record in tmp_path.glob("*.pid"):
        Process(record.stem, tmp_path).kill()


@pytest.mark.controlplane
def test_a_port_that_somebody_took_meanwhile_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = ports.choose
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        taken = theirs.getsockname()[1]
        choices = [{"kube-scheduler": taken}, {}]
        monkeypatch.setattr(ports, "choose", lambda names: choose(names) | choices.pop(0))
        with ControlPlane.start(tmp_path) as plane:
            assert "default" in plane.kubectl.run("get", "namespaces")
            assert plane.ports["kube-scheduler"] != taken
    assert choices == []
