"""Bodies that are signed and still no event: they are refused when they are read, not where they are used."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from claude_operator.github.event import Payload

ABOUT: dict[str, Any] = {
    "repository": {"full_name": "acme/webapp", "html_url": "https://github.com/acme/webapp"},
    "sender": {"login": "alice"},
}


def test_what_is_not_there_has_its_default() -> None:
    payload = Payload.model_validate({**ABOUT, "issue": {"number": 12, "body": None}})
    assert payload.issue is not None
    assert (payload.issue.number, payload.issue.body, payload.moment) == (12, "", None)


@pytest.mark.parametrize(
    "about",
    [
        {"issue": {"number": False}},
        {"issue": {"number": 2**60}},
        {"comment": {"id": 0}},
        {"review": {"id": -1}},
        {"pull_request": {"number": 0}},
        {"check_suite": {"head_sha": "main"}},
        {"check_suite": {"head_sha": "a" * 40, "pull_requests": [{"number": 0}]}},
    ],
)
def test_numbers_and_commits_are_ones(about: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Payload.model_validate({**ABOUT, **about})
