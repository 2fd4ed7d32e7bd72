"""RFC 7386, against the RFC's own pseudo code."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from claude_operator.kube.mergepatch import diff

# Values without null, as API objects have them.
scalars = st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "b"]) | st.sampled_from([0.5, 1.0])
keys = st.sampled_from("abcd")
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(keys, values, max_size=4)


def merge(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def exact(value: Any) -> Any:
    """With types: Python's True == 1 is not JSON's."""
    if isinstance(value, dict):
        return {key: exact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    return (isinstance(value, bool), value)


@given(objects, objects)
def test_the_patch_makes_the_new_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert exact(merge(old, diff(old, new))) == exact(new)


@given(objects)
def test_equal_objects_need_no_patch(same: dict[str, Any]) -> None:
    assert diff(same, same) == {}


@given(objects, objects)
def test_what_is_equal_is_not_sent(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = diff(old, new)
    assert not any(key in old and exact(old[key]) == exact(new[key]) for key in patch.keys() & new.keys())


def test_a_removed_key_becomes_null_and_a_list_is_replaced_whole() -> None:
    old = {"phase": "Waiting", "waitingFor": [{"name": "a"}, {"name": "b"}], "model": "m"}
    new = {"phase": "Waiting", "waitingFor": [{"name": "b"}]}
    assert diff(old, new) == {"waitingFor": [{"name": "b"}], "model": None}


def test_true_is_not_one() -> None:
    assert diff({"a": 1, "b": [0]}, {"a": True, "b": [False]}) == {"a": True, "b": [False]}
