"""The recorder forgets the oldest when it holds too much, and says so."""

from __future__ import annotations

from tests.world.ledger import Ledger
from tests.world.records import Recorder


def test_the_oldest_records_go_first_and_the_numbering_goes_on() -> None:
    recorder = Recorder(kept_bytes=100_000)
    for _ in range(10):
        record = recorder.begin(method="POST", path="/", query="", headers={"X-Key": "v"})
        recorder.keep_body(record, b"x" * 30_000)
    assert [record.number for record in recorder.since()] == [9, 10]
    assert (recorder.first, recorder.last) == (9, 10)
    assert [record.number for record in recorder.since(9)] == [10]


def test_many_small_records_are_bounded_too() -> None:
    recorder = Recorder(kept_bytes=100_000)
    for _ in range(1000):
        recorder.begin(method="GET", path="/", query="", headers={})
    assert len(list(recorder.since())) < 30


def test_a_body_of_a_forgotten_record_is_not_counted() -> None:
    recorder = Recorder(kept_bytes=20_000)
    late = recorder.begin(method="POST", path="/", query="", headers={})
    recorder.clear()
    recorder.keep_body(late, b"x" * 19_000)
    kept = [recorder.begin(method="GET", path="/", query="", headers={}) for _ in range(2)]
    assert list(recorder.since()) == kept


def test_the_ledger_forgets_what_was_not_used_for_longest() -> None:
    ledger = Ledger(capacity=2)
    assert [ledger.count("a"), ledger.count("a"), ledger.count("b"), ledger.count("a")] == [0, 1, 0, 2]
    ledger.count("c")  # b goes
    assert [ledger.count("a"), ledger.count("b")] == [3, 0]
