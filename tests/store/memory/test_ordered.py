"""The sorted collection of the store in memory is as a sorted list, and does not slow down as it grows."""

from __future__ import annotations

import time
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.store.memory import ordered
from perdure.store.memory.ordered import Ordered

NUMBERS = st.integers(0, 60)


@pytest.fixture(autouse=True, scope="module")
def small() -> object:
    """Pieces that a test can fill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "PIECE_MAX", 4)
        yield


@given(st.lists(NUMBERS), st.one_of(st.none(), NUMBERS))
def test_it_is_a_sorted_list(moves: list[int], entry: int | None) -> None:
    """Each number is put in, or taken out if it is there; then it is gone through, both ways, from any place."""
    found, expected = Ordered(), set[int]()
    for number in moves:
        (found.remove if number in expected else found.add)(number)
        expected ^= {number}
        assert list(found) == sorted(expected)
    assert list(found.below(entry)) == sorted((n for n in expected if entry is None or n < entry), reverse=True)
    if entry is not None:
        assert list(found.above(entry)) == sorted(n for n in expected if n > entry)
        assert list(islice(found.above(entry), 2)) == sorted(n for n in expected if n > entry)[:2]


def test_many_entries_make_none_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """To take out the first and put in a last one costs beside 100,000 what it costs beside 5,000, within the noise."""
    monkeypatch.setattr(ordered, "PIECE_MAX", 1024)

    def cost(entries: int) -> float:
        found, times = Ordered(), list[float]()
        for number in range(entries):
            found.add(number)
        for first in range(0, 3000, 500):
            began = time.process_time()
            for number in range(first, first + 500):
                found.remove(number)
                found.add(entries + number)
            times.append(time.process_time() - began)
        return min(times)

    assert cost(100_000) < 3 * cost(5_000)  # in one list: 10 times
