"""Ids: UUIDs of version 7 that ascend strictly, whatever the clock does."""

from __future__ import annotations

import itertools
import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.core import ids

NOW = 1_750_000_000_000


def generator(seed=1):
    return ids.IdGenerator(random.Random(seed).randbytes)


ONES = (1 << 73) - 1


def full(count):
    """Give only ones: the highest that chance can be."""
    return b"\xff" * count


@settings(deadline=None)
@given(st.lists(st.integers(-5000, 5000), min_size=2, max_size=50), st.integers())
def test_ids_ascend_however_the_clock_jumps(jumps, seed):
    """Within a millisecond, forwards and backwards: each id is above the one before it, and of version 7."""
    draw = generator(seed)
    now = NOW
    made = []
    for jump in jumps:
        now += jump
        made.append(draw.next(now))
    assert all(first < second for first, second in itertools.pairwise(made))
    assert all(ids.is_version_7(value) for value in made)


def test_an_id_carries_its_instant():
    """The first 48 bits are milliseconds since the epoch, as RFC 9562 lays them out."""
    value = uuid.UUID(bytes=generator().next(NOW))
    assert value.int >> 80 == NOW
    assert (value.version, value.variant) == (7, uuid.RFC_4122)


def test_the_rest_of_an_id_is_chance():
    """73 bits of it, and a bit of room above them; within a millisecond a random step, which is never nothing."""
    draw = ids.IdGenerator(full)
    assert [draw.next(NOW), draw.next(NOW)] == [_with_tail(NOW, ONES), _with_tail(NOW, ONES + 2**32)]
    draw = ids.IdGenerator(bytes)
    assert [draw.next(1), draw.next(1), draw.next(0)] == [_with_tail(1, tail) for tail in (0, 1, 2)]
    assert [draw.next(2), draw.next(1)] == [_with_tail(2, tail) for tail in (0, 1)]


def test_a_millisecond_that_is_used_up_borrows_from_the_next():
    """The tail never runs into the time, and begins anew."""
    draw = ids.IdGenerator(full)
    draw.seed(_with_tail(NOW, (1 << 74) - 1))
    assert [draw.next(NOW), draw.next(NOW)] == [_with_tail(NOW + 1, ONES), _with_tail(NOW + 1, ONES + 2**32)]


@settings(deadline=None)
@given(st.integers(NOW, 2**48 - 2), st.integers(0, 2**74 - 2))
def test_an_id_that_was_seen_is_counted_on_from(ms, tail):
    """To the last bit of it."""
    draw = ids.IdGenerator(bytes)
    draw.seed(_with_tail(ms, tail))
    assert draw.next(NOW) == _with_tail(ms, tail + 1)


def _with_tail(ms, tail):
    number = ms << 80 | 7 << 76 | (tail >> 62) << 64 | 2 << 62 | tail & ((1 << 62) - 1)
    return number.to_bytes(16, "big")


@settings(deadline=None)
@given(st.integers(0, 2**48 - 2), st.integers(0, 2**74 - 1))
def test_an_id_that_was_seen_is_below_every_later_one(ms, tail):
    """Another node's clock may be ahead, so a generator starts above what it finds."""
    draw = generator()
    seen = _with_tail(ms, tail)
    draw.seed(seen)
    assert draw.next(NOW) > seen


def test_an_older_id_that_is_seen_changes_nothing():
    """A generator never goes back."""
    draw, other = generator(), generator()
    assert draw.next(NOW) == other.next(NOW)
    draw.seed(_with_tail(NOW - 1, 5))
    assert draw.next(NOW) == other.next(NOW)


@settings(deadline=None)
@given(st.binary(min_size=16, max_size=16))
def test_an_id_reads_as_it_is_shown(value):
    """36 characters, lower case; upper case is taken as well."""
    shown = ids.text(value)
    assert shown == str(uuid.UUID(bytes=value))
    assert ids.parse(shown) == ids.parse(shown.upper()) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 32,
        "{01900000-0000-7000-8000-000000000001}",
        "01900000-0000-7000-8000-00000000000g",
        "01900000-0000-7000-8000-0000000000011",
        "01900000-0000-7000-8000-000000000001\n",
        "0190000-00000-7000-8000-000000000001",
        "\u06601900000-0000-7000-8000-000000000001",
    ],
)
def test_what_is_no_id_is_refused(text):
    """Only the one form is taken."""
    with pytest.raises(ValueError, match="not a UUID of the form"):
        ids.parse(text)


def test_an_id_of_another_version_is_told_apart():
    """A page's key must be of version 7."""
    assert not ids.is_version_7(uuid.UUID("01900000-0000-4000-8000-000000000001").bytes)
    assert not ids.is_version_7(uuid.UUID("01900000-0000-7000-0000-000000000001").bytes)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("Charge", "Charge"),
        ("", ""),
        ("a-b_c.d~e", "a-b_c.d~e"),
        ("a/b", "a%2Fb"),
        ("ü", "%C3%BC"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_a_part_of_a_key_is_percent_encoded(text, encoded):
    """All but the unreserved characters of RFC 3986; nothing that a name can hold raises."""
    assert ids.percent_encoded(text) == encoded


def test_what_has_the_form_of_an_id() -> None:
    """A text is an id if it has the form of a UUID, whatever its version; nothing else is."""
    assert ids.is_id("01900000-0000-7000-8000-000000000001")
    assert not any(map(ids.is_id, ["", "nonsense", "01900000-0000-7000-8000-00000000000", "{01900000}"]))
