"""The rules of a session's life, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from claude_operator.engine.decide import decide
from claude_operator.engine.decision import Decision, ReportOutcome
from claude_operator.engine.dependencies import find_cycle
from claude_operator.engine.observation import DependencyState, GatewayFacts, Observed
from claude_operator.engine.views import format_time
from claude_operator.resources.condition import ConditionStatus, ConditionType, initial_conditions
from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.session_status import Usage
from claude_operator.wire.internal import Callback, SessionRecord
from tests.unit.engine.objects import CONFIG, NOW, UID, observed, project, session
from tests.unit.engine.test_attempt import job, pod, terminated

if TYPE_CHECKING:
    from claude_operator.resources.session_status import SessionStatus

NEEDS_PLAN = [{"name": "plan"}]


def now(seen: Observed, *, after: float = 0) -> Decision:
    return decide(seen, now=NOW + timedelta(seconds=after), config=CONFIG)


def lasting(seen: Observed) -> SessionStatus:
    """The status that is written once the situation has lasted."""
    first = now(seen)
    assert first.status is None, "nothing is written for what may be over in a moment"
    assert first.wake_at is not None
    later = now(replace(seen, proposal=first.proposal), after=3)
    assert later.status is not None
    return later.status


def final(seen: Observed) -> SessionStatus:
    """The status of a session whose outcome the gateway has taken."""
    decision = now(seen)
    assert isinstance(decision.ask, ReportOutcome), "the outcome is on record before it is in status"
    told = replace(seen, gateway=replace(seen.gateway, outcome=decision.ask.outcome))
    written = now(told).status
    assert written is not None
    return written


def message(status: SessionStatus) -> str:
    return next(c.message for c in status.conditions if c.type == ConditionType.READY)


def reason(status: SessionStatus) -> str:
    return next(c.reason for c in status.conditions if c.type == ConditionType.READY)


def waiting_on(*states: DependencyState, when: str = "Succeeded") -> Observed:
    needs = [{"name": state.name, "when": when} for state in states]
    return observed(session=session(dependencies=needs), dependencies=states)


def test_an_unblocked_session_starts_at_once() -> None:
    decision = now(observed())
    assert decision.create_job is not None
    assert decision.create_job.attempt == 1
    assert decision.status is None


def test_a_deleted_session_is_left_alone() -> None:
    assert now(observed(session=replace(session(), deleting=True))) == Decision()


def test_a_spec_that_cannot_be_read_fails_by_field() -> None:
    status = final(observed(session=session(priority="very")))
    assert (status.phase, reason(status)) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert "spec.priority: " in message(status)


def test_an_output_schema_that_cannot_be_one_is_an_invalid_spec() -> None:
    status = final(observed(session=session(outputSchema='{"type": "string"}')))
    assert (status.phase, reason(status)) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert message(status) == (
        "spec.outputSchema: is not the schema of an object; write a JSON Schema as text, an object with "
        '"type": "object" (got \'{"type": "string"}\'); create a corrected session'
    )


def test_suspend_holds_and_releasing_starts() -> None:
    status = lasting(observed(session=session(suspend=True)))
    assert (status.phase, reason(status)) == (Phase.PENDING, Reason.SUSPENDED)
    assert now(observed(session=session(suspend=False))).create_job is not None


def test_cancel_before_the_start_never_starts_it() -> None:
    status = final(observed(session=session(cancel=True, suspend=True)))
    assert (status.phase, reason(status)) == (Phase.CANCELLED, Reason.CANCELLED)


@pytest.mark.parametrize("phase", [None, Phase.PENDING, Phase.WAITING, Phase.RUNNING, Phase.PAUSED])
def test_an_unfinished_dependency_is_waited_for(phase: Phase | None) -> None:
    status = lasting(waiting_on(DependencyState(name="plan", phase=phase)))
    assert (status.phase, reason(status)) == (Phase.WAITING, Reason.WAITING_FOR_DEPENDENCIES)
    assert [(w.name, w.phase) for w in status.waiting_for] == [("plan", phase.value if phase else "Absent")]


@pytest.mark.parametrize(
    ("when", "phase", "outcome"),
    [
        ("Succeeded", Phase.SUCCEEDED, None),
        ("Succeeded", Phase.FAILED, (Phase.FAILED, Reason.DEPENDENCY_FAILED)),
        ("Succeeded", Phase.CANCELLED, (Phase.FAILED, Reason.DEPENDENCY_FAILED)),
        ("Succeeded", Phase.SKIPPED, (Phase.FAILED, Reason.DEPENDENCY_FAILED)),
        ("Failed", Phase.FAILED, None),
        ("Failed", Phase.SUCCEEDED, (Phase.SKIPPED, Reason.DEPENDENCY_NOT_MET)),
        ("Failed", Phase.CANCELLED, (Phase.SKIPPED, Reason.DEPENDENCY_NOT_MET)),
        ("Finished", Phase.FAILED, None),
        ("Finished", Phase.CANCELLED, None),
    ],
)
def test_a_finished_dependency_decides(when: str, phase: Phase, outcome: tuple[Phase, Reason] | None) -> None:
    state = DependencyState(name="plan", phase=phase, reason=Reason.AGENT_ERROR, message="no luck")
    seen = waiting_on(state, when=when)
    if outcome is None:
        assert now(seen).create_job is not None
        return
    status = final(seen)
    assert (status.phase, reason(status)) == outcome
    assert "'plan'" in message(status), "the message names the dependency"


def test_a_failed_dependency_is_named_with_its_reason() -> None:
    state = DependencyState(
        name="plan", phase=Phase.FAILED, reason=Reason.CLONE_FAILED, message="no such repo"
    )
    assert message(final(waiting_on(state))) == "dependency 'plan' ended as Failed: CloneFailed: no such repo"


def test_a_cycle_is_spelled_out() -> None:
    state = DependencyState(name="plan", phase=Phase.WAITING, cycle=("first", "plan", "first"))
    status = final(waiting_on(state))
    assert reason(status) == Reason.DEPENDENCY_CYCLE
    assert "first → plan → first" in message(status)


def test_cycles_are_found_by_their_shortest_way() -> None:
    edges = {"a": ["b", "x"], "b": ["c"], "c": ["a", "b"], "x": []}
    assert find_cycle("a", lambda name: edges.get(name, [])) == ("a", "b", "c", "a")
    assert find_cycle("x", lambda name: edges.get(name, [])) == ()
    assert find_cycle("s", lambda _: ["s"]) == ("s", "s")


def test_a_missing_or_unready_project_is_waited_for() -> None:
    status = lasting(observed(project=None))
    assert (status.phase, reason(status)) == (Phase.WAITING, Reason.PROJECT_NOT_READY)
    assert "'default' does not exist" in message(status)
    status = lasting(observed(project=project(ready=False)))
    assert "Secret default/anthropic does not exist" in message(status)
    status = lasting(observed(project=project(paused=True)))
    assert reason(status) == Reason.PROJECT_PAUSED


def test_a_verdict_on_an_older_generation_of_the_project_does_not_count() -> None:
    stale = replace(project(), ready=False, message="the gateway has not checked it yet")
    assert now(observed(project=stale)).create_job is None


def test_a_choice_that_the_project_forbids_fails_at_once() -> None:
    status = final(observed(session=session(model="gpt")))
    assert (status.phase, reason(status)) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert message(status).startswith("spec.model: 'gpt'")


def test_a_foreign_job_in_the_way_is_an_error_and_stays() -> None:
    decision = now(observed(job_conflict="first-4982b1bd-1"))
    assert isinstance(decision.ask, ReportOutcome)
    assert decision.ask.outcome.reason is Reason.JOB_CONFLICT
    assert decision.delete_job is None


def test_the_outcome_that_stands_at_the_gateway_wins() -> None:
    cancelled = observed(session=session(cancel=True))
    asked = now(cancelled).ask
    assert isinstance(asked, ReportOutcome)
    stands = asked.outcome.model_copy(update={"phase": Phase.FAILED, "reason": Reason.AGENT_ERROR})
    status = now(replace(cancelled, gateway=GatewayFacts(outcome=stands))).status
    assert status is not None
    assert (status.phase, reason(status)) == (Phase.FAILED, Reason.AGENT_ERROR)


def test_conditions_move_only_when_they_change() -> None:
    waiting = lasting(observed(project=None))
    seen = observed(session=replace(session(), status=waiting), project=project(paused=True))
    later = now(seen, after=60)
    written = now(replace(seen, proposal=later.proposal), after=70).status
    assert written is not None
    ready = next(c for c in written.conditions if c.type == ConditionType.READY)
    assert ready.status is ConditionStatus.FALSE
    assert ready.last_transition_time == waiting.conditions[0].last_transition_time
    assert ready.reason == Reason.PROJECT_PAUSED


def test_an_unchanged_status_is_not_written_again() -> None:
    waiting = lasting(observed(project=None))
    again = observed(session=replace(session(), status=waiting), project=None)
    assert now(again, after=3600) == Decision()


def ended_once(why: str, **attempt: Any) -> dict[str, Any]:
    entry = {"number": 1, "job": "j", "completionTime": format_time(NOW), "reason": why, **attempt}
    return {"phase": "Pending", "attempts": [entry]}


def test_a_lost_node_costs_nothing_but_a_moment() -> None:
    seen = observed(session=session(status=ended_once("NodeLost")))
    assert now(seen).create_job is None
    decision = now(seen, after=6)
    assert decision.create_job is not None
    assert decision.create_job.attempt == 2


def test_a_pause_ends_when_the_limit_is_raised() -> None:
    paused = {
        **ended_once("BudgetExceeded"),
        "phase": "Paused",
        "usage": {"costUSD": 1.2},
        "limits": {"maxCostUSD": 1.0},
    }
    same = observed(session=session(status=paused, limits={"maxCostUSD": 1.0}))
    assert lasting(same).phase is Phase.PAUSED
    too_little = observed(session=session(status=paused, limits={"maxCostUSD": 1.1}))
    assert "1.2000 of 1.1 US dollars" in message(lasting(too_little))
    raised = now(observed(session=session(status=paused, limits={"maxCostUSD": 5})))
    assert raised.create_job is not None
    assert raised.create_job.attempt == 2


def test_a_pause_names_the_limit_that_was_reached() -> None:
    """The CLI stops by itself at some caps, in words that name no field."""
    running = {**ended_once("BudgetExceeded"), "phase": "Running", "limits": {"maxCostUSD": 1.0}}
    running["attempts"] = [{"number": 1, "job": "first-abc-1"}]
    record = SessionRecord(uid=UID, namespace="default", name="first", usage=Usage(cost_usd=1.2))
    left_word = '{"reason": "BudgetExceeded", "message": "Reached maximum budget ($1)"}'
    seen = observed(
        session=session(status=running, limits={"maxCostUSD": 1.0}),
        jobs=(job(),),
        pods=(pod(phase="Failed", state=terminated(1, message=left_word)),),
        gateway=GatewayFacts(record=record, closed=1),
    )
    written = now(seen).status
    assert written is not None
    assert written.phase is Phase.PAUSED
    assert (
        message(written) == "limits.maxCostUSD: 1.2000 of 1.0 US dollars are spent; raise the limit to go on"
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (True, (Phase.CANCELLED, Reason.CANCELLED, "cancelled by spec.cancel")),
        (False, (Phase.FAILED, Reason.AGENT_ERROR, "it says that it was cancelled, by nobody: saved")),
    ],
)
def test_a_pod_that_says_it_was_cancelled_is_believed_when_somebody_asked_for_it(
    asked: bool, expected: tuple[Phase, Reason, str]
) -> None:
    """By the gateway's record: the view of the session may be older than its cancellation."""
    running = {**ended_once("Cancelled"), "phase": "Running"}
    running["attempts"] = [{"number": 1, "job": "first-abc-1"}]
    record = SessionRecord(uid=UID, namespace="default", name="first", cancel_requested=asked)
    left_word = '{"reason": "Cancelled", "message": "saved"}'
    seen = observed(
        session=session(status=running),
        jobs=(job(),),
        pods=(pod(phase="Failed", state=terminated(1, message=left_word)),),
        gateway=GatewayFacts(record=record, closed=1),
    )
    status = final(seen)
    assert (status.phase, reason(status), message(status)) == expected


