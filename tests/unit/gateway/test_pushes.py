"""Reading pushes: pkt-lines in any pieces, and the decision about every kind of command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.git.paths import Service, endpoint
from claude_operator.gateway.git.pktline import FLUSH, LONGEST, PktLineError, PktStream, encode, split_one
from claude_operator.gateway.git.push import MOST_BYTES, read_push, refusal, rejection
from claude_operator.gateway.git.report import RefReader, ReportReader

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40
CAPABILITIES = "report-status-v2 side-band-64k object-format=sha1 agent=git/2.39"


def command(old: str, new: str, ref: str, capabilities: str = CAPABILITIES) -> bytes:
    return encode(f"{old} {new} {ref}\0 {capabilities}".encode())


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


@given(st.lists(st.binary(min_size=1, max_size=50) | st.none(), max_size=20), st.lists(st.integers(0, 9)))
def test_lines_come_out_as_they_went_in_however_they_are_cut(
    lines: list[bytes | None], sizes: list[int]
) -> None:
    data = b"".join(FLUSH if line is None else encode(line) for line in lines)
    stream = PktStream()

    assert [line for piece in cut(data, sizes) for line in stream.feed(piece)] == lines


@given(st.binary(max_size=200))
def test_any_bytes_are_lines_or_an_error_and_never_more_than_there_are(data: bytes) -> None:
    try:
        found = split_one(data)
    except PktLineError:
        return
    assert found is None or found[1] <= len(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_push_incomplete_or_an_error(data: bytes) -> None:
    try:
        push = read_push(data)
    except PktLineError:
        return
    assert push is None or push.end <= len(data)


def test_a_line_that_is_too_long_is_an_error() -> None:
    with pytest.raises(PktLineError, match="at most"):
        split_one(b"ffff")
    with pytest.raises(PktLineError, match="at most"):
        encode(b"x" * LONGEST)
    with pytest.raises(PktLineError, match="length 3"):
        split_one(b"0003")


def test_commands_without_end_are_an_error() -> None:
    shallow = encode(f"shallow {A}\n".encode())
    with pytest.raises(PktLineError, match="more than"):
        read_push(shallow * (MOST_BYTES // len(shallow) + 1))


@given(
    old=st.sampled_from([ZERO, A, B]),
    new=st.sampled_from([A, B]),
    ref=st.from_regex(r"refs/(heads|tags)/[a-zé/-]{1,20}", fullmatch=True),
    shallow=st.lists(st.sampled_from([A, B]), max_size=3),
    pack=st.binary(max_size=50),
)
def test_what_is_sent_on_is_read_as_the_same(
    old: str, new: str, ref: str, shallow: list[str], pack: bytes
) -> None:
    data = b"".join(encode(f"shallow {oid}\n".encode()) for oid in shallow) + command(old, new, ref) + FLUSH
    push = read_push(data + pack)
    assert push is not None
    assert (data + pack)[push.end :] == pack

    again = read_push(push.encode() + pack)

    assert again is not None
    assert (again.commands, again.shallow, again.capabilities) == (
        push.commands,
        push.shallow,
        push.capabilities,
    )
    assert (push.commands[0].old, push.commands[0].new, push.commands[0].ref) == (old, new, ref)


def test_unknown_capabilities_are_not_sent_on() -> None:
    push = read_push(command(ZERO, A, "refs/heads/x", "report-status evil=1 session-id=2") + FLUSH)
    assert push is not None

    assert b"evil" not in push.encode()
    assert b"report-status" in push.encode()


OURS = "refs/heads/claude/fix-12345"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (FLUSH, ""),
        (command(ZERO, A, OURS) + FLUSH, ""),
        (command(A, B, OURS) + FLUSH, ""),
        (command(B, A, OURS) + FLUSH, "did not push"),
        (command(ZERO, A, "refs/heads/main") + FLUSH, "may push to"),
        (command(ZERO, A, OURS + "x") + FLUSH, "may push to"),
        (command(ZERO, A, "refs/tags/claude/fix-12345") + FLUSH, "may push to"),
        (command(A, ZERO, OURS) + FLUSH, "deleting"),
        (command(ZERO, A, OURS) + encode(f"{ZERO} {A} refs/heads/main".encode()) + FLUSH, "2 commands"),
        (command(ZERO, A, OURS, "report-status push-options") + FLUSH, "push options"),
        (encode(b"push-cert\0 report-status\n"), "certificates"),
    ],
)
def test_each_push_is_judged(data: bytes, says: str) -> None:
    push = read_push(data)
    assert push is not None

    why = refusal(push, "claude/fix-12345", {A})

    assert (says in why) if says else not why


@given(
    old=st.sampled_from([ZERO, A, B]),
    new=st.sampled_from([ZERO, A, B]),
    ref=st.sampled_from([OURS, "refs/heads/main", "refs/tags/x", "HEAD", OURS + "/x", "refs/heads/claude"]),
    own=st.sets(st.sampled_from([A, B])),
)
def test_only_the_own_branch_is_ever_moved_and_only_from_where_it_was_left(
    old: str, new: str, ref: str, own: set[str]
) -> None:
    push = read_push(command(old, new, ref) + FLUSH)
    assert push is not None

    let_through = not refusal(push, "claude/fix-12345", own)

    assert let_through == (ref == OURS and new != ZERO and (old == ZERO or old in own))


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        f"{A} {B}".encode(),
        f"{A} {'b' * 41} {OURS}".encode(),
        f"{A[:39]}g {B} {OURS}".encode(),
        f"{A} {B} ".encode() + b"\xff\xfe",
        b"shallow nonsense",
    ],
)
def test_what_is_no_command_is_an_error(line: bytes) -> None:
    with pytest.raises(PktLineError):
        read_push(encode(line) + FLUSH)


@pytest.mark.parametrize("capabilities", [CAPABILITIES, "report-status"])
def test_a_rejection_is_a_report_that_names_the_reason(capabilities: str) -> None:
    push = read_push(command(ZERO, A, "refs/heads/main", capabilities) + FLUSH)
    assert push is not None
    report = ReportReader(push.side_band)

    for byte in rejection(push, "not yours"):
        report.feed(bytes([byte]))

    assert report.rejected == {"refs/heads/main": "not yours"}
    assert not report.accepted


@given(st.lists(st.integers(0, 9)), st.booleans())
def test_a_report_is_read_however_it_is_cut(sizes: list[int], side_band: bool) -> None:
    inner = encode(b"unpack ok\n") + encode(b"ok refs/heads/x\n") + FLUSH
    data = encode(b"\x02noise\n") + encode(b"\x01" + inner[:7]) + encode(b"\x01" + inner[7:]) + FLUSH
    report = ReportReader(side_band)

    for piece in cut(data if side_band else inner, sizes):
        report.feed(piece)

    assert report.unpacked
    assert report.accepted == {"refs/heads/x"}


@given(st.binary(max_size=200))
def test_a_report_of_any_bytes_is_no_error(data: bytes) -> None:
    ReportReader(side_band=True).feed(data)
    RefReader("refs/heads/x").feed(data)


def test_a_ref_is_found_in_an_advertisement() -> None:
    reader = RefReader("refs/heads/x")
    data = encode(b"# service=git-receive-pack\n") + FLUSH
    data += encode(f"{A} refs/heads/main\0report-status".encode()) + encode(f"{B} refs/heads/x\n".encode())

    for byte in data + FLUSH:
        reader.feed(bytes([byte]))

    assert reader.value == B


def test_the_three_endpoints_are_recognised() -> None:
    base = "/git/git.example:8443/acme/my.repo.git"
    found = endpoint("GET", f"{base}/info/refs?service=git-upload-pack")

    assert (found.host, found.repository, found.service, found.advertisement) == (
        "git.example:8443",
        "acme/my.repo",
        Service.UPLOAD_PACK,
        True,
    )
    assert endpoint("POST", f"{base}/git-receive-pack").service is Service.RECEIVE_PACK


@given(st.text(max_size=60))
def test_no_other_path_is_an_endpoint(text: str) -> None:
    path = f"/git/git.example/acme/repo.git/{text}"
    if text in ("git-upload-pack", "git-receive-pack"):
        return
    with pytest.raises(Refusal):
        endpoint("POST", path)
