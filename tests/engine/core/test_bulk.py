"""Bulk jobs as a stream: what each command means in each status, and what the events add up to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.core import bulk
from perdure.engine.core.bulk import (
    BeginTurn,
    BulkState,
    BulkStatus,
    CompleteBulk,
    EndTurn,
    StartBulk,
    StopBulk,
)
from perdure.engine.core.decision import Decision, Rejection

START = StartBulk("w", "terminate", {"filters": {"status": "waiting"}, "reason": "twice"}, 3)
RUNS = ("a", "b", "c")
ACTOR = "key:1"


def after(*commands: Any) -> BulkState:
    """The state after commands that are all accepted."""
    state = BulkState()
    for number, command in enumerate(commands):
        state = decided(state, command, number).steps[-1].state
    return state


def decided(state: BulkState, command: Any, now: int = 0) -> Decision:
    found = bulk.decide(state, command, now=now, actor=ACTOR)
    assert isinstance(found, Decision), found
    return found


def names(decision: Decision) -> list[str]:
    return [type(step.recorded.event).__name__ for step in decision.steps]


def ended(seq: int, failures: int = 0) -> EndTurn:
    failed = {"CONFLICT": failures} if failures else {}
    listed = [{"execution_id": str(number), "code": "CONFLICT", "message": "no"} for number in range(failures)]
    return EndTurn(seq, 2, 1, failed, listed)


STANDINGS: dict[str, tuple[Any, ...]] = {
    "new": (),
    "running": (START,),
    "in a turn": (START, BeginTurn(RUNS)),
    "stopping": (START, BeginTurn(RUNS), StopBulk()),
    "stopped": (START, StopBulk()),
    "completed": (START, CompleteBulk()),
}
COMMANDS: dict[str, Any] = {
    "start": START,
    "begin": BeginTurn(("d",)),
    "end": ended(2),
    "stop": StopBulk(),
    "complete": CompleteBulk(),
}
MOVES: dict[tuple[str, str], list[str]] = {
    ("new", "start"): ["BulkStarted"],
    ("running", "begin"): ["BulkTurnBegun"],
    ("running", "stop"): ["BulkStopped"],
    ("running", "complete"): ["BulkCompleted"],
    ("in a turn", "end"): ["BulkTurnEnded"],
    ("in a turn", "stop"): ["BulkStopRequested"],
    ("stopping", "end"): ["BulkTurnEnded", "BulkStopped"],
    ("stopping", "stop"): [],
    ("stopped", "stop"): [],
    ("completed", "stop"): [],
    ("completed", "complete"): [],
}
"""What each command leads to, by where the job stands; all else is refused."""


@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_each_command_means_where(standing: str, command: str) -> None:
    """As the table says, and nothing is recorded for what is refused."""
    found = bulk.decide(after(*STANDINGS[standing]), COMMANDS[command], now=9, actor=ACTOR)
    if (standing, command) in MOVES:
        assert isinstance(found, Decision)
        assert names(found) == MOVES[standing, command]
    else:
        assert isinstance(found, Rejection)
        assert found.code == ("NOT_FOUND" if standing == "new" else "CONFLICT")


def test_every_transition_is_made() -> None:
    """The table of transitions has no row that no command leads to."""
    made: set[tuple[BulkStatus, type]] = set()
    for standing in STANDINGS.values():
        state = after(*standing)
        for command in COMMANDS.values():
            found = bulk.decide(state, command, now=9, actor=ACTOR)
            before = state.status
            for step in found.steps if isinstance(found, Decision) else ():
                made.add((before, type(step.recorded.event)))
                before = step.state.status
    assert made == set(bulk.TRANSITIONS)


def test_what_is_looked_for_stands_in_the_payload() -> None:
    """Filters and reasons are business data."""
    (started,) = decided(BulkState(), START).steps
    assert started.recorded.payload == {"filters": {"status": "waiting"}, "reason": "twice"}
    (stopped,) = decided(after(START), StopBulk("asked", "wrong ones")).steps
    assert stopped.recorded.payload == {"reason": "wrong ones"}


def test_a_turn_is_named_by_its_seq_and_ends_once() -> None:
    """Its runs stand in the event before any is touched; the end of another turn is refused."""
    state = after(START, BeginTurn(RUNS))
    assert decided(after(START), BeginTurn(RUNS)).answer == state.turn_seq == 2
    assert (state.turn, state.last_run) == (RUNS, "c")
    assert isinstance(bulk.decide(state, ended(1), now=9, actor=ACTOR), Rejection)
    over = after(START, BeginTurn(RUNS), ended(2))
    assert (over.turn, over.last_run, over.done, over.unchanged) == ((), "c", 2, 1)
    assert isinstance(bulk.decide(over, ended(2), now=9, actor=ACTOR), Rejection)


@given(st.lists(st.integers(0, 30), max_size=6))
def test_failures_are_all_counted_and_the_first_listed(failures: list[int]) -> None:
    """However they fall into turns; `listed` has the events that list some."""
    state, listed, seqs = after(START), 0, []
    for number in failures:
        state = decided(state, BeginTurn(RUNS)).steps[-1].state
        (step,) = decided(state, ended(state.turn_seq, number)).steps
        state = step.state
        here = len((step.recorded.payload or {}).get("failures", ()))
        listed += here
        seqs += [state.seq] if here else []
    assert sum(state.failed.values()) == sum(failures)
    assert listed == min(sum(failures), bulk.LISTED_MAX)
    assert state.listed == tuple(seqs)
