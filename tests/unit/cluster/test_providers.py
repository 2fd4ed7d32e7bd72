"""Which provider a cluster is of, and that kind and a named cluster are asked for no more than is theirs."""

import os
import stat
from pathlib import Path

import pytest

from tests.cluster import images
from tests.cluster.cluster import Cluster, ConflictError, NotUpError
from tests.cluster.existing import NotGivenError
from tests.cluster.kind import KindError

NAME = "unit"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with only what a test puts there, and a cache and state of its own; each call is noted."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setenv("CLAUDE_OPERATOR_CACHE", str(tmp_path / "cache"))
    for name in ("STATE", "KUBECONFIG", "HOST_ADDRESS", "OPERATOR_IMAGE"):
        monkeypatch.delenv(f"CLAUDE_OPERATOR_{name}", raising=False)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    program(folder, "kubectl", "case $* in *nodes*) echo 'n True';; *) echo ok;; esac")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$CALLS"\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def calls() -> list[str]:
    path = Path(os.environ["CALLS"])
    return path.read_text().splitlines() if path.exists() else []


def with_kind(tools: Path, *, clusters: str = "") -> None:
    """Docker that answers, and a kind that remembers what was created."""
    known = tools / "clusters"
    known.write_text(clusters)
    gateway = '[{"IPAM":{"Config":[{"Gateway":"fc00::1"},{"Gateway":"172.18.0.1"}]}}]'
    program(tools, "docker", f"case $1 in network) echo '{gateway}';; esac")
    program(
        tools,
        "kind",
        f'case "$1" in get) cat {known};; create) echo $4 >>{known}; : >"$6";; delete) : >{known};; esac',
    )


def test_a_named_kubeconfig_comes_first_and_nothing_of_it_is_touched(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_kind(tools)
    mine = tmp_path / "my-kubeconfig"
    mine.write_text("mine")
    monkeypatch.setenv("CLAUDE_OPERATOR_KUBECONFIG", str(mine))
    cluster = Cluster.up(NAME)
    assert (cluster.kind, cluster.kubeconfig) == ("existing", mine)
    assert not any(call.startswith(("kind", "docker")) for call in calls())

    with pytest.raises(NotGivenError, match="CLAUDE_OPERATOR_OPERATOR_IMAGE"):
        cluster.provider.provide(images.OPERATOR)
    monkeypatch.setenv("CLAUDE_OPERATOR_OPERATOR_IMAGE", "mine/operator:1")
    assert cluster.provider.provide(images.OPERATOR) == "mine/operator:1"
    with pytest.raises(NotGivenError, match="CLAUDE_OPERATOR_HOST_ADDRESS"):
        _ = cluster.host_address

    cluster.down()
    assert mine.read_text() == "mine"
    with pytest.raises(NotUpError):
        Cluster.find(NAME)


@pytest.mark.usefixtures("tools")
def test_a_kubeconfig_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="/nowhere/config: no such file"):
        Cluster.up(NAME, kubeconfig=Path("/nowhere/config"))


def test_kind_is_used_where_docker_answers_and_removed_by_the_record(tools: Path, tmp_path: Path) -> None:
    with_kind(tools)
    cluster = Cluster.up(NAME)
    assert cluster.kind == "kind"
    assert cluster.host_address == "172.18.0.1"
    Cluster.up(NAME)
    assert sum(call.startswith("kind create") for call in calls()) == 1, "up twice created twice"

    with pytest.raises(ConflictError, match="is up already, as kind"):
        Cluster.up(NAME, provider="native")

    reference = cluster.provider.provide(images.OPERATOR)
    assert any(call.startswith(f"docker build -t {reference} ") for call in calls())
    assert f"kind load docker-image --name {NAME} {reference}" in calls()

    # By then Docker may be gone from PATH's preference; the record decides.
    Cluster.find(NAME).down()
    assert any(call.startswith(f"kind delete cluster --name {NAME}") for call in calls())
    assert not (tmp_path / "cache" / "clusters" / NAME).exists()


def test_somebody_elses_kind_cluster_of_that_name_is_refused_and_kept(tools: Path) -> None:
    with_kind(tools, clusters=f"{NAME}\n")
    with pytest.raises(KindError, match="was not made here"):
        Cluster.up(NAME)
    Cluster.find(NAME).down()
    assert not any(call.startswith("kind delete") for call in calls())