def test_the_time_of_the_defaulted_condition_is_gone_with_the_first_write() -> None:
    fresh = {"phase": "Pending", "conditions": [one.to_api() for one in initial_conditions()]}
    written = lasting(observed(session=session(status=fresh, suspend=True)))
    (ready,) = (one for one in written.conditions if one.type == ConditionType.READY)
    assert ready.status is ConditionStatus.FALSE
    assert ready.last_transition_time == format_time(NOW + timedelta(seconds=3))


CALLBACK = {"url": "https://hooks.example.com/done", "secretRef": {"name": "hook"}}


@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        (observed(session=session(notify=CALLBACK, cancel=True)), Phase.CANCELLED),
        (observed(session=session(notify=CALLBACK, model="gpt")), Phase.FAILED),
        (observed(session=session(notify=CALLBACK, requirements="", project="default")), Phase.FAILED),
        (
            observed(
                session=session(notify=CALLBACK, dependencies=NEEDS_PLAN),
                dependencies=(DependencyState(name="plan", phase=Phase.FAILED),),
            ),
            Phase.FAILED,
        ),
        (
            observed(
                session=session(notify=CALLBACK, dependencies=[{"name": "plan", "when": "Failed"}]),
                dependencies=(DependencyState(name="plan", phase=Phase.SUCCEEDED),),
            ),
            Phase.SKIPPED,
        ),
    ],
    ids=["cancelled", "invalid choice", "unreadable spec", "dependency failed", "skipped"],
)
def test_every_end_names_whom_to_tell_also_without_any_attempt(seen: Observed, phase: Phase) -> None:
    asked = now(seen).ask
    assert isinstance(asked, ReportOutcome)
    assert asked.outcome.phase == phase
    assert asked.outcome.callback == Callback(
        url="https://hooks.example.com/done", secret="hook", session_id=UID, project="default"
    )


def test_a_session_without_notify_names_nobody() -> None:
    asked = now(observed(session=session(cancel=True))).ask
    assert isinstance(asked, ReportOutcome)
    assert asked.outcome.callback is None
