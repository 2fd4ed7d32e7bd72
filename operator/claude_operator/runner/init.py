"""PID 1 of the container: starts the runner, hands signals on, reaps everybody's orphans.

PID 1 must `waitpid(-1)`, asyncio must be the one that waits for its own children; in one process the
two steal each other's exit statuses. So PID 1 is a process that does nothing else, and the runner is
its child. A ready-made init (tini) would do the same, but would be one more binary to pin, and could
not say in the termination message that the runner itself was killed.

The fork happens before anything heavy is imported: what stays in PID 1 is small.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h; orphans come to this process even where it is not PID 1."""


def supervise(main: Callable[[int], int], killed: Callable[[int], None]) -> int:
    """Run `main(pid of this init)` in a child until it ends; returns its exit code, 128+n for a signal.

    `killed(n)` is called when signal n ended the child, which then had no last word of its own.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    init = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # Blocked until the handlers stand: a SIGTERM in between would be lost on PID 1, whose default
    # disposition is to ignore it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        _child(init, main)

    def forward(number: int, _frame: FrameType | None) -> None:
        # The child cannot have been reaped yet (and its pid been taken by another process): this
        # process leaves the loop below when it has.
        os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    status = _reap_until(child)
    for number in _FORWARDED:
        signal.signal(number, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        killed(-code)
        return 128 - code
    return code


def _reap_until(child: int) -> int:
    while True:
        # WNOWAIT first: between the real wait and the return, a signal handler could send to a pid
        # that is free already.
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert found is not None, "without WNOHANG waitid returns only with a child"
        if found.si_pid == child:
            signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
            _, status = os.waitpid(child, 0)
            return status
        os.waitpid(found.si_pid, 0)


def _child(init: int, main: Callable[[int], int]) -> None:
    """Does not return."""
    code = 1
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # SIGTERM stays blocked until the runner has its own handler (see `run`): what arrives during
        # the imports is then delivered, not lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(_FORWARDED) - {signal.SIGTERM})
        code = main(init)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - the process ends here, whatever it was
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: the parent's frames are still below this one.
        os._exit(code)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")
