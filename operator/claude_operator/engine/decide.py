"""From what is observed to what is done next: a chain of small policies, the first that has an answer wins.

Level-triggered: a decision depends on what is, never on how it came about, so that a crash, a missed
event or a second controller changes nothing but the time. Each policy reads as one rule of the life of
a session; `decide` lists them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from claude_operator.engine import attempt as attempts
from claude_operator.engine import dependencies, resolve, status, verdict
from claude_operator.engine.decision import (
    Ask,
    CloseAttempt,
    Decision,
    JobPlan,
    ReportOutcome,
    SessionEvent,
    TellCancel,
)
from claude_operator.engine.job import job_name
from claude_operator.engine.observation import Intent, Observed, Proposal, Session
from claude_operator.engine.views import format_time, parse_time
from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.session import SessionType
from claude_operator.resources.session_status import Attempt, SessionStatus, WaitingFor
from claude_operator.wire.internal import Callback, Outcome

if TYPE_CHECKING:
    from claude_operator.engine.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Situation:
    """What every policy is given."""

    observed: Observed
    intent: Intent
    now: datetime
    config: EngineConfig


Policy = Callable[[Situation], Decision | None]


def decide(observed: Observed, *, now: datetime, config: EngineConfig) -> Decision:
    """The next step of one session; an empty Decision: nothing is to be done."""
    session = observed.session
    if session.deleting:
        # Owner references take Job and pod with it; the controller fences its tokens.
        return Decision()
    if session.status.phase.final:
        return _stop_what_is_left(observed)
    if session.intent is None:
        return _finish_unreadable(observed, now=now)
    situation = Situation(observed=observed, intent=session.intent, now=now, config=config)
    policies: tuple[Policy, ...] = (
        _follow_open_attempt,
        _cancel_before_start,
        _hold_suspended,
        _hold_paused,
        _wait_for_dependencies,
        _wait_for_project,
        _refuse_invalid_choice,
        _stop_ended_attempt,
        _wait_for_retry,
        _start,
    )
    return next(decision for policy in policies if (decision := policy(situation)) is not None)


# What is final stays final; only a Job that still runs is stopped.


def _stop_what_is_left(observed: Observed) -> Decision:
    return Decision(delete_job=attempts.unstopped(observed.session.uid, observed.jobs, observed.pods))


def _finish_unreadable(observed: Observed, *, now: datetime) -> Decision:
    message = f"{observed.session.spec_error}; create a corrected session"
    end = End(Phase.FAILED, Reason.INVALID_SPEC, message)
    return _finish(observed, SessionType.IMPLEMENTATION, end, now=now)


# The open attempt.


def _follow_open_attempt(situation: Situation) -> Decision | None:
    observed, config, now = situation.observed, situation.config, situation.now
    attempt = attempts.open_attempt(observed)
    if attempt is None:
        return None
    end = attempts.ended(attempt, now=now, config=config)
    if end is not None:
        return _conclude(situation, attempt, end)
    running = _agent_has_started(attempt)
    if situation.intent.cancel:
        return _cancel_attempt(situation, attempt, running=running)
    return _show_running(situation, attempt) if running else _show_starting(situation, attempt)


def _agent_has_started(attempt: attempts.OpenAttempt) -> bool:
    if attempt.recorded is not None and attempt.recorded.start_time is not None:
        # A pod that ends is no longer ready; it has not gone back to starting.
        return True
    return attempt.pod is not None and attempt.pod.ready_since is not None


def _show_running(situation: Situation, attempt: attempts.OpenAttempt) -> Decision:
    observed = situation.observed
    wanted = status.standing(observed.session, Phase.RUNNING, Reason.RUNNING, "", now=situation.now)
    entry = status.running_attempt(attempt)
    wanted = _with_choices(status.with_attempt(wanted, entry), situation)
    wanted = wanted.model_copy(update={"start_time": wanted.start_time or entry.start_time})
    return replace(_write(observed, wanted), wake_at=_lost_at(situation, attempt))


def _show_starting(situation: Situation, attempt: attempts.OpenAttempt) -> Decision:
    observed, now = situation.observed, situation.now
    problem = attempts.start_problem(attempt)
    assert attempt.job is not None, "an attempt without its Job has ended"
    deadline = attempt.job.created + timedelta(seconds=situation.intent.start_deadline_seconds)
    if now >= deadline:
        reason, message = problem or (Reason.START_DEADLINE_EXCEEDED, "the agent did not start in time")
        late = (
            f"not started within startDeadlineSeconds ({situation.intent.start_deadline_seconds}): {message}"
        )
        return _conclude(situation, attempt, attempts.Ended(reason, late))
    reason, message = problem or (Reason.STARTING, "")
    wanted = status.standing(observed.session, Phase.STARTING, reason, message, now=now)
    wanted = _with_choices(status.with_attempt(wanted, status.running_attempt(attempt)), situation)
    patience = situation.config.settle_seconds if problem else situation.config.starting_settle_seconds
    decision = _settle(observed, wanted, patience, now=now)
    soonest = min(filter(None, (decision.wake_at, deadline, _lost_at(situation, attempt))))
    return replace(decision, wake_at=soonest)


def _lost_at(situation: Situation, attempt: attempts.OpenAttempt) -> datetime | None:
    pod, config = attempt.pod, situation.config
    if pod is None or pod.deleting_since is None:
        return None
    return pod.deleting_since + timedelta(seconds=pod.grace_seconds + config.lost_after_seconds)


def _cancel_attempt(situation: Situation, attempt: attempts.OpenAttempt, *, running: bool) -> Decision:
    observed, now, config = situation.observed, situation.now, situation.config
    told = observed.gateway.cancel_told_at
    if told is None:
        return _asking(situation, TellCancel(grace_seconds=config.cancel_grace_seconds))
    over = told + timedelta(seconds=config.cancel_grace_seconds)
    if not running or now >= over:
        # Nothing runs that could checkpoint, or it had its time: fence it, finish, and the Job is
        # deleted once the final status is written.
        return _conclude(situation, attempt, attempts.Ended(Reason.CANCELLED, "cancelled by spec.cancel"))
    message = "the runner was told to stop; it saves its work first"
    wanted = status.standing(observed.session, Phase.RUNNING, Reason.CANCELLING, message, now=now)
    wanted = status.with_attempt(wanted, status.running_attempt(attempt))
    decision = _settle(observed, wanted, config.settle_seconds, now=now)
    return replace(decision, wake_at=min(filter(None, (decision.wake_at, over))))


def _conclude(situation: Situation, attempt: attempts.OpenAttempt, end: attempts.Ended) -> Decision:
    """The attempt is over: fence it, take the gateway's numbers, then finish, pause or try again."""
    observed, now = situation.observed, situation.now
    if observed.gateway.closed < attempt.number:
        return _asking(situation, CloseAttempt(number=attempt.number))
    session_record = observed.gateway.record
    record = verdict.attempt_record(session_record, attempt.number)
    # A leader whose view is old learns of the cancellation from the record alone.
    cancel = situation.intent.cancel or (session_record is not None and session_record.cancel_requested)
    end = verdict.judge(end, record, cancel=cancel)
    entry = status.ended_attempt(attempt, end, record.usage if record else None, now=now)
    if end.reason is Reason.COMPLETED:
        return _finish_session(situation, End(Phase.SUCCEEDED, end.reason, end.message), entry)
    if end.reason is Reason.CANCELLED:
        return _finish_session(situation, End(Phase.CANCELLED, end.reason, end.message), entry)
    if end.reason in verdict.CAPS:
        # The CLI stops at a cap in words of its own, which name no field.
        spent = observed.gateway.record.usage if observed.gateway.record else None
        reached = verdict.cap_reached(observed.session.status.limits, spent) or end.message
        return _between(situation, entry, Phase.PAUSED, end.reason, f"{reached}; raise the limit to go on")
    at = verdict.retry_at(
        status.with_attempt(observed.session.status, entry).attempts,
        situation.intent,
        situation.config,
        ended=parse_time(entry.completion_time) if entry.completion_time else now,
    )
    if at is None:
        return _finish_session(situation, End(Phase.FAILED, end.reason, end.message), entry)
    message = f"attempt {attempt.number} ended with {end.reason}: {end.message}; the next one starts soon"
    return _between(situation, entry, Phase.PENDING, Reason.RETRYING, message)


