"""The container's termination message: the runner's last word to the controller, as a hint.

Kubelet reads the file when the container has ended and cuts at 4096 bytes; JSON that is cut is no
JSON any more, so the message is shortened before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claude_operator.wire.session import Termination

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.resources.lifecycle import Reason

TERMINATION_PATH: Final = "/dev/termination-log"
"""Kubernetes' default `terminationMessagePath`."""
MAX_BYTES: Final = 4096
"""Kubelet keeps as many bytes of a container's termination message."""


def render(reason: Reason, message: str) -> bytes:
    """The message as JSON of at most 4096 bytes; a long text loses its end."""
    kept = len(message)
    while True:
        text = message if kept == len(message) else message[:kept] + " […]"
        body = Termination(reason=reason, message=_clean(text)).model_dump_json().encode()
        excess = len(body) - MAX_BYTES
        if excess <= 0:
            return body
        # A character is at most 6 bytes of JSON (\u0000), so this never cuts too much by far.
        kept -= max(excess // 6, 8)


def write(path: Path, reason: Reason, message: str) -> None:
    """Leave the message at `path`.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_bytes(render(reason, message))


def _clean(text: str) -> str:
    # A lone surrogate (an undecodable byte of a file name, say) has no UTF-8 form.
    return text.encode("utf-8", "replace").decode("utf-8")
