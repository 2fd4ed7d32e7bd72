"""One conversation with the CLI: from the prompt to the last result.

Two parties talk into a running turn: the CLI's events come out, messages and interrupts of people go
in. A message that arrives during a turn is answered within it, so results and messages do not pair up;
what ends the conversation is a result after which nobody has anything to say.

Every way out is bounded: an interrupted turn has seconds to give its result, a CLI that has been told
to end has seconds to do so, and the wall clock bounds the rest.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from claude_operator.runner import stream
from claude_operator.runner.stop import Cause
from claude_operator.runner.verdict import Ending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from claude_operator.runner.agent import Agent
    from claude_operator.runner.record import Record
    from claude_operator.runner.stop import Stop
    from claude_operator.wire.session import InboxItem

INTERRUPT_SECONDS = 10.0
"""For an interrupted turn to give its result; measured: 20 ms."""
EXIT_SECONDS = 15.0
"""For the CLI to end once its input is closed and no turn is under way."""
LOOK_SECONDS = 5.0
"""For the last look into the inbox."""
IDLE_SECONDS = 600.0
"""How long an agent that a person has interrupted waits for that person's next message."""
_GRACE_SECONDS = 2.0


class Conversation:
    """The state of one conversation; `run` leads it."""

    def __init__(
        self,
        agent: Agent,
        record: Record,
        stop: Stop,
        *,
        started: Callable[[], None],
        step_done: Callable[[int], None],
    ) -> None:
        """`started` is called when the agent is up, `step_done(turns)` after a batch of tools or a turn."""
        self._agent = agent
        self._record = record
        self._stop = stop
        self._started = started
        self._step_done = step_done
        self._up = False
        self._busy = True
        """A turn is under way, or about to be: a message was sent that none has answered."""
        self._paused = False
        """A person has interrupted and said nothing since."""
        self._heard = 0
        """Messages of people so far."""
        self._turns = 0
        self._result: stream.Result | None = None
        self._said = ""
        self._reminded = False
        """The CLI has reminded the model of StructuredOutput in this turn."""
        self._api_error = ""
        self._changed = asyncio.Event()
        self._silent = False
        """The CLI has closed its output."""

    async def handle(self, item: InboxItem) -> None:
        """A message or an interrupt, from a person or a client."""
        if item.kind == "interrupt":
            await self._record.step("interrupted", "interrupted by a message from outside")
            self._paused = True
            await self._agent.interrupt()
            if item.text:
                await self._tell(item.text)
        else:
            await self._record.step("message", f"message: {item.text}", text=item.text)
            await self._tell(item.text)

    async def _tell(self, text: str) -> None:
        self._heard += 1
        self._paused = False
        self._busy = True
        self._reminded = False
        self._changed.set()
        await self._agent.say(text)

    async def run(self, prompt: str, *, look: Callable[[float], Awaitable[None]]) -> Ending:
        """Lead the conversation to its end; the CLI has ended when this returns.

        `look(seconds)` handles what is in the inbox now.
        """
        readers = [asyncio.create_task(self._read()), asyncio.create_task(self._complain())]
        try:
            await self._agent.say(prompt)
            await self._until_over(look)
            return await self._finish(readers)
        finally:
            await self._agent.end(grace_seconds=_GRACE_SECONDS)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _until_over(self, look: Callable[[float], Awaitable[None]]) -> None:
        """Return when the CLI has ended, somebody wants the end, or nobody has anything to say."""
        while True:
            await self._wait(lambda: not self._busy or self._silent)
            if self._silent or self._stop.cause is not None:
                return
            heard = self._heard
            if self._paused:
                await self._wait(lambda: not self._paused or self._silent, within=IDLE_SECONDS)
                if self._paused and self._stop.cause is None:
                    self._stop.request(
                        Cause.CANCEL, f"interrupted, and no message came within {IDLE_SECONDS:.0f} s"
                    )
                continue
            # A cancel that made the gateway refuse the model may still be on its way here, and so may
            # a message that was sent just in time.
            await look(LOOK_SECONDS)
            if self._heard == heard:
                return

    async def _wait(self, over: Callable[[], bool], within: float | None = None) -> None:
        """Until `over()` holds, somebody wants the end, or `within` seconds have passed."""
        stopping = asyncio.create_task(self._stop.wait())
        deadline = None if within is None else time.monotonic() + within
        try:
            while not over() and self._stop.cause is None:
                self._changed.clear()
                changing = asyncio.create_task(self._changed.wait())
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    changing.cancel()
                    return
                await asyncio.wait({stopping, changing}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                changing.cancel()
        finally:
            stopping.cancel()

    async def _finish(self, readers: list[asyncio.Task[None]]) -> Ending:
        if self._stop.cause is not None and self._busy and not self._silent:
            await self._agent.interrupt()
            await self._until_idle(INTERRUPT_SECONDS)
        self._agent.close_input()
        code = await self._exit_code()
        if code is not None:
            # What it printed last may still be in the pipe. Something that inherited the pipe can hold
            # it open, hence the bound.
            done, _ = await asyncio.wait(readers, timeout=_GRACE_SECONDS)
            for reader in done:
                reader.result()  # an exception in there is a bug, not an end of the CLI
        return Ending(
            result=self._result,
            said=self._said,
            reminded=self._reminded,
            exit_code=code,
            cause=self._cause(),
            cause_message=self._stop.message,
            api_error=self._api_error,
            stderr=self._agent.stderr,
        )

    def _cause(self) -> Cause | None:
        cause = self._stop.cause
        finished = self._result is not None and not self._result.is_error and not self._busy
        # A clock that ran out, or a gateway that went away, while a finished CLI was closing down has
        # ended nothing.
        return None if finished and cause in {Cause.TIMEOUT, Cause.GATEWAY_LOST, Cause.MODEL_AUTH} else cause

    async def _until_idle(self, within: float) -> None:
        deadline = time.monotonic() + within
        while self._busy and not self._silent and (left := deadline - time.monotonic()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _exit_code(self) -> int | None:
        """Wait for the CLI: as long as a turn runs, and a bounded time without one."""
        idle_since = time.monotonic()
        while (code := await self._agent.wait(1.0)) is None:
            now = time.monotonic()
            if self._stop.cause is not None and now - idle_since > _GRACE_SECONDS:
                return None
            if self._busy:
                idle_since = now
            elif now - idle_since > EXIT_SECONDS:
                await self._record.step(
                    "cli_lingers",
                    f"the CLI has not ended {EXIT_SECONDS:.0f} s after its last turn; it is killed",
                )
                return None
        return code

    async def _read(self) -> None:
        try:
            async for line in self._agent.lines():
                event = stream.decode(line)
                if isinstance(event, str):
                    await self._record.stray("stdout", event)
                elif event is not None:
                    # First the state, then the record: a record that waits for the gateway must not
                    # hide from `_finish` that the turn is over.
                    self._note(stream.read(event))
                    await self._record.cli(event)
        finally:
            self._silent = True
            self._changed.set()

    async def _complain(self) -> None:
        async for line in self._agent.complaints():
            if line.strip():
                await self._record.stray("stderr", line)

    def _note(self, known: stream.Known | None) -> None:
        match known:
            case stream.Init():
                self._busy = True
                if not self._up:
                    self._up = True
                    self._started()
            case stream.ToolResults():
                self._step_done(self._turns)
            case stream.ApiRetry() | stream.ApiFailure():
                self._note_failure(known)
            case stream.Said() | stream.Reminded():
                self._note_words(known)
            case stream.Result(turns=turns) as result:
                self._turns += turns
                self._result = result
                self._busy = False
                self._step_done(self._turns)
            case None:
                return
        self._changed.set()

    def _note_failure(self, known: stream.ApiRetry | stream.ApiFailure) -> None:
        self._api_error = known.error
        if isinstance(known, stream.ApiRetry) and (
            known.error == "authentication_failed" or known.status == 401  # noqa: PLR2004 - Unauthorized
        ):
            # The CLI would try for three minutes.
            self._stop.request(Cause.MODEL_AUTH, "the model's API refuses the credentials")

    def _note_words(self, known: stream.Said | stream.Reminded) -> None:
        if isinstance(known, stream.Reminded):
            self._reminded = True
        elif not self._reminded:
            self._said = known.text
