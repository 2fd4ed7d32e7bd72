"""The watch cache: it only moves forward, and a session with its continuations is one."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from claude_operator.shim.core.directory import Directory
from claude_operator.shim.core.view import TEXT_KEPT
from tests.unit.shim.views import view

A = "550e8400-e29b-41d4-a716-446655440000"
B = "660e8400-e29b-41d4-a716-446655440001"


def ids(directory: Directory, before: tuple[str, str, str] | None = None) -> list[str]:
    return [thread.first.id for thread in directory.newest_first(before)]


def continuation(number: int, **more: Any) -> Any:
    labels = {"claude-operator.dev/session-id": A, "claude-operator.dev/continuation": str(number)}
    return view(f"next-{number}", labels=labels, created=f"2026-01-0{number + 1}T00:00:00Z", **more)


def test_ids_are_the_label_else_the_name_else_the_uid() -> None:
    directory = Directory()
    directory.see(view(A.upper()))
    directory.see(view("by-kubectl", uid=B))
    assert directory.find(["ns"], A) is not None
    assert directory.find(["ns"], B.upper()) is not None
    assert directory.find(["ns"], "by-kubectl") is None
    assert directory.find(["other"], A) is None


def test_older_events_and_events_after_the_deletion_are_ignored() -> None:
    directory = Directory()
    directory.see(view(A, version=5, status={"phase": "Running"}))
    directory.see(view(A, version=4, status={"phase": "Pending"}))
    found = directory.find(["ns"], A)
    assert found is not None
    assert found.latest.phase == "Running"
    directory.lose("ns", A, f"uid-of-{A}")
    directory.see(view(A, version=6))
    assert directory.find(["ns"], A) is None
    directory.see(view(A, uid="another", version=7))
    assert directory.find(["ns"], A) is not None
    directory.lose("ns", A, "a-third")
    assert directory.find(["ns"], A) is not None


def test_a_session_and_its_continuations_are_one_entry_of_the_list() -> None:
    directory = Directory()
    directory.see(continuation(2))
    directory.see(view(A))
    directory.see(view(B, created="2026-01-02T12:00:00Z"))
    directory.see(continuation(1, status={"phase": "Failed"}))
    assert ids(directory) == [B, A]
    thread = directory.find(["ns"], A)
    assert thread is not None
    assert [one.name for one in thread.views] == [A, "next-1", "next-2"]
    directory.lose("ns", A, f"uid-of-{A}")
    # What is left is as old as its oldest: the place in the list moves with it.
    assert ids(directory) == [B, A]
    directory.lose("ns", "next-1", "uid-of-next-1")
    assert ids(directory) == [A, B]
    directory.lose("ns", "next-2", "uid-of-next-2")
    assert (ids(directory), len(directory)) == ([B], 1)


def test_a_label_that_somebody_changes_moves_the_session() -> None:
    directory = Directory()
    directory.see(view(A))
    directory.see(view(B))
    directory.see(view(B, version=2, labels={"claude-operator.dev/session-id": A}))
    assert ids(directory) == [A]
    directory.lose("ns", B, f"uid-of-{B}")
    directory.lose("ns", A, f"uid-of-{A}")
    assert ids(directory) == []


def test_waiting_is_for_what_has_not_ended() -> None:
    directory = Directory()
    depends = {"spec": {"dependencies": [{"name": A}, {"name": B}]}}
    waiting = view("c", **depends)
    directory.see(view(A))
    found = directory.waiting(waiting)
    assert found is not None
    assert (found.ids, found.estimated_start) == ((A, B), None)
    directory.see(view(A, version=2, status={"phase": "Succeeded"}))
    directory.see(view(B, status={"phase": "Failed"}))
    assert directory.waiting(waiting) is None
    assert directory.waiting(view("c", status={"phase": "Running"}, **depends)) is None


def test_the_estimate_is_the_median_of_what_has_succeeded_or_nothing() -> None:
    directory = Directory()
    for number, minute in enumerate((1, 2, 50)):
        times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": f"2026-01-01T00:{minute:02}:00Z"}
        done = view(f"done-{number}", status={"phase": "Succeeded", **times})
        directory.see(done)
        directory.see(view(f"done-{number}", version=2, status={"phase": "Succeeded", **times}))
    running = {"status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}}
    directory.see(view(A, **running))
    waiting = view("c", spec={"dependencies": [{"name": A}]})
    midnight = 1767225600.0
    found = directory.waiting(waiting, now=midnight + 60)
    assert found is not None
    assert found.estimated_start == midnight + 120
    overdue = directory.waiting(waiting, now=midnight + 121)
    assert overdue is not None
    assert overdue.estimated_start is None
    directory.see(view(B, **running, labels={}))
    other_type = view("d", spec={"dependencies": [{"name": A}, {"name": "absent"}]})
    partly = directory.waiting(other_type, now=midnight)
    assert partly is not None
    assert partly.estimated_start is None


def test_pages_are_stable_while_sessions_come_and_go() -> None:
    directory = Directory()
    for number in range(6):
        directory.see(view(f"s{number}", uid=f"{number}" * 8, created=f"2026-01-01T00:00:0{number}Z"))
    everything = list(directory.newest_first())
    first = everything[:3]
    directory.see(view("newer", uid="n" * 8, created="2026-01-02T00:00:00Z"))
    directory.lose("ns", "s3", "3" * 8)
    assert ids(directory, first[-1].order) == ["2" * 8, "1" * 8, "0" * 8]


events = st.lists(
    st.tuples(
        st.sampled_from(["see", "lose"]),
        st.sampled_from([A, B, "next-1", "next-2", "plain"]),
        st.integers(1, 6),
        st.sampled_from(["u1", "u2"]),
    ),
    max_size=40,
)


@given(events)
def test_the_list_always_holds_each_thread_once_and_in_order(
    happened: list[tuple[str, str, int, str]],
) -> None:
    directory = Directory()
    for what, name, version, uid in happened:
        if what == "lose":
            directory.lose("ns", name, f"{uid}-{name}")
            continue
        labels = {}
        if name.startswith("next"):
            labels = {
                "claude-operator.dev/session-id": A,
                "claude-operator.dev/continuation": name[-1],
            }
        directory.see(
            view(name, uid=f"{uid}-{name}", version=version, labels=labels, created=f"2026-01-0{version}")
        )
    threads = list(directory.newest_first())
    orders = [thread.order for thread in threads]
    assert orders == sorted(orders, reverse=True)
    assert len({(thread.first.namespace, thread.first.id) for thread in threads}) == len(threads)
    assert len(threads) == len(directory)
    for thread in threads:
        assert directory.find(["ns"], thread.first.id) == thread


def test_what_is_long_is_not_kept() -> None:
    found = view(A, spec={"requirements": "x" * (TEXT_KEPT + 1)})
    assert not found.complete
    assert len(found.requirements) == TEXT_KEPT
    assert view(A, spec={"requirements": "x" * TEXT_KEPT}).complete


def test_ten_thousand_sessions_are_filtered_in_no_time() -> None:
    directory = Directory()
    for number in range(10_000):
        created = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        directory.see(view(f"s{number}", uid=f"{number:08}", created=created))
    begun = time.perf_counter()
    found = [thread for thread in directory.newest_first() if thread.latest.batch == "none"]
    assert not found
    assert time.perf_counter() - begun < 0.2