def _between(situation: Situation, entry: Attempt, phase: Phase, reason: Reason, message: str) -> Decision:
    observed = situation.observed
    wanted = status.standing(observed.session, phase, reason, message, now=situation.now)
    wanted = wanted.model_copy(update={"start_time": wanted.start_time or entry.start_time})
    wanted = status.with_record(status.with_attempt(wanted, entry), observed.gateway.record)
    return replace(_write(observed, wanted), event=SessionEvent(warning=True, reason=reason, message=message))


# No attempt is open.


def _cancel_before_start(situation: Situation) -> Decision | None:
    if not situation.intent.cancel:
        return None
    return _finish_session(situation, End(Phase.CANCELLED, Reason.CANCELLED, "cancelled before it started"))


def _hold_suspended(situation: Situation) -> Decision | None:
    if not situation.intent.suspend or situation.observed.session.status.attempts:
        return None
    return _hold(situation, Phase.PENDING, Reason.SUSPENDED, "set spec.suspend to false to start it")


def _hold_paused(situation: Situation) -> Decision | None:
    seen = situation.observed.session.status
    project = situation.observed.project
    if seen.phase is not Phase.PAUSED or project is None or project.spec is None:
        return None
    limits = resolve.resolve(situation.intent, project.spec, situation.config).limits
    reached = verdict.cap_reached(limits, seen.usage)
    if limits != seen.limits and not reached:
        return None
    # The CLI and the gateway count turns differently: unchanged limits would only be reached again.
    last = seen.attempts[-1] if seen.attempts else None
    reason = last.reason if last is not None and last.reason is not None else Reason.BUDGET_EXCEEDED
    message = reached or (last.message if last is not None and last.message else "a cap was reached")
    return _hold(situation, Phase.PAUSED, reason, f"{message}; raise the limit to go on")


