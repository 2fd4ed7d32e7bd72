"""The served OpenAPI document against the server: no 5xx, no status and no body that it does not promise.

CI runs a share; `make test-schema` runs 10,000 cases.
"""

import os
from collections.abc import Iterator

import pytest
from schemathesis.generation import GenerationMode

from tests.cluster.controlplane import ControlPlane
from tests.integration.shim.process import SECRET
from tests.integration.shim.promises import in_a_thread, statuses_of
from tests.integration.shim.stage import Stage, staged

pytestmark = pytest.mark.controlplane

CASES = int(os.environ.get("SCHEMA_CASES", "200"))


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A shim, and in this process the record that it asks."""
    context = staged(control_plane, tmp_path_factory.mktemp("schema"))
    with in_a_thread(context, lambda stage: stage.shim.start(CLAUDE_SHIM_RATE_LIMIT="0")) as stage:
        yield stage


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("path", "method", "mode", "share"),
    [
        ("/api/webhooks/claude", "POST", GenerationMode.POSITIVE, 0.5),
        ("/api/webhooks/claude", "POST", GenerationMode.NEGATIVE, 0.48),
        # A GET without parameters has nothing that could be wrong.
        ("/health", "GET", GenerationMode.POSITIVE, 0.01),
        ("/api/webhooks/health", "GET", GenerationMode.POSITIVE, 0.01),
    ],
)
def test_the_server_keeps_what_its_document_promises(
    served: Stage, path: str, method: str, mode: GenerationMode, share: float
) -> None:
    headers = {"Authorization": f"Bearer {SECRET}"}
    statuses = statuses_of(
        served.shim.url, (method, path), mode, round(CASES * share), lambda case: case.call(headers=headers)
    )
    if method == "POST":
        # Cases that never get past the first check would prove little.
        wanted = {400} if mode is GenerationMode.NEGATIVE else {200, 404}
        assert wanted <= statuses.keys()
    assert "Traceback" not in served.shim.log.read_text(), served.shim.tail()
