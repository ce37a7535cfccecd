"""The mapping that is never changed does what a dict does, and shares what did not change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.core.persistent import PersistentMap

keys = st.one_of(st.integers(-5, 400), st.text(max_size=2))
moves = st.lists(st.tuples(st.booleans(), keys, st.integers()), max_size=300)
entries = st.dictionaries(keys, st.integers(), max_size=300)


def agree(mapping, plain):
    """Assert that they cannot be told apart."""
    assert len(mapping) == len(plain)
    assert dict(mapping.items()) == plain
    assert set(mapping) == set(plain)
    assert sorted(mapping.values()) == sorted(plain.values())
    assert mapping == PersistentMap(plain)
    for key in [*plain, "none", 999]:
        assert (key in mapping, mapping.get(key), mapping.get(key, 7)) == (
            key in plain,
            plain.get(key),
            plain.get(key, 7),
        )


@settings(deadline=None, max_examples=150)
@given(entries, moves)
def test_it_is_as_good_as_a_dict(start, changes):
    """Whatever is set and deleted; each form stays as it was when the next one is made."""
    plain, mapping = dict(start), PersistentMap(dict(start))
    forms = []
    for is_set, key, value in changes:
        forms.append((mapping, dict(plain)))
        if is_set:
            plain[key] = value
            mapping = mapping.set(key, value)
        else:
            plain.pop(key, None)
            mapping = mapping.delete(key)
    agree(mapping, plain)
    for form, was in forms[:: max(1, len(forms) // 5)]:
        agree(form, was)


@settings(deadline=None, max_examples=150)
@given(entries, moves)
def test_it_tells_what_has_changed(start, changes):
    """Every key whose value is another one, with both; nothing else, however many shards there are."""
    before = mapping = PersistentMap({key: object() for key in start})
    for is_set, key, _ in changes:
        mapping = mapping.set(key, object()) if is_set else mapping.delete(key)
    found = list(mapping.changes_from(before))
    keys_found = [change.key for change in found]
    assert len(set(keys_found)) == len(keys_found)
    every = set(before) | set(mapping)
    assert set(keys_found) == {key for key in every if before.get(key) is not mapping.get(key)}
    assert all((change.before, change.after) == (before.get(change.key), mapping.get(change.key)) for change in found)


def test_it_grows_and_shrinks():
    """From none to thousands and back, by single changes; its parts stay small all the way."""
    mapping, plain = PersistentMap[int, int](), dict[int, int]()
    for number in range(3000):
        mapping = mapping.set(number, number)
        plain[number] = number
        assert len(mapping) == number + 1
    agree(mapping, plain)
    assert max(map(len, mapping.parts())) <= 128
    for number in range(3000):
        mapping = mapping.delete(number)
        assert len(mapping) == 2999 - number
    agree(mapping, {})
    assert len(mapping.parts()) == 1


def test_a_change_copies_one_part_only():
    """All others are the very same."""
    before = PersistentMap({number: object() for number in range(1000)})
    after = before.set(500, object())
    assert sum(old is not new for old, new in zip(before.parts(), after.parts(), strict=True)) == 1


def test_what_is_not_there_is_an_error_or_changes_nothing():
    """As with a dict; deleting it gives the mapping itself."""
    for size in (0, 1000):
        mapping = PersistentMap[object, None](dict.fromkeys(range(size)))
        with pytest.raises(KeyError):
            mapping["none"]
        assert mapping.delete("none") is mapping
        assert list(mapping.changes_from(mapping)) == []


def test_it_equals_its_like_only():
    """And shows what is in it."""
    assert PersistentMap({1: 2}) == PersistentMap({1: 2})
    assert PersistentMap({1: 2}) != PersistentMap({1: 3})
    assert PersistentMap({1: 2}) != {1: 2}
    assert repr(PersistentMap({1: 2})) == "PersistentMap({1: 2})"
    with pytest.raises(TypeError, match="unhashable"):
        hash(PersistentMap())