def _wait_for_dependencies(situation: Situation) -> Decision | None:
    observed = situation.observed
    checks = dependencies.check(situation.intent.dependencies, observed.dependencies)
    for check in checks:
        if check.holds is dependencies.Holds.NEVER:
            return _finish_session(situation, _unmet(check))
    for check in checks:
        if check.state.cycle:
            way = " → ".join(check.state.cycle)
            message = f"dependencies form a cycle: {way}; delete one of these sessions and create it anew"
            return _finish_session(situation, End(Phase.FAILED, Reason.DEPENDENCY_CYCLE, message))
    unmet = [check for check in checks if check.holds is dependencies.Holds.NOT_YET]
    if not unmet:
        return None
    waiting = [
        WaitingFor(name=c.intent.name, phase=c.state.phase.value if c.state.phase else "Absent")
        for c in unmet
    ]
    names = ", ".join(f"{each.name} ({each.phase})" for each in waiting)
    return _hold(
        situation, Phase.WAITING, Reason.WAITING_FOR_DEPENDENCIES, f"waiting for {names}", waiting=waiting
    )


def _unmet(check: dependencies.Check) -> End:
    name, phase = check.intent.name, check.state.phase
    why = f": {check.state.reason}: {check.state.message}" if check.state.reason else ""
    if check.intent.when.value == "Succeeded":
        message = f"dependency {name!r} ended as {phase}{why}"
        return End(Phase.FAILED, Reason.DEPENDENCY_FAILED, message)
    message = f"dependency {name!r} ended as {phase}, so `when: {check.intent.when}` can no longer hold{why}"
    return End(Phase.SKIPPED, Reason.DEPENDENCY_NOT_MET, message)


def _wait_for_project(situation: Situation) -> Decision | None:
    project, name = situation.observed.project, situation.intent.project
    if project is None:
        message = f"ClaudeProject {name!r} does not exist in this namespace; create it, or name another"
        return _hold(situation, Phase.WAITING, Reason.PROJECT_NOT_READY, message)
    if project.spec is None or not project.ready:
        message = f"ClaudeProject {name!r} is not ready: {project.message}"
        return _hold(situation, Phase.WAITING, Reason.PROJECT_NOT_READY, message)
    if project.spec.paused:
        message = f"ClaudeProject {name!r} is paused"
        return _hold(situation, Phase.WAITING, Reason.PROJECT_PAUSED, message)
    return None


def _refuse_invalid_choice(situation: Situation) -> Decision | None:
    project = situation.observed.project
    assert project is not None, "the chain waits for the project first"
    assert project.spec is not None, "the chain waits for the project first"
    notify = situation.observed.session.notify
    found = resolve.problems(situation.intent, project.spec, notify_url=notify.url if notify else None)
    if not found:
        return None
    return _finish_session(situation, End(Phase.FAILED, Reason.INVALID_SPEC, "; ".join(found)))


def _stop_ended_attempt(situation: Situation) -> Decision | None:
    """A pod of an attempt that was given up may still run; the gateway has fenced it, now stop it."""
    left = _stop_what_is_left(situation.observed)
    return left if left.delete_job is not None else None


def _wait_for_retry(situation: Situation) -> Decision | None:
    seen = situation.observed.session.status
    if not seen.attempts or seen.phase is Phase.PAUSED:
        return None
    last = seen.attempts[-1]
    if last.completion_time is None:
        return None
    at = verdict.retry_at(
        seen.attempts, situation.intent, situation.config, ended=parse_time(last.completion_time)
    )
    if at is None or situation.now >= at:
        return None
    return Decision(wake_at=at)


def _start(situation: Situation) -> Decision:
    observed = situation.observed
    session = observed.session
    number = attempts.next_attempt(observed)
    plan = JobPlan(attempt=number, name=job_name(session.name, session.uid, number))
    if observed.job_conflict:
        message = (
            f"a Job named {observed.job_conflict!r} exists that is not this session's; delete it, or create "
            "the session under another name"
        )
        return _finish_session(situation, End(Phase.FAILED, Reason.JOB_CONFLICT, message))
    if observed.job_refused:
        message = f"the API server refuses its Job, it is tried again: {observed.job_refused}"
        return _hold(situation, Phase.PENDING, Reason.POD_REFUSED, message)
    return Decision(create_job=plan)


