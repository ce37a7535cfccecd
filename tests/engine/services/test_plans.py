"""Counting requests: never more than a plan allows in any window, and never fewer than must be let through."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine.services.plans import DAY_MS, MINUTE_MS, PLANS, PlanLimits, Windows
from perdure.engine.testing import ManualClock

ONE, OTHER = b"1" * 16, b"2" * 16
PAUSES = st.lists(st.sampled_from([0, 1, 999, 7_000, 59_999, 60_000, 3_600_000, DAY_MS - 1, DAY_MS]), max_size=120)


@settings(max_examples=150, deadline=None)
@given(pauses=PAUSES, minute=st.integers(1, 5), day=st.integers(1, 12))
def test_no_window_has_more_than_its_plan_allows(pauses: list[int], minute: int, day: int) -> None:
    """Wherever it begins; the minute is exact, and a day's request is free again within a minute of a day later."""
    clock, limits = ManualClock(), PlanLimits(minute, day)
    counts, taken = Windows(clock), list[int]()
    for pause in pauses:
        clock.push(pause)
        now = clock.ticks()
        standing = counts.take(ONE, limits)
        in_minute = sum(at > now - MINUTE_MS for at in taken)
        in_day = sum(at > now - DAY_MS for at in taken)
        in_day_and_minute = sum(at > now - DAY_MS - MINUTE_MS for at in taken)
        if standing.is_taken:
            assert in_minute < minute
            assert in_day < day
            taken.append(now)
            assert 0 <= standing.remaining < standing.limit
        else:
            assert in_minute >= minute or in_day_and_minute >= day
            assert standing.remaining == 0
        assert 0 < standing.free_in_ms <= DAY_MS + MINUTE_MS


@settings(max_examples=60, deadline=None)
@given(pauses=PAUSES)
def test_who_waits_as_long_as_was_said_is_let_through(pauses: list[int]) -> None:
    """And not a millisecond earlier."""
    clock, limits = ManualClock(), PlanLimits(2, 5)
    counts = Windows(clock)
    for pause in pauses:
        clock.push(pause)
        refused = counts.take(ONE, limits)
        if refused.is_taken:
            continue
        clock.push(refused.free_in_ms - 1)
        assert not counts.take(ONE, limits).is_taken
        clock.push(1)
        assert counts.take(ONE, limits).is_taken


def test_what_remains_is_told_of_the_window_that_is_nearer_to_its_end() -> None:
    """First the minute's, and when the day is nearly over its."""
    clock, limits = ManualClock(), PlanLimits(3, 5)
    counts = Windows(clock)
    told = [counts.take(ONE, limits) for _ in range(4)]
    assert [(each.limit, each.remaining) for each in told] == [(3, 2), (3, 1), (3, 0), (3, 0)]
    assert [each.is_taken for each in told] == [True, True, True, False]
    assert told[3].free_in_ms == MINUTE_MS
    clock.push(MINUTE_MS)
    again = [counts.take(ONE, limits) for _ in range(3)]
    assert [(each.limit, each.remaining, each.is_taken) for each in again] == [
        (5, 1, True),
        (5, 0, True),
        (5, 0, False),
    ]


def test_organizations_do_not_count_for_each_other() -> None:
    """One that has sent too many stops no other."""
    counts = Windows(ManualClock())
    assert [counts.take(ONE, PlanLimits(1, 9)).is_taken for _ in range(2)] == [True, False]
    assert counts.take(OTHER, PlanLimits(1, 9)).is_taken


def test_a_smaller_plan_holds_at_once() -> None:
    """What was sent under the larger one counts, and it is told when there is room again."""
    clock = ManualClock()
    counts = Windows(clock)
    for _ in range(10):
        counts.take(ONE, PlanLimits(10, 100))
        clock.push(1_000)
    refused = counts.take(ONE, PlanLimits(4, 100))
    assert not refused.is_taken
    assert refused.free_in_ms == MINUTE_MS - 4_000  # the seventh of the ten leaves: three are left
    clock.push(refused.free_in_ms)
    assert counts.take(ONE, PlanLimits(4, 100)).is_taken


def test_only_what_is_idle_is_forgotten() -> None:
    """Of too many organizations; while all have sent something within the day one more must wait."""
    clock = ManualClock()
    counts, limits = Windows(clock, organizations_max=2), PlanLimits(5, 5)
    assert counts.take(ONE, limits).is_taken
    assert counts.take(OTHER, limits).is_taken
    refused = counts.take(b"3" * 16, limits)
    assert (refused.is_taken, refused.free_in_ms) == (False, MINUTE_MS)
    clock.push(DAY_MS - 1_000)
    assert counts.take(ONE, limits).is_taken  # the other one is the oldest from here on
    clock.push(2 * MINUTE_MS)
    assert counts.take(b"3" * 16, limits).is_taken
    assert len(counts) == 2
    assert [counts.take(ONE, limits).remaining, counts.take(OTHER, limits).is_taken] == [3, False]


def test_a_larger_plan_allows_more() -> None:
    """Of the plans that have limits each allows more than the one before, and the last has none."""
    bounded = [limits for limits in PLANS.values() if limits is not None]
    assert bounded == sorted(bounded)
    assert [plan for plan, limits in PLANS.items() if limits is None] == ["unlimited"]


def test_a_day_of_an_organization_takes_little_memory() -> None:
    """Ten thousand of them that send something in every minute fit into memory with the rest of a server."""
    clock = ManualClock()
    counts = Windows(clock)
    many = [number.to_bytes(16, "big") for number in range(10)]
    tracemalloc.start()
    try:
        for _ in range(DAY_MS // MINUTE_MS):
            clock.push(MINUTE_MS)
            assert all(counts.take(each, PlanLimits(600, 200_000)).is_taken for each in many)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(many) < 24 * 1024
