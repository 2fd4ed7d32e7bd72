"""Cycles and depth: what a new session may do to the graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.shim.core import graph
from claude_operator.shim.core.errors import Kind, RefusedError

Graph = dict[str, list[str]]


def check(name: str, dependencies: list[str], known: Graph) -> None:
    graph.check(
        name,
        dependencies,
        dependencies_of=lambda one: known.get(one, []),
        dependents_of=lambda one: [other for other, below in known.items() if one in below],
    )


def chain(length: int) -> Graph:
    """s1 <- s2 <- ..., each on the one before."""
    return {f"s{number}": [f"s{number - 1}"] if number > 1 else [] for number in range(1, length + 1)}


def test_ten_dependencies_in_a_row_are_allowed_and_eleven_are_not() -> None:
    check("new", ["s10"], chain(10))
    with pytest.raises(RefusedError, match="maximum of 10 levels"):
        check("new", ["s11"], chain(11))


def test_a_session_in_the_middle_counts_both_ways() -> None:
    below, above = chain(5), {"t1": ["new"], **{f"t{n}": [f"t{n - 1}"] for n in range(2, 6)}}
    check("new", ["s5"], below | above)
    with pytest.raises(RefusedError, match="maximum of 10 levels"):
        check("new", ["s5"], below | above | {"t6": ["t5"]})


def test_the_cycle_is_spelled_out() -> None:
    with pytest.raises(RefusedError, match="new -> a -> b -> new") as caught:
        check("new", ["a"], {"a": ["b"], "b": ["new"]})
    assert caught.value.kind is Kind.INVALID
    with pytest.raises(RefusedError, match="depends on itself"):
        check("new", ["a", "new"], {})


names = st.sampled_from([f"n{number}" for number in range(8)])
graphs = st.dictionaries(names, st.lists(names, max_size=3, unique=True), max_size=8)


@given(graphs, st.lists(names, max_size=4, unique=True))
def test_it_says_what_a_search_of_all_ways_says(known: Graph, dependencies: list[str]) -> None:
    """Graphs of any shape, cycles that were there before included; it always ends."""
    known = {name: below for name, below in known.items() if name != "n0"}

    def reaches(start: str, seen: frozenset[str]) -> bool:
        return start == "n0" or any(
            reaches(one, seen | {start}) for one in known.get(start, []) if one not in seen
        )

    circular = any(reaches(one, frozenset()) for one in dependencies)
    refusal = ""
    try:
        check("n0", dependencies, known)
    except RefusedError as error:
        refusal = error.message
    if circular:
        assert refusal.startswith("Circular dependency")
    else:
        # Eight names hold no chain of eleven, but a cycle among the others is endlessly deep.
        assert not refusal or "levels" in refusal