# Statuses and their writing.


@dataclass(frozen=True, slots=True)
class End:
    """A final phase and its reason."""

    phase: Phase
    reason: Reason
    message: str


def _finish_session(situation: Situation, end: End, entry: Attempt | None = None) -> Decision:
    return _finish(situation.observed, situation.intent.type, end, now=situation.now, entry=entry)


def _finish(
    observed: Observed, kind: SessionType, end: End, *, now: datetime, entry: Attempt | None = None
) -> Decision:
    """Record the outcome at the gateway first, then write it.

    Whichever crash comes between: the first outcome stands, and every later decision repeats it.
    """
    session, record, outcome = observed.session, observed.gateway.record, observed.gateway.outcome
    if outcome is None:
        published = record.published if record else None
        outcome = Outcome(
            namespace=session.namespace,
            name=session.name,
            uid=session.uid,
            type=kind,
            phase=end.phase,
            reason=end.reason,
            message=end.message,
            summary=status.summary_of(record),
            branch=published.branch if published else None,
            commit=published.commit if published else None,
            artifacts=[artifact.path for artifact in record.artifacts] if record else [],
            finished_at=format_time(now),
            callback=callback_of(session),
        )
        return Decision(ask=ReportOutcome(outcome=outcome))
    phase = Phase(outcome.phase) if outcome.phase in set(Phase) else end.phase
    reason = outcome.reason or end.reason
    wanted = status.standing(session, phase, reason, outcome.message, now=now)
    if entry is not None:
        wanted = status.with_attempt(wanted, entry)
        wanted = wanted.model_copy(update={"start_time": wanted.start_time or entry.start_time})
    wanted = status.with_record(wanted, record)
    wanted = wanted.model_copy(update={"completion_time": outcome.finished_at or format_time(now)})
    event = None
    if phase is not Phase.SUCCEEDED:
        event = SessionEvent(warning=phase is Phase.FAILED, reason=reason, message=outcome.message)
    return Decision(status=wanted, event=event)


def callback_of(session: Session) -> Callback | None:
    """Whom the gateway is to tell of the session's end."""
    notify = session.notify
    if notify is None:
        return None
    return Callback(
        url=notify.url, secret=notify.secret, session_id=notify.session_id, project=notify.project
    )


def _asking(situation: Situation, ask: Ask) -> Decision:
    """The gateway is needed; while it cannot be reached, the status says so."""
    observed = situation.observed
    if not observed.gateway.unavailable:
        return Decision(ask=ask)
    seen = observed.session.status
    message = f"waiting for the gateway: {observed.gateway.unavailable}"
    wanted = status.standing(
        observed.session, seen.phase, Reason.GATEWAY_UNAVAILABLE, message, now=situation.now
    )
    decision = _settle(observed, wanted, situation.config.settle_seconds, now=situation.now)
    return replace(decision, ask=ask)


def _hold(
    situation: Situation,
    phase: Phase,
    reason: Reason,
    message: str,
    *,
    waiting: list[WaitingFor] | None = None,
) -> Decision:
    observed = situation.observed
    wanted = status.standing(observed.session, phase, reason, message, now=situation.now)
    wanted = wanted.model_copy(update={"waiting_for": waiting or []})
    return _settle(observed, wanted, situation.config.settle_seconds, now=situation.now)


def _settle(observed: Observed, wanted: SessionStatus, patience: float, *, now: datetime) -> Decision:
    """Write it once it has lasted: what is over within `patience` seconds costs no write."""
    if wanted == observed.session.status:
        return Decision()
    reason = Reason(status.current_reason(wanted))
    proposal = observed.proposal
    if proposal is None or (proposal.phase, proposal.reason) != (wanted.phase, reason):
        proposal = Proposal(phase=wanted.phase, reason=reason, since=now)
    due = proposal.since + timedelta(seconds=patience)
    if now >= due:
        return Decision(status=wanted)
    return Decision(wake_at=due, proposal=proposal)


def _write(observed: Observed, wanted: SessionStatus) -> Decision:
    if wanted == observed.session.status:
        return Decision()
    return Decision(status=wanted)


def _with_choices(wanted: SessionStatus, situation: Situation) -> SessionStatus:
    """What was resolved for it, once: a later change of the project does not change what runs."""
    project = situation.observed.project
    if project is None or project.spec is None:
        return wanted
    resolved = resolve.resolve(situation.intent, project.spec, situation.config)
    return wanted.model_copy(
        update={
            "model": wanted.model or resolved.model,
            "image": wanted.image or resolved.image,
            "limits": resolved.limits,
        }
    )
