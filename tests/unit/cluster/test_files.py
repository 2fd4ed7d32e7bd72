"""Whole or absent; hashed by what matters; numbers of addresses claimed once."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tests.cluster import addresses, build, environment, images, places
from tests.cluster.files import digest, published_folder
from tests.world import claude_code


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CLAUDE_OPERATOR_STATE", raising=False)
    return tmp_path / "cache"


def test_a_folder_whose_making_fails_never_gets_its_name(tmp_path: Path) -> None:
    def make() -> None:
        with published_folder(tmp_path / "made") as draft:
            (draft / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make()
    assert list(tmp_path.iterdir()) == []


def test_a_digest_changes_with_content_name_and_mode_but_not_with_bytecode(tmp_path: Path) -> None:
    file = tmp_path / "code" / "a.py"
    file.parent.mkdir()
    file.write_text("1")
    first = digest([tmp_path / "code"], root=tmp_path)
    (file.parent / "__pycache__").mkdir()
    (file.parent / "__pycache__" / "a.pyc").write_text("bytecode")
    assert digest([tmp_path / "code"], root=tmp_path) == first
    file.chmod(0o755)
    second = digest([tmp_path / "code"], root=tmp_path)
    file.write_text("2")
    third = digest([tmp_path / "code"], root=tmp_path)
    fourth = digest([file.rename(file.with_name("b.py")).parent], root=tmp_path)
    assert len({first, second, third, fourth}) == 4


@pytest.mark.parametrize("name", ["", "-x", "x-", "a/b", "..", "Upper", "x" * 41])
def test_a_cluster_name_that_is_no_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        places.state_dir(name)


def test_plans_avoid_what_the_machine_uses_and_each_other() -> None:
    taken = [IPv4Network("10.243.0.0/24"), IPv4Network("10.244.2.0/23"), IPv4Network("10.245.4.7/32")]
    free = [plan.index for plan in addresses.free_plans(taken)]
    assert free[:3] == [1, 5, 6]
    networks = [network for plan in addresses.free_plans([]) for network in plan.networks]
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)


def test_a_claim_is_kept_and_given_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(addresses, "networks_of_this_machine", list[IPv4Network])
    one, two = addresses.claim(tmp_path / "one"), addresses.claim(tmp_path / "two")
    assert one != two
    assert addresses.claim(tmp_path / "one") == one
    addresses.release(one)
    assert addresses.claimed(tmp_path / "one") is None
    assert addresses.claim(tmp_path / "three") == one


def test_variables_are_merged_and_safe_for_a_shell(tmp_path: Path) -> None:
    environment.contribute(tmp_path, {"KUBECONFIG": "/a b", "URL": "old"}, path=[Path("/bin one")])
    environment.contribute(tmp_path, {"URL": "it's; $(new)"}, path=[Path("/two"), Path("/bin one")])
    assert environment.read(tmp_path).exports().splitlines() == [
        "export KUBECONFIG='/a b'",
        "export URL='it'\"'\"'s; $(new)'",
        "export PATH='/two:/bin one':\"$PATH\"",
    ]


def test_the_versions_in_go_mod_are_the_ones_that_the_programs_claim() -> None:
    modules = (Path(build.__file__).parent / "go" / "kubernetes" / "go.mod").read_text()
    assert f"\tk8s.io/kubernetes v{build.KUBERNETES_VERSION} " in modules.replace(
        "require k8s", "\tk8s"
    ).replace("\n", " \n")
    minor = build.KUBERNETES_VERSION.partition(".")[2]
    replaced = [line.split() for line in modules.splitlines() if "=>" in line]
    assert len(replaced) > 30
    assert {line[-1] for line in replaced} == {f"v0.{minor}"}


def test_two_who_build_at_once_compile_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A compiler that takes its time, and notes each call.
    compiler = tmp_path / "bin" / "go"
    compiler.parent.mkdir()
    compiler.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nsleep 0.3\n'
        'while [ "$1" != -o ]; do shift; done\necho program >"$2"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    with ThreadPoolExecutor(2) as both:
        folders = list(both.map(lambda _: build.PAUSE.build(), range(2)))
    assert folders[0] == folders[1]
    assert (folders[0] / "pause").read_text() == "program\n"
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    assert [path.name for path in (cache / "bin").iterdir() if path.is_dir()] == [folders[0].name]


def test_a_compiler_that_fails_publishes_nothing_and_is_quoted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "go"
    compiler.write_text("#!/bin/sh\necho 'main.go:1: no such luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(build.GoMissingError, match="no such luck"):
        build.PAUSE.build()
    assert not build.PAUSE.cached
    assert [path for path in (cache / "bin").iterdir() if path.is_dir()] == []


def test_an_image_is_built_from_what_its_tag_was_made_of() -> None:
    with images.OPERATOR.snapshot() as root:
        assert images.OPERATOR.tag(root) == images.OPERATOR.tag(root)
        before = images.OPERATOR.tag(root)
        (root / "operator" / "claude_operator" / "new.py").write_text("")
        assert images.OPERATOR.tag(root) != before
        # Nothing but the inputs: no environment, no repository, no bytecode.
        assert {path.name for path in root.iterdir()} == {
            "README.md",
            "operator",
            "pyproject.toml",
            "requirements",
        }
    assert not root.exists()


def test_dockerfiles_name_no_registry_and_one_version_of_the_cli() -> None:
    for image in images.ALL:
        text = (places.REPOSITORY / image.dockerfile).read_text()
        froms = [line.split()[1] for line in text.splitlines() if line.startswith("FROM ")]
        stages = {
            line.split()[-1] for line in text.splitlines() if line.startswith("FROM ") and " AS " in line
        }
        assert {name for name in froms if name not in stages} == {"debian:${DEBIAN}-slim"}
    session = (places.REPOSITORY / images.SESSION.dockerfile).read_text()
    assert f"ARG CLAUDE_CODE_VERSION={claude_code.VERSION}\n" in session
