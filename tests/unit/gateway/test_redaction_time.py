"""What an agent writes cannot make redaction slow, and an escape before a secret does not hide it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.gateway.redaction import MASK, redact
from claude_operator.wire.message import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

# What each pattern begins with, and what keeps it going.
PIECES: Sequence[str] = (
    "sk-ant-", "sk-", "sk-proj-", "ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA", "AIza", "npm_",
    "pypi-", "eyJ", "eyJ-", "eyJaaaaaaaaaa.", "eyJaaaaaaaaaa.eyJaaaaaaaaaa.",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "://a:", "://", "bearer ", "basic ", "-", "----",
    ".", "A", "a", "\\n", "\\", "@", ":", " ",
)  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_a_full_event_of_any_beginning_is_read_in_a_blink(piece: str) -> None:
    hostile = piece * (MAX_EVENT_BYTES // len(piece))
    begun = time.process_time()
    redact(hostile)
    # Linear patterns take up to 0.05 s here, the quadratic ones took 60.
    assert time.process_time() - begun < 2


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4))
def test_no_mixture_of_them_is_slow_either(pieces: list[str]) -> None:
    mixed = "".join(pieces)
    begun = time.process_time()
    redact(mixed * (32_768 // len(mixed)))
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("before", ["\n", "\t", "\r\n", " ", "=", '"', "\\", ""])
@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJlLXZhbHVl",
        "AKIAIOSFODNN7EXAMPLE",
        "npm_" + "a" * 36,
        "-----BEGIN PRIVATE KEY-----\nMIIE\nProc-Type: 4,ENCRYPTED\n-----END PRIVATE KEY-----",
    ],
)
def test_a_secret_is_found_wherever_it_stands(before: str, secret: str) -> None:
    text = orjson.dumps({"out": f"{before}{secret}\n"}).decode()

    assert orjson.loads(redact(text)) == {"out": f"{before}{MASK}\n"}


@given(st.text(alphabet='-BEGIN PRIVATEKY"\\n', max_size=80))
def test_half_a_key_never_breaks_json(rest: str) -> None:
    value: dict[str, Any] = {"out": "-----BEGIN PRIVATE KEY-----" + rest, "after": rest}

    assert set(orjson.loads(redact(orjson.dumps(value).decode()))) == {"out", "after"}
