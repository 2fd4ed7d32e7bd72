"""Dependencies: which still hold a session back, which can never hold, and which lead in a circle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Phase
from claude_operator.resources.session import When

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from claude_operator.engine.observation import DependencyIntent, DependencyState


class Holds(Enum):
    """What a dependency's state means for its dependent."""

    YES = auto()
    NOT_YET = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Check:
    """One dependency, judged."""

    intent: DependencyIntent
    state: DependencyState
    holds: Holds


def check(intents: Iterable[DependencyIntent], states: Iterable[DependencyState]) -> tuple[Check, ...]:
    """Judge each dependency; `states` in the order of `intents`, as Observed has them."""
    return tuple(
        Check(intent=intent, state=state, holds=_holds(intent.when, state.phase))
        for intent, state in zip(intents, states, strict=True)
    )


def _holds(when: When, phase: Phase | None) -> Holds:
    if phase is None or not phase.final:
        return Holds.NOT_YET
    match when:
        case When.FINISHED:
            return Holds.YES
        case When.SUCCEEDED:
            return Holds.YES if phase is Phase.SUCCEEDED else Holds.NEVER
        case When.FAILED:
            return Holds.YES if phase is Phase.FAILED else Holds.NEVER


def find_cycle(start: str, edges: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """The shortest way from `start` back to itself, first and last the same; empty when there is none.

    `edges(name)` gives the dependencies of a session that is not finished (or that failed because of
    this very cycle), and nothing for any other. Every session is visited once: cost is linear.
    """
    came_from: dict[str, str] = {}
    frontier = [start]
    while frontier:
        following: list[str] = []
        for name in frontier:
            for dependency in edges(name):
                if dependency == start:
                    return _path(start, name, came_from)
                if dependency not in came_from:
                    came_from[dependency] = name
                    following.append(dependency)
        frontier = following
    return ()


def _path(start: str, last: str, came_from: dict[str, str]) -> tuple[str, ...]:
    names = [start]
    name = last
    while name != start:
        names.append(name)
        name = came_from[name]
    return (start, *reversed(names[1:]), start)
