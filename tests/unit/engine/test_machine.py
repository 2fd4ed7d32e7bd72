"""Model checking: random orders of events, crashes between any two effects, stale views, two controllers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from claude_operator.resources.lifecycle import Phase, Reason
from tests.unit.engine.simulation import TOKENS_PER_ATTEMPT, Controller, World, settle

ENDS = st.sampled_from(
    [
        (Reason.COMPLETED, 0),
        (Reason.AGENT_ERROR, 1),
        (Reason.MODEL_OVERLOADED, 1),
        (Reason.TIMEOUT, 1),
        (Reason.AGENT_LOST, 137),
    ]
)


class SessionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.controllers = [Controller(self.world), Controller(self.world)]
        self.final: Phase | None = None

    @rule(which=st.integers(0, 1))
    def watch_delivers(self, which: int) -> None:
        self.controllers[which].refresh()

    @rule(which=st.integers(0, 1), crash_after=st.none() | st.integers(0, 4))
    def controller_runs(self, which: int, crash_after: int | None) -> None:
        self.controllers[which].step(crash_after=crash_after)

    @rule(which=st.integers(0, 1))
    def controller_is_killed(self, which: int) -> None:
        self.controllers[which].restart()

    @precondition(lambda self: self.world.pods)
    @rule(data=st.data())
    def pod_starts(self, data: st.DataObject) -> None:
        self.world.start_pod(data.draw(st.sampled_from(sorted(self.world.pods))))

    @precondition(lambda self: self.world.pods)
    @rule(data=st.data(), end=ENDS)
    def pod_ends(self, data: st.DataObject, end: tuple[Reason, int]) -> None:
        self.world.end_pod(data.draw(st.sampled_from(sorted(self.world.pods))), end[0], exit_code=end[1])

    @precondition(lambda self: self.world.pods)
    @rule(data=st.data())
    def image_cannot_be_pulled(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.pods)))
        pod = self.world.pods[name]
        if pod.phase == "Pending":
            self.world.pods[name] = replace(
                pod, waiting_reason="ImagePullBackOff", waiting_message="no such image"
            )

    @precondition(lambda self: self.world.jobs)
    @rule(data=st.data())
    def job_is_deleted_by_somebody(self, data: st.DataObject) -> None:
        self.world.delete_job(data.draw(st.sampled_from(sorted(self.world.jobs))))

    @rule(seconds=st.sampled_from([-3, 1, 3, 30, 61, 700]))
    def clock_moves(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule()
    def user_cancels(self) -> None:
        self.world.change_intent(cancel=True)

    @invariant()
    def a_final_phase_never_changes(self) -> None:
        phase = self.world.session.status.phase
        assert self.final in (None, phase)
        self.final = phase if phase.final else None

    @invariant()
    def nothing_lives_once_it_is_final(self) -> None:
        if self.final is not None:
            assert self.world.gateway.live is None

    @invariant()
    def attempts_are_consecutive_and_closed_before_the_next(self) -> None:
        attempts = self.world.session.status.attempts
        assert [each.number for each in attempts] == list(range(1, len(attempts) + 1))
        assert all(each.completion_time for each in attempts[:-1])
        newest = max((job.attempt for job in self.world.jobs.values()), default=0)
        assert self.world.gateway.closed >= newest - 1, "an attempt began before the last one was fenced"

    @invariant()
    def what_was_spent_is_recorded(self) -> None:
        if self.final is None or not self.world.session.status.attempts:
            return
        usage = self.world.session.status.usage
        claimed = sum(self.world.gateway.spent.values())
        assert usage is not None
        assert usage.output_tokens == claimed, f"of {claimed} tokens {usage.output_tokens} are in status"
        assert usage.output_tokens % TOKENS_PER_ATTEMPT == 0

    @override
    def teardown(self) -> None:
        settle(self.world, self.controllers[0])
        self.a_final_phase_never_changes()
        self.nothing_lives_once_it_is_final()
        self.what_was_spent_is_recorded()
        self.controllers[0].refresh()
        self.controllers[0].step()
        running = [job.name for job in self.world.jobs.values() if job.end is None]
        assert not running, f"Jobs were left running: {running}"


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSession = SessionMachine.TestCase


def test_the_happy_path_takes_three_writes() -> None:
    world = World()
    controller = Controller(world)
    controller.step()
    world.start_pod("pod-1")
    controller.refresh()
    controller.step()
    world.end_pod("pod-1", Reason.COMPLETED, exit_code=0)
    controller.refresh()
    controller.step()
    assert world.phases == [Phase.PENDING, Phase.RUNNING, Phase.SUCCEEDED]
    assert world.writes == 3
