"""What a new session would do to the graph of dependencies: close a cycle, or make a chain too long. Pure.

Sessions may depend on some that do not exist yet, so a new one can have dependents too, and either end can
break the rule. Level by level, at most eleven of them: it ends on every graph, also on one that has cycles
already (kubectl may make them; the controller fails those), and a wide graph costs no recursion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claude_operator.shim.core.errors import Kind, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_DEPTH: Final = 10
"""Dependencies in a row beneath one session, as the claude-hub documentation promises."""


def check(
    name: str,
    dependencies: Iterable[str],
    *,
    dependencies_of: Callable[[str], Iterable[str]],
    dependents_of: Callable[[str], Iterable[str]],
) -> None:
    """Whether session `name` may be added with these dependencies.

    Raises:
        RefusedError: Invalid; the cycle is spelled out.
    """
    first = list(dependencies)
    if name in first:
        raise RefusedError(Kind.INVALID, f"Circular dependency: session {name} depends on itself")
    came_from: dict[str, str] = dict.fromkeys(first, name)

    def next_ones(current: str) -> Iterable[str]:
        for one in dependencies_of(current):
            came_from.setdefault(one, current)
            yield one

    below = _levels(first, next_ones, stop_at=name)
    if name in came_from:
        raise RefusedError(Kind.INVALID, f"Circular dependency: {_spelled(name, came_from)}")
    above = _levels(list(dependents_of(name)), dependents_of, stop_at=name)
    if below + above > MAX_DEPTH:
        raise RefusedError(
            Kind.INVALID,
            f"Dependency depth exceeds the maximum of {MAX_DEPTH} levels: "
            "let some of the sessions depend on fewer others in a row",
        )


def _levels(first: list[str], next_ones: Callable[[str], Iterable[str]], *, stop_at: str) -> int:
    """The length of the longest chain that begins with one of `first`; more than MAX_DEPTH is enough."""
    level, depth = set(first), 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = {one for current in level for one in next_ones(current)}
        if stop_at in level:
            break
    return depth


def _spelled(name: str, came_from: dict[str, str]) -> str:
    way, current = [name], came_from[name]
    while current != name:
        way.append(current)
        current = came_from[current]
    return " -> ".join([name, *reversed(way)])
