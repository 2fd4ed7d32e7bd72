"""Generated events against what the served OpenAPI document promises, signed and unsigned.

CI runs a share; `make test-schema` runs 2,000 cases here.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import hmac
import itertools
import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from requests.auth import AuthBase
from schemathesis.generation import GenerationMode
from typing_extensions import override

from claude_operator.github.event import HANDLED
from tests.integration.github.stage import HEAD, SECRET, Hub, open_hub
from tests.integration.shim.promises import in_a_thread, statuses_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest
    from schemathesis import Case
    from schemathesis.core.transport import Response

    from tests.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.controlplane

CASES = int(os.environ.get("SCHEMA_CASES", "200")) // 5
OPERATION = ("POST", "/api/webhooks/github")


class Signed(AuthBase):
    """As GitHub signs: the body as it is sent."""

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        data = request.body or b""
        assert isinstance(data, bytes)
        digest = hmac.new(SECRET.encode(), data, hashlib.sha256).hexdigest()
        request.headers["X-Hub-Signature-256"] = f"sha256={digest}"
        return request


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    context = open_hub(control_plane, tmp_path_factory.mktemp("schema"))
    with in_a_thread(context, lambda _: asyncio.sleep(0)) as hub:
        yield hub


@pytest.mark.timeout(3600)
def test_whoever_does_not_sign_is_told_so(served: Hub) -> None:
    for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
        statuses = statuses_of(served.shim.url, OPERATION, mode, CASES // 2, lambda case: case.call())
        assert 401 in statuses
        assert 200 not in statuses


@pytest.mark.timeout(3600)
def test_a_signed_event_of_any_shape_is_taken_or_refused(served: Hub) -> None:
    served.repo.add_pull(5, sha=HEAD)
    real = {
        "issues": served.opened(),
        "issue_comment": served.commented("@claude-bot hello", number=12),
        "pull_request_review_comment": served.remarked("@claude-bot hello", number=5),
        "pull_request_review": served.reviewed("@claude-bot hello", number=5),
        "check_suite": served.checked(number=5),
        "ping": served.event("", "alice", zen="Design for failure.") | {"action": "created"},
    }
    assert HANDLED.keys() <= real.keys()
    events = itertools.cycle(real)
    # One member of what the event is about is another thing in each case, or the event is as GitHub sends it.
    members = itertools.count()

    def send(case: Case[Any]) -> Response:
        event, generated = next(events), case.body if isinstance(case.body, dict) else {}
        body = copy.deepcopy(real[event])
        for about in ("issue", "comment", "pull_request", "review", "check_suite"):
            if about in body and next(members) % 2:
                name = sorted(body[about])[next(members) % len(body[about])]
                body[about][name] = next(iter(generated.values()), None)
        case.body = {**generated, **body}
        headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": str(uuid.uuid4())}
        return case.call(headers=headers, auth=Signed())

    statuses = statuses_of(served.shim.url, OPERATION, GenerationMode.POSITIVE, CASES, send)
    assert {200, 400} <= statuses.keys()
    assert 401 not in statuses
