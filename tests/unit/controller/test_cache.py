"""The cache only moves forward, and wakes whom a change concerns."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_operator.controller import cache as module
from claude_operator.controller.cache import Cache
from claude_operator.engine.observation import Project
from claude_operator.resources.lifecycle import Phase
from tests.unit.controller.views import job, session


class Woken(list[str]):
    """The keys that were woken, since last asked."""

    def take(self) -> set[str]:
        taken = set(self)
        self.clear()
        return taken


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def cache(woken: Woken) -> Cache:
    return Cache(woken.append)


@given(st.permutations(range(1, 7)))
def test_events_in_any_order_leave_the_newest(order: list[int]) -> None:
    cache = Cache(lambda _: None)
    newest = 0
    for version in order:
        cache.see_session(session("a", version=version))
        newest = max(newest, version)
        seen = cache.session("uid-a")
        assert seen is not None
        assert seen.resource_version == str(newest)


def test_versions_are_numbers(cache: Cache) -> None:
    cache.see_session(session("a", version=10))
    cache.see_session(session("a", version=9))
    seen = cache.session("uid-a")
    assert seen is not None
    assert seen.resource_version == "10"


def test_an_echo_of_an_own_write_wakes_nobody(cache: Cache, woken: Woken) -> None:
    cache.see_session(session("a", version=1))
    cache.see_session(session("a", version=2, phase=Phase.RUNNING))
    assert woken.take() == {"uid-a"}
    cache.see_session(session("a", version=2, phase=Phase.RUNNING))
    assert woken.take() == set()


def test_a_conflict_bars_the_view_until_a_newer_one_comes(cache: Cache) -> None:
    old = session("a", version=5)
    cache.see_session(old)
    cache.mark_stale(old)
    assert cache.is_stale("uid-a")
    cache.see_session(session("a", version=4))
    assert cache.is_stale("uid-a")
    cache.see_session(session("a", version=6))
    assert not cache.is_stale("uid-a")


def test_dependents_wake_when_it_appears_moves_and_ends(cache: Cache, woken: Woken) -> None:
    cache.see_session(session("late", version=1, needs=("early",)))
    woken.take()
    cache.see_session(session("early", version=2))
    assert woken.take() == {"uid-early", "uid-late"}
    cache.see_session(session("early", version=3))
    assert woken.take() == {"uid-early"}, "nothing that its dependents show has changed"
    cache.see_session(session("early", version=4, phase=Phase.RUNNING))
    assert woken.take() == {"uid-early", "uid-late"}
    cache.see_session(session("early", version=5, phase=Phase.SUCCEEDED))
    assert woken.take() == {"uid-late"}
    ended = cache.ended(("default", "early"))
    assert ended is not None
    assert ended.phase is Phase.SUCCEEDED
    assert cache.session("uid-early") is None


def test_an_end_that_is_acknowledged_after_the_watch_has_told_it(cache: Cache, woken: Woken) -> None:
    """The event of leaving the selector overtakes the answer to the final write."""
    cache.see_session(session("a", version=1))
    cache.lose_session("uid-a")
    assert cache.departed("uid-a") is not None
    cache.see_session(session("a", version=2, phase=Phase.FAILED))
    assert cache.departed("uid-a") is None
    assert cache.session("uid-a") is None
    assert woken.take() == {"uid-a"}


def test_one_that_departed_and_is_still_there_comes_back(cache: Cache, woken: Woken) -> None:
    view = session("a", version=1)
    cache.see_session(view)
    cache.lose_session("uid-a")
    woken.take()
    cache.see_session(view)
    assert cache.departed("uid-a") is None
    assert cache.session("uid-a") is view
    assert woken.take() == {"uid-a"}


def test_a_deleted_session_does_not_come_back_by_a_late_answer(cache: Cache, woken: Woken) -> None:
    cache.see_session(session("a", version=1))
    cache.see_session(session("b", version=2, needs=("a",)))
    woken.take()
    cache.forget_session("uid-a")
    assert woken.take() == {"uid-b"}
    cache.see_session(session("a", version=3, phase=Phase.RUNNING))
    assert cache.session("uid-a") is None
    assert cache.session_named(("default", "a")) is None


def test_a_namesake_takes_the_name_and_the_older_one_is_looked_into(cache: Cache, woken: Woken) -> None:
    cache.see_session(session("a", version=1, uid="first"))
    woken.take()
    cache.see_session(session("a", version=2, uid="second"))
    named = cache.session_named(("default", "a"))
    assert named is not None
    assert named.uid == "second"
    assert cache.departed("first") is not None
    assert woken.take() == {"first", "second"}
    cache.forget_session("first")
    named = cache.session_named(("default", "a"))
    assert named is not None
    assert named.uid == "second"


def test_a_job_is_ours_by_label_and_moves_forward(cache: Cache, woken: Woken) -> None:
    home = ("default", "a")
    cache.see_job("uid-a", home, "2", job("j", owner="uid-a", deleting=True))
    cache.see_job("uid-a", home, "1", job("j", owner="uid-a"))
    assert [each.deleting for each in cache.jobs("uid-a")] == [True]
    woken.take()
    cache.see_job("uid-a", home, "3", job("j", owner="uid-a", deleting=True))
    assert woken.take() == set(), "a change without meaning for us"
    cache.lose_job("uid-a", "j")
    assert woken.take() == {"uid-a"}
    cache.see_job("uid-a", home, "2", job("j", owner="uid-a"))
    assert cache.jobs("uid-a") == (), "the answer to its creation came after its deletion"


def test_sessions_wake_with_their_project(cache: Cache, woken: Woken) -> None:
    cache.see_session(session("a", version=1))
    woken.take()
    name = ("default", "default")
    project = Project(name="default", spec=None, ready=False, message="no")
    cache.see_project(name, "5", project)
    assert woken.take() == {"uid-a"}
    cache.see_project(name, "6", project)
    assert woken.take() == set()
    cache.see_project(name, "7", replace(project, ready=True))
    assert woken.take() == {"uid-a"}
    cache.lose_project(name, "6")
    assert cache.project(name) is not None, "an older one of that name was deleted"
    cache.lose_project(name, "7")
    assert cache.project(name) is None
    assert woken.take() == {"uid-a"}


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)


@pytest.mark.usefixtures("short_memory")
def test_the_memory_of_ends_is_bounded(cache: Cache) -> None:
    for number in range(10):
        cache.see_session(session(f"s{number}", version=2 * number + 1))
        cache.see_session(session(f"s{number}", version=2 * number + 2, phase=Phase.SUCCEEDED))
    assert [cache.ended(("default", f"s{number}")) is not None for number in range(10)] == [False] * 7 + [
        True
    ] * 3
    assert list(cache.sessions()) == []
