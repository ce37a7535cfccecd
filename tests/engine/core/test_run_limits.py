"""How long a run may become: at so many events it fails, whatever it is doing."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.commands import Beat
from perdure.engine.core.decision import Facts
from perdure.engine.history import states_history
from perdure.engine.testing import due, failed

from .checked import Checked, wait_id

LIMIT = 50
ALL = {"ErrorEquals": ["States.ALL"]}


class Limited(Checked):
    """A checked run of at most LIMIT events."""

    def _facts(self) -> Facts:
        return replace(super()._facts(), events_max=LIMIT)


def loop(*names: str, **state: Any) -> dict[str, Any]:
    """States that lead to each other for ever."""
    following = [*names[1:], names[0]]
    return {"StartAt": names[0], "States": {n: {**state, "Next": to} for n, to in zip(names, following, strict=True)}}


def end_of(run: Checked) -> None:
    run.then_is("failed", error="States.Runtime")
    assert run.value(run.state.cause) == f"The execution reached the maximum number of history events ({LIMIT})."
    assert LIMIT < run.state.seq <= LIMIT + 2
    assert states_history(run.events)[-1]["type"] == "ExecutionFailed"
    run.check()


def test_a_loop_without_an_end_comes_to_its_end():
    """The run fails, and is over."""
    end_of(Limited(loop("A", "B", Type="Pass"), {}))


def test_neither_retry_nor_catch_is_asked():
    """A task that is tried again for ever is no other loop."""
    handled = {
        "Retry": [{**ALL, "MaxAttempts": 99, "IntervalSeconds": 1, "BackoffRate": 1}],
        "Catch": [{**ALL, "Next": "A"}],
    }
    run = Limited(loop("A", "B", Type="Task", Resource="charge", **handled), {})
    while not run.state.is_over:
        run.when(failed("A", "Down"))
        if not run.state.is_over:
            run.after(1000).when(due())
    end_of(run)


def test_heartbeats_are_events_too():
    """Who holds a token cannot make a log grow for ever."""
    ask = {"Type": "Task", "Resource": "notify.waitForTaskToken", "Parameters": {"token.$": "$$.Task.Token"}}
    state = {**ask, "HeartbeatSeconds": 9, "End": True}
    run = Limited({"StartAt": "A", "States": {"A": state}}, {})
    while not run.state.is_over:
        run.when(Beat(wait_id(1)))
    end_of(run)


@pytest.mark.parametrize("most", [10, 40])
def test_a_run_that_ends_before_is_not_concerned(most: int):
    """However near it comes."""
    states: dict[str, Any] = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(most)}
    run = Limited({"StartAt": "S0", "States": {**states, f"S{most}": {"Type": "Succeed"}}}, {})
    run.then_is("completed")
    assert isinstance(run.event(-1), e.ExecutionSucceeded)
