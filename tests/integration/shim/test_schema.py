"""The served OpenAPI document against the server: no 5xx, no status and no body that it does not promise.

CI runs a share; `make test-schema` runs 10,000 cases.
"""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.cluster.controlplane import ControlPlane
from tests.integration.shim.process import SECRET
from tests.integration.shim.stage import Stage, staged

pytestmark = pytest.mark.controlplane

T = TypeVar("T")
CASES = int(os.environ.get("SCHEMA_CASES", "200"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A shim, and in a thread the record that it asks: these tests are no coroutines."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=60)

    async def enter(context: AbstractAsyncContextManager[Stage]) -> Stage:
        return await context.__aenter__()

    async def leave(context: AbstractAsyncContextManager[Stage]) -> None:
        await context.__aexit__(None, None, None)

    context = staged(control_plane, tmp_path_factory.mktemp("schema"))
    try:
        stage = run(enter(context))
        try:
            run(stage.shim.start(CLAUDE_SHIM_RATE_LIMIT="0"))
            yield stage
        finally:
            run(leave(context))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


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
    schema = schemathesis.openapi.from_url(f"{served.shim.url}/openapi.json")
    operation = schema[path][method]
    headers = {"Authorization": f"Bearer {SECRET}"}
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=max(2, round(CASES * share)),
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def holds(case: schemathesis.Case[Any]) -> None:
        response = case.call(headers=headers)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    holds()
    print(f"{mode.value} {method} {path}: {sorted(statuses.items())}")
    if method == "POST":
        # Cases that never get past the first check would prove little.
        wanted = {400} if mode is GenerationMode.NEGATIVE else {200, 404}
        assert wanted <= statuses.keys()
    assert "Traceback" not in served.shim.log.read_text(), served.shim.tail()
