"""The one way to wait: for a condition, with a deadline, and with the reason when it passes."""

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    seconds: float,
    interval: float = 0.02,
    fails: Callable[[], str | None] = lambda: None,
) -> None:
    """Poll until the condition holds.

    Args:
        condition: polled; must be cheap and must not raise for "not yet".
        what: for the message: "... to be ready".
        seconds: the deadline.
        interval: seconds between two polls.
        fails: polled as well; a text means that waiting longer is pointless.

    Raises:
        RuntimeError: `fails` gave a reason.
        TimeoutError: the deadline passed; names what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if (reason := fails()) is not None:
            raise RuntimeError(f"waited for {what}, but {reason}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(interval)
