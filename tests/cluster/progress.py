"""Progress lines for a person (or a CI log) who waits.

Plain lines on stderr and no cursor games: they read the same in a terminal, a log file and under pytest,
and stdout stays free for output that a shell evaluates. A step that takes long says so every 15 seconds,
because a silent minute looks like a hang.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 15.0


def say(text: str) -> None:
    """Print one line at once."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step, beat while it runs, and say how long it took (or that it failed)."""
    begun = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            say(f"    … {text}: {time.monotonic() - begun:.0f} s so far")

    say(f"  ▸ {text}")
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    except BaseException:
        say(f"  ✗ {text} (after {time.monotonic() - begun:.1f} s)")
        raise
    else:
        say(f"  ✓ {text} ({time.monotonic() - begun:.1f} s)")
    finally:
        done.set()
        heart.join()
