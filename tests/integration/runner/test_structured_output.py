"""A session with an output schema, by the real CLI: what it is told, asked again, and forgiven."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claude_operator.resources.lifecycle import Reason
from tests.integration.runner.conftest import World, assignment, script
from tests.world import Step, ToolCall

if TYPE_CHECKING:
    from tests.integration.runner.pod import Pod
    from tests.integration.runner.stand_in import StandIn

pytestmark = pytest.mark.timeout(120)

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "summary": {"type": "string"},
            "nextSteps": {"type": "array", "items": {"type": "string"}},
            "anything": {},
        },
        "required": ["summary"],
    }
)
WORK = Step(tools=(ToolCall(name="Write", input={"file_path": "${CWD}/a.txt", "content": "a\n"}),))


def answer(**given: object) -> ToolCall:
    return ToolCall.model_validate({"name": "StructuredOutput", "input": given})


async def run(world: World, *steps: Step, schema: str = SCHEMA) -> tuple[StandIn, Pod]:
    gateway = await world.gateway(assignment(script(*steps), output_schema=schema))
    pod = await world.pod(gateway)
    await pod.wait()
    return gateway, pod


def steps_of(gateway: StandIn) -> list[str]:
    return [event.type for event in gateway.told.events if "structured_output" in event.type]


async def test_the_answer_comes_as_an_object_and_ends_the_turn(world: World) -> None:
    given = {"summary": "Wrote a file.\n\nAll of it.", "nextSteps": ["Write b", "é \U0001f600"]}
    gateway, pod = await run(world, WORK, Step(text=("Now my answer.",), tools=(answer(**given),)))

    [result] = gateway.told.results
    assert result.reason is Reason.COMPLETED, pod.log
    assert result.structured_output == given
    assert result.summary == given["summary"]
    assert steps_of(gateway) == []
    # One request for the work, one for the answer: nothing is asked after it.
    assert len(list(world.model.requests.since(0))) == 2
    assert world.log("claude/first-abcde")[0].endswith("Wrote a file.")


async def test_an_agent_that_gives_none_is_asked_once_more_and_its_own_words_stand(world: World) -> None:
    gateway, pod = await run(
        world, WORK, Step(text=("I wrote a file.",)), Step(text=("I have nothing to add.",))
    )

    [result] = gateway.told.results
    assert (result.reason, result.summary) == (Reason.COMPLETED, "I wrote a file."), pod.log
    assert result.structured_output is None
    assert steps_of(gateway) == ["runner.structured_output_absent"]
    assert len(list(world.model.requests.since(0))) == 3
    assert world.read("claude/first-abcde", "a.txt") == "a\n"


async def test_an_answer_of_the_wrong_form_costs_the_form_and_not_the_work(world: World) -> None:
    wrong = Step(tools=(answer(nextSteps="none"),))
    gateway, pod = await run(world, WORK, Step(text=("Done.",), tools=wrong.tools), *[wrong] * 6)

    [result] = gateway.told.results
    assert (result.reason, result.summary) == (Reason.COMPLETED, "Done."), pod.log
    assert result.structured_output is None
    assert steps_of(gateway) == ["runner.structured_output_absent"]
    assert world.read("claude/first-abcde", "a.txt") == "a\n"


@pytest.mark.parametrize(
    ("anything", "why"),
    [
        ("x" * 70_000, "it has 70037 bytes, and at most 65536 are kept"),
        (json.loads("[" * 40 + "]" * 40), "it is nested more than 32 levels deep"),
    ],
    ids=["long", "deep"],
)
async def test_an_answer_beyond_the_bounds_is_dropped_and_that_is_on_record(
    world: World, anything: object, why: str
) -> None:
    gateway, pod = await run(world, Step(tools=(answer(summary="Too much.", anything=anything),)))

    [result] = gateway.told.results
    assert (result.reason, result.summary) == (Reason.COMPLETED, "Too much."), pod.log
    assert result.structured_output is None
    [dropped] = gateway.told.of("runner.structured_output_dropped")
    assert dropped.data["message"] == f"the structured output is dropped: {why}"


async def test_a_schema_that_the_cli_cannot_use_is_an_invalid_spec(world: World) -> None:
    schema = json.dumps({"type": "object", "properties": {"a": {"$ref": f"{world.model.url}/schema.json"}}})
    gateway, pod = await run(world, WORK, schema=schema)

    [result] = gateway.told.results
    assert result.reason is Reason.INVALID_SPEC, pod.log
    assert result.message.startswith("spec.outputSchema: not a valid JSON Schema: can't resolve reference")
    assert list(world.model.requests.since(0)) == [], "the CLI fetches nothing"


async def test_last_words_without_end_are_cut_and_do_not_cost_the_result(world: World) -> None:
    gateway, pod = await run(world, Step(text=("word " * 60_000,)), Step(text=("Nothing to add.",)))

    [result] = gateway.told.results
    assert (result.reason, len(result.summary)) == (Reason.COMPLETED, 256 * 1024), pod.log
