"""Generated requests against the OpenAPI document that a running shim serves."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

    from schemathesis import GenerationMode
    from schemathesis.core.transport import Response

S = TypeVar("S")
T = TypeVar("T")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
START_SECONDS = 60


@contextmanager
def in_a_thread(
    context: AbstractAsyncContextManager[S], start: Callable[[S], Coroutine[Any, Any, Any]]
) -> Iterator[S]:
    """A stage for tests that are no coroutines: what it runs in this process lives in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=START_SECONDS)

    async def enter() -> S:
        return await context.__aenter__()

    async def leave() -> None:
        await context.__aexit__(None, None, None)

    try:
        stage = run(enter())
        try:
            run(start(stage))
            yield stage
        finally:
            run(leave())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def statuses_of(
    url: str,
    operation: tuple[str, str],
    mode: GenerationMode,
    cases: int,
    send: Callable[[schemathesis.Case[Any]], Response],
) -> Counter[int]:
    """Send so many requests for `operation` (method, path); the answers' statuses, counted.

    Raises:
        Exception: an answer was none that the document promises.
    """
    method, path = operation
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=max(2, cases),
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def holds(case: schemathesis.Case[Any]) -> None:
        response = send(case)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    holds()
    print(f"{mode.value} {method} {path}: {sorted(statuses.items())}")
    return statuses
