"""Packages are installed only where missing, and nothing that they bring is started."""

from pathlib import Path

import pytest

from tests.cluster import packages
from tests.cluster.packages import PackagesMissingError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an apt-get that notes what it is asked, and what the service policy is meanwhile."""
    monkeypatch.setenv("CLAUDE_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "_POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    tools = tmp_path / "tools"
    tools.mkdir()
    apt = tools / "apt-get"
    apt.write_text(
        f'#!/bin/sh\nexec >>{tmp_path}/calls\necho "$@"\n{tmp_path}/policy-rc.d; echo "policy $?"\n'
        f"[ -e {tmp_path}/broken ] && exit 100\ntouch {tmp_path}/proof\n"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return tmp_path


def test_what_is_here_is_not_installed(machine: Path) -> None:
    packages.ensure({"bash": "/bin/sh", "coreutils": "ls"})
    assert not (machine / "calls").exists()


def test_what_is_missing_is_installed_with_services_denied(machine: Path) -> None:
    packages.ensure({"missing-daemon": str(machine / "proof"), "coreutils": "ls"})
    calls = (machine / "calls").read_text().splitlines()
    assert calls == ["-y -q --no-install-recommends install missing-daemon", "policy 101"]
    assert not (machine / "policy-rc.d").exists(), "the machine's policy was changed for good"


def test_a_policy_of_the_machines_owner_stays(machine: Path) -> None:
    policy = machine / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o755)
    packages.ensure({"missing-daemon": str(machine / "proof")})
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"


def test_a_failure_names_the_packages_and_leaves_no_policy(machine: Path) -> None:
    (machine / "broken").touch()
    with pytest.raises(PackagesMissingError, match="missing-daemon"):
        packages.ensure({"missing-daemon": str(machine / "proof")})
    assert not (machine / "policy-rc.d").exists()


def test_without_root_the_remedy_is_told(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PackagesMissingError, match="Install them, or run as root"):
        packages.ensure({"missing-daemon": str(machine / "proof")})
