"""The whole run of one attempt, top to bottom.

    claim -> (events, inbox, forwarder, tunnel) -> clone -> restore -> agent -> verdict -> keep -> report

Each step is a module; what the run ends with is decided in one place (`verdict`), what may still be kept
of the work follows from that in another (`keep`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner import access, cli, processes, settings
from claude_operator.runner.agent import Agent
from claude_operator.runner.attempt import Attempt
from claude_operator.runner.checkpoint import Checkpointer
from claude_operator.runner.conversation import Conversation
from claude_operator.runner.errors import RunError
from claude_operator.runner.events import EventSender
from claude_operator.runner.forwarder import Forwarder
from claude_operator.runner.gateway import Gateway
from claude_operator.runner.inbox import Inbox
from claude_operator.runner.keep import keep
from claude_operator.runner.record import Log, Record
from claude_operator.runner.report import leave_word, report
from claude_operator.runner.stop import Cause, Stop, StoppedError
from claude_operator.runner.termination import TERMINATION_PATH
from claude_operator.runner.tunnel import Tunnel
from claude_operator.runner.verdict import Verdict, judge, stopped
from claude_operator.runner.workplace import prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from claude_operator.runner.settings import Settings
    from claude_operator.runner.workplace import Workplace

EXIT_TERMINATED = 128 + signal.SIGTERM


def main(init: int) -> int:
    """Run one attempt to its end; returns the container's exit code: 0 for Completed alone."""
    return asyncio.run(_main(os.environ, init))


async def _main(env: Mapping[str, str], init: int) -> int:
    log = Log()
    stop = Stop()
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, stop.request, Cause.TERMINATED, "the pod was told to stop (SIGTERM)"
    )
    # Blocked by `init` until there is a handler for it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    termination_path = Path(TERMINATION_PATH)
    try:
        chosen = settings.from_environment(env)
        termination_path = chosen.termination_path
        verdict = await _attempt(chosen, init, stop, log)
    except RunError as error:
        verdict = Verdict(reason=error.reason, message=error.message)
    leave_word(log, termination_path, verdict)
    if stop.terminated:
        return EXIT_TERMINATED
    return 0 if verdict.completed else 1


async def _attempt(chosen: Settings, init: int, stop: Stop, log: Log) -> Verdict:
    """From the claim to the report.

    Raises:
        RunError: the pod could not even become this session's.
    """
    if os.geteuid() == 0:
        raise RunError(
            Reason.AGENT_ERROR,
            "the runner must not run as root: give the container runAsUser and runAsNonRoot",
        )
    chosen.state.mkdir(parents=True, exist_ok=True)
    chosen.cli_config.mkdir(parents=True, exist_ok=True)
    way = access.access(chosen)
    async with Gateway(way, patience_seconds=chosen.patience_seconds) as gateway:
        try:
            assignment = await stop.guard(gateway.claim())
        except StoppedError:
            return stopped(stop.cause, stop.message)
        log.say(
            f"* session {assignment.namespace}/{assignment.name}, attempt {assignment.attempt}: "
            f"{assignment.type} in {assignment.repository_url}"
        )

        def lost(message: str) -> None:
            stop.request(Cause.GATEWAY_LOST, message)

        def fenced(message: str) -> None:
            stop.request(Cause.FENCED, message)

        events = EventSender(gateway, fenced=fenced, lost=lost, complain=log.say)
        run = Attempt(
            settings=chosen,
            init=init,
            stop=stop,
            log=log,
            gateway=gateway,
            assignment=assignment,
            record=Record(log, events),
            events=events,
            inbox=Inbox(gateway, cancelled=lambda text: stop.request(Cause.CANCEL, text), fenced=fenced),
            forwarder=Forwarder(way, patience_seconds=chosen.patience_seconds, lost=lost),
            tunnel=Tunnel(way),
        )
        async with _services(run):
            verdict = await _work(run)
            await report(run, verdict)
        return verdict


@contextlib.asynccontextmanager
async def _services(run: Attempt) -> AsyncIterator[None]:
    """Events, inbox, forwarder and tunnel, for as long as the run needs them."""
    await run.forwarder.start()
    await run.tunnel.start()
    tasks = [
        asyncio.create_task(_essential(run, run.events.run())),
        asyncio.create_task(_essential(run, run.inbox.run())),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await run.tunnel.close()
        await run.forwarder.close()


async def _essential(run: Attempt, work: Coroutine[None, None, None]) -> None:
    """A background task whose unexpected death must end the run, not pass unseen."""
    try:
        await work
    except Exception as error:
        run.log.say(f"! {traceback.format_exc()}")
        run.stop.request(Cause.GATEWAY_LOST, f"internal error of the runner: {error!r}")
        raise


async def _work(run: Attempt) -> Verdict:
    """Clone, agent, and what is kept of it; never raises, so that there always is a report."""
    await run.record.step("claimed", "claimed", attempt=run.assignment.attempt)
    try:
        place = await run.stop.guard(prepare(run))
        verdict = await _converse(run, place)
    except StoppedError:
        return stopped(run.stop.cause, run.stop.message)
    except RunError as error:
        return Verdict(reason=error.reason, message=error.message)
    except Exception as error:  # noqa: BLE001 - a bug of ours must still be reported as the session's end
        run.log.say(f"! {traceback.format_exc()}")
        return Verdict(reason=Reason.AGENT_ERROR, message=f"internal error of the runner: {error!r}")
    return verdict


async def _converse(run: Attempt, place: Workplace) -> Verdict:
    """The agent's part, and what follows from how it ends.

    Raises:
        RunError: the CLI cannot be started.
    """
    assignment, chosen = run.assignment, run.settings
    files = cli.write(assignment, state=chosen.state, workspace=place.clone.path, forwarder=run.forwarder.url)
    agent = await Agent.start(
        [chosen.claude, *cli.arguments(assignment, files, resume=place.resumed)],
        cli.environment(
            os.environ,
            home=chosen.home,
            config=chosen.cli_config,
            git_config=chosen.state / "gitconfig",
            endpoints=cli.Endpoints(
                forwarder=run.forwarder.url, proxy=run.tunnel.url if assignment.egress_hosts else None
            ),
        ),
        place.clone.path,
    )
    checkpointer = Checkpointer(
        run.gateway,
        place.shadow,
        run.record,
        clone=place.clone,
        transcripts=chosen.cli_config / "projects",
        session_id=assignment.claude_session_id,
        state=chosen.state,
        interval=chosen.checkpoint_seconds,
    )

    def step_done(turns: int) -> None:
        checkpointer.turns = turns
        checkpointer.notify()

    conversation = Conversation(
        agent, run.record, run.stop, started=chosen.ready_path.touch, step_done=step_done
    )
    timer = asyncio.get_running_loop().call_later(
        assignment.timeout_seconds,
        run.stop.request,
        Cause.TIMEOUT,
        f"not finished after {assignment.timeout_seconds} s",
    )
    saving = asyncio.create_task(checkpointer.run())
    try:
        await run.inbox.attach(conversation.handle)
        ending = await conversation.run(place.prompt, look=run.inbox.look)
        ending = replace(ending, refusal=run.forwarder.refusal)
    finally:
        timer.cancel()
        run.inbox.detach()
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
    left = await processes.kill_below(run.init, {os.getpid()})
    if left:
        await run.record.step("processes_left", f"processes that cannot be killed: {sorted(left)}")
    return await keep(run, place, checkpointer, judge(ending))
