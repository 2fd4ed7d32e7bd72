"""The parts of one run, put together once and handed from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claude_operator.runner.events import EventSender
    from claude_operator.runner.forwarder import Forwarder
    from claude_operator.runner.gateway import Gateway
    from claude_operator.runner.inbox import Inbox
    from claude_operator.runner.record import Log, Record
    from claude_operator.runner.settings import Settings
    from claude_operator.runner.stop import Stop
    from claude_operator.runner.tunnel import Tunnel
    from claude_operator.wire.session import Assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What every step of the run needs."""

    settings: Settings
    init: int
    """The runner's init: everything below it but the runner itself belongs to the agent."""
    stop: Stop
    log: Log
    gateway: Gateway
    assignment: Assignment
    record: Record
    events: EventSender
    inbox: Inbox
    forwarder: Forwarder
    tunnel: Tunnel
