"""References, termination messages, process trees, proxies' request lines, cgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner import cgroup, processes, publish, termination
from claude_operator.runner.clone import RemoteRefs, choose_base, parse_refs
from claude_operator.runner.errors import RunError
from claude_operator.runner.forwarder import upstream_path
from claude_operator.runner.settings import from_environment
from claude_operator.runner.tunnel import target_of
from claude_operator.wire.message import BlobRef
from claude_operator.wire.session import Resume, Termination
from tests.unit.runner.test_prompt import assignment

if TYPE_CHECKING:
    from pathlib import Path

LISTING = "ref: refs/heads/main\tHEAD\n1111\tHEAD\n2222\trefs/heads/claude/first-abcde\n"


def test_remote_references_are_read() -> None:
    assert parse_refs(LISTING) == RemoteRefs("main", {"main": "1111", "claude/first-abcde": "2222"})
    assert parse_refs("") == RemoteRefs(None, {})


def test_a_taken_branch_is_foreign_only_on_a_first_fresh_attempt() -> None:
    refs = parse_refs(LISTING)
    with pytest.raises(RunError) as raised:
        choose_base(refs, assignment())
    assert raised.value.reason is Reason.PUBLISH_REJECTED
    resume = Resume(transcript=BlobRef(sha256="0" * 64, size=1))
    assert choose_base(refs, assignment(attempt=2)) == "main"
    assert choose_base(refs, assignment(resume=resume)) == "main"


@given(st.text(), st.sampled_from(Reason))
def test_a_termination_message_is_json_that_kubelet_does_not_cut(message: str, reason: Reason) -> None:
    body = termination.render(reason, message * 20)
    assert len(body) <= 4096
    assert Termination.model_validate_json(body).reason is reason


def test_a_short_termination_message_is_whole_and_a_long_one_nearly_full() -> None:
    assert Termination.model_validate_json(termination.render(Reason.TIMEOUT, "late")).message == "late"
    assert len(termination.render(Reason.TIMEOUT, "x" * 9000)) > 3000
    assert len(termination.render(Reason.TIMEOUT, "\x00" * 9000)) > 3000


def test_a_process_may_be_called_anything() -> None:
    assert processes.parse_stat("12 (a) R 1 (b) S 7 0 0") == (12, "S", 7)
    assert processes.parse_stat("nonsense") is None
    assert processes.below(1, {1: 0, 2: 1, 3: 2, 4: 9, 5: 4}) == {2, 3}


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/v1/messages/count_tokens", None),
        ("/git/h/o/r/info/refs?service=git-upload-pack", "/git/h/o/r.git/info/refs?service=git-upload-pack"),
        ("/git/h/o/r.git/git-receive-pack", "/git/h/o/r.git/git-receive-pack"),
        ("/git/h/o/r/info/lfs/objects/batch", "/git/h/o/r/info/lfs/objects/batch"),
        ("/git/h/o/%2e%2e/git-upload-pack", "/git/h/o/%2e%2e.git/git-upload-pack"),
        ("/v1/session/claim", None),
        ("/", None),
    ],
)
def test_what_is_forwarded_and_under_which_path(asked: str, path: str | None) -> None:
    assert upstream_path(asked) == path


@pytest.mark.parametrize(
    ("head", "target"),
    [
        (b"CONNECT docs.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", "docs.example.com:443"),
        (b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "[::1]:443"),
        (b"GET http://docs.example.com/ HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a b:443 HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a:443\nX-Evil: 1 HTTP/1.1\r\n\r\n", None),
    ],
)
def test_only_a_plain_connect_is_taken(head: bytes, target: str | None) -> None:
    assert target_of(head) == target


def test_first_lines_for_commits_and_titles() -> None:
    assert publish.first_line("\n## Done\nmore", 72) == "Done"
    assert publish.first_line("", 72) == ""
    assert publish.first_line("x" * 100, 72) == "x" * 71 + "…"


def test_both_versions_of_cgroups_are_read(tmp_path: Path) -> None:
    assert cgroup.read(tmp_path) == cgroup.Consumption(None, None)
    (tmp_path / "cpuacct").mkdir()
    (tmp_path / "cpuacct" / "cpuacct.usage").write_text("2500000000\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.max_usage_in_bytes").write_text("4096\n")
    assert cgroup.read(tmp_path) == cgroup.Consumption(2.5, 4096)
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (tmp_path / "memory.peak").write_text("8192\n")
    assert cgroup.read(tmp_path) == cgroup.Consumption(1.5, 8192)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_a_setting_that_makes_no_sense_is_named(value: str) -> None:
    env = {
        "CLAUDE_GATEWAY_URL": "https://g",
        "CLAUDE_GATEWAY_PROXY": "g:1",
        "CLAUDE_GATEWAY_CA": "PEM",
        "CLAUDE_RUNNER_PATIENCE_SECONDS": value,
    }
    with pytest.raises(RunError, match="CLAUDE_RUNNER_PATIENCE_SECONDS"):
        from_environment(env)


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(RunError, match="CLAUDE_GATEWAY_URL"):
        from_environment({})
