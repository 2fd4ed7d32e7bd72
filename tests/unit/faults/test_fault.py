"""Which call a rule strikes."""

from tests.faults.call import Call
from tests.faults.fault import Answer, Drop, Fault, Kill, every_other, nth

CREATE = Call("POST", "jobs", "a", "j")
OTHER = Call("POST", "jobs", "a", "k")
READ = Call("GET", "jobs", "a", "j")


def test_the_second_of_its_kind_alone() -> None:
    fault = Fault(Kill.AFTER, what="POST jobs", times=nth(2))
    assert [fault.deed(call) for call in (CREATE, READ, OTHER, CREATE)] == [None, None, Kill.AFTER, None]
    assert fault.struck == [OTHER]


def test_every_write_fails_at_its_first_try_whatever_is_written_between() -> None:
    fault = Fault(Drop.BEFORE, times=every_other, by_object=True)
    deeds = [fault.deed(call) for call in (CREATE, OTHER, CREATE, OTHER, CREATE)]
    assert deeds == [Drop.BEFORE, Drop.BEFORE, None, None, Drop.BEFORE]
    assert fault.deed(READ) is None


def test_a_deed_may_depend_on_the_call() -> None:
    fault = Fault(lambda call: Answer(409, "AlreadyExists" if call.method == "POST" else "Conflict"))
    assert fault.deed(CREATE) == Answer(409, "AlreadyExists")
    assert fault.deed(Call("DELETE", "jobs", "a", "j")) == Answer(409, "Conflict")
