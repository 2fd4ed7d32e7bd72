"""The end of a run, told: to the gateway as events and result, to the controller as termination message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_operator.runner import cgroup, termination
from claude_operator.runner.gateway import GatewayRefusedError, GatewayUnavailableError
from claude_operator.runner.stop import Cause
from claude_operator.wire.session import MAX_RESULT_TEXT, RunResult, structured_output_fault

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from claude_operator.runner.attempt import Attempt
    from claude_operator.runner.record import Log
    from claude_operator.runner.verdict import Verdict

FLUSH_SECONDS = 30.0
RESULT_SECONDS = 30.0
HURRIED_SECONDS = 5.0


async def report(run: Attempt, verdict: Verdict) -> None:
    """The last events, then the result: a reader who sees the result has seen everything before it."""
    used = cgroup.read()
    structured_output = await _structured_output(run, verdict)
    said = f"finished: {verdict.reason}" + (f": {verdict.message}" if verdict.message else "")
    await run.record.step("finished", said, reason=verdict.reason.value)
    hurried = run.stop.halted or run.stop.cause is Cause.GATEWAY_LOST
    if not await run.events.flush(HURRIED_SECONDS if hurried else FLUSH_SECONDS):
        run.log.say("! the gateway did not take the last events in time")
    if run.stop.halted:
        return  # fenced: no right to; SIGTERM: the session goes on elsewhere, and the first result stands
    try:
        await run.gateway.result(
            RunResult(
                reason=verdict.reason,
                message=verdict.message[:MAX_RESULT_TEXT],
                summary=verdict.summary[:MAX_RESULT_TEXT],
                structured_output=structured_output,
                exit_code=verdict.exit_code,
                turns=verdict.turns,
                cpu_seconds=used.cpu_seconds,
                memory_peak_bytes=used.memory_peak_bytes,
            ),
            within=HURRIED_SECONDS if hurried else RESULT_SECONDS,
        )
    except (GatewayRefusedError, GatewayUnavailableError) as error:
        run.log.say(f"! the gateway did not take the result: {error.message}")


async def _structured_output(run: Attempt, verdict: Verdict) -> dict[str, JsonValue] | None:
    """What can be handed on of it: too much would make the gateway refuse the whole result."""
    output = verdict.structured_output
    if output is None:
        if run.assignment.output_schema is not None and verdict.completed:
            await run.record.step("structured_output_absent", "the agent gave no structured output")
        return None
    if fault := structured_output_fault(output):
        await run.record.step("structured_output_dropped", f"the structured output is dropped: {fault}")
        return None
    return output


def leave_word(log: Log, path: Path, verdict: Verdict) -> None:
    """The last line of the log, and the termination message."""
    said = f": {verdict.message}" if verdict.message else ""
    log.say(f"* {verdict.reason}{said}")
    try:
        termination.write(path, verdict.reason, verdict.message)
    except OSError as error:
        log.say(f"! no termination message: {error}")
