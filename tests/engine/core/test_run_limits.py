"""Quotas of one run: what uses one up is paused, whatever it is doing."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.commands import Advance, Beat, Terminate, UnpauseExecution
from perdure.engine.core.decide import decide
from perdure.engine.core.decide.pause import UNPAUSED
from perdure.engine.core.decision import QUOTA_NAMES, Decision, Facts
from perdure.engine.core.pause_events import ExecutionPaused, Quota
from perdure.engine.core.state import OngoingPause
from perdure.engine.testing import due, failed

from .checked import Checked, wait_id

LIMIT = 50
ASK = {"Type": "Task", "Resource": "wait_for_resume", "End": True}
ALL = {"ErrorEquals": ["States.ALL"]}


class Limited(Checked):
    """A checked run of at most LIMIT events."""

    def _facts(self) -> Facts:
        return replace(super()._facts(), events_max=LIMIT, engine="engine:test")


def loop(*names: str, **state: Any) -> dict[str, Any]:
    """States that lead to each other for ever."""
    following = [*names[1:], names[0]]
    return {"StartAt": names[0], "States": {n: {**state, "Next": to} for n, to in zip(names, following, strict=True)}}


def stopped_by(run: Checked, quota: Quota, reason: str) -> OngoingPause:
    """The pause of a run that a quota has paused, which nothing moves on."""
    pause = run.state.pause
    assert pause is not None
    assert (pause.quota, run.value(pause.reason), pause.by) == (quota, reason, "engine:test")
    assert pause.frozen_at is not None
    run.when(Advance())
    assert run.refused.code == "STALE"
    run.check()
    return pause


def events_used_up(run: Checked, count: int) -> None:
    stopped_by(run, "events", f"the run has {count} events: its quota (run_events_max) is used up")
    assert run.state.seq == count + 1


class Named(Limited):
    """Limited by a quota of its workflow, which was raised after a pause."""

    most = LIMIT

    def _facts(self) -> Facts:
        names = {**QUOTA_NAMES, "events": "quotas.events of the workflow"}
        return replace(super()._facts(), events_max=self.most, quota_names=names)


def test_the_reason_names_the_setting_that_is_in_force() -> None:
    """And an unpause under a raised one grants nothing: the run goes on to where that ends."""
    run = Named(loop("A", "B", Type="Pass"), {})
    name = "quotas.events of the workflow"
    stopped_by(run, "events", f"the run has {LIMIT} events: its quota ({name}) is used up")
    run.most = LIMIT + 20
    run.when(UnpauseExecution())
    assert run.state.events_until == 0
    stopped_by(run, "events", f"the run has {LIMIT + 20} events: its quota ({name}) is used up")


def test_a_loop_without_an_end_is_paused() -> None:
    """The run is not over: what it has done is kept, and somebody decides."""
    run = Limited(loop("A", "B", Type="Pass"), {})
    events_used_up(run, LIMIT)
    assert run.state.is_quiescent
    run.when(Terminate("enough")).then_is("terminated")


def test_an_unpause_grants_the_quota_once_more() -> None:
    """Each time; that it did stands in the event."""
    run = Limited(loop("A", "B", Type="Pass"), {})
    for round_ in range(1, 4):
        events_used_up(run, run.state.seq - 1)
        seq = run.state.seq
        run.when(UnpauseExecution("go on")).then_answers(UNPAUSED)
        assert run.event(seq).events_until == seq + LIMIT, round_


def test_an_operator_gives_no_more_than_is_used_up() -> None:
    """A run that is far from its quota has that, and no more, after any pause."""
    run = Limited({"StartAt": "A", "States": {"A": ASK}}, {})
    run.when(c.PauseExecution("look"))
    run.when(UnpauseExecution())
    assert (run.state.events_until, run.state.bytes_until) == (0, 0)


def test_what_is_tried_again_for_ever_is_a_loop_too() -> None:
    """Neither Retry nor Catch is asked: the run is paused after the failure, before the next attempt."""
    handled = {
        "Retry": [{**ALL, "MaxAttempts": 99, "IntervalSeconds": 1, "BackoffRate": 1}],
        "Catch": [{**ALL, "Next": "A"}],
    }
    run = Limited(loop("A", "B", Type="Task", Resource="charge", **handled), {})
    while run.state.pause is None:
        if run.state.called:
            run.when(failed(str(run.state.current), "Down"))
        else:
            run.after(1000).when(due())
    assert LIMIT <= run.state.pause.seq - 1 <= LIMIT + 4
    assert run.state.pause.quota == "events"


def test_heartbeats_are_events_too() -> None:
    """Who holds a token cannot make a log grow for ever: paused by a quota a run has nothing to put off."""
    ask = {"Type": "Task", "Resource": "notify.waitForTaskToken", "Parameters": {"token.$": "$$.Task.Token"}}
    state = {**ask, "HeartbeatSeconds": 9, "End": True}
    run = Limited({"StartAt": "A", "States": {"A": state}}, {})
    while run.state.pause is None:
        run.when(Beat(wait_id(1)))
    assert run.state.seq == LIMIT + 1
    run.when(Beat(wait_id(1))).then_answers("alive")
    assert run.state.seq == LIMIT + 1
    run.check()


class InAHurry(Checked):
    """A checked run that may enter 60 states within a minute."""

    def _facts(self) -> Facts:
        return replace(super()._facts(), transitions_minute_max=60, engine="engine:test")


def test_a_tight_loop_is_paused_within_its_minute() -> None:
    """And after an unpause it has another minute's worth."""
    run = InAHurry(loop("A", "B", Type="Pass"), {})
    words = "the run made 60 transitions within a minute: its quota (run_transitions_per_s_max) is used up"
    stopped_by(run, "transitions", words)
    run.when(UnpauseExecution())
    stopped_by(run, "transitions", words)
    assert run.state.transitions == 60


def test_a_loop_that_takes_its_time_is_none() -> None:
    """A state a second is 60 in a minute, and the next one belongs to the next minute."""
    run = InAHurry(loop("A", "B", Type="Wait", Seconds=1), {})
    for _ in range(200):
        run.after(1001).when(due())
    assert run.state.pause is None


@pytest.mark.parametrize(("written", "until", "quotas"), [(4999, 0, []), (5000, 0, ["bytes"]), (5000, 5001, [])])
def test_a_log_of_too_many_bytes_pauses_its_run(written: int, until: int, quotas: list[str]) -> None:
    """What the driver has counted up to a decision is what the decision goes by."""
    with patch.object(Checked, "transitions_max", 1):
        run = Checked(loop("A", "B", Type="Pass"), {})
        facts = replace(run._facts(), log_bytes_max=5000)
    decided = decide(replace(run.state, log_bytes=written, bytes_until=until), Advance(), facts)
    assert isinstance(decided, Decision)
    events = [step.recorded.event for step in decided.steps]
    assert [event.quota for event in events if isinstance(event, ExecutionPaused)] == quotas
    assert len(events) == 1
    if quotas:
        unpaused = decide(decided.steps[-1].state, UnpauseExecution(), facts)
        assert isinstance(unpaused, Decision)
        assert [step.recorded.event.bytes_until for step in unpaused.steps[:1]] == [written + 5000]  # type: ignore[attr-defined]


@pytest.mark.parametrize("most", [10, 40])
def test_a_run_that_ends_before_is_not_concerned(most: int):
    """However near it comes."""
    states: dict[str, Any] = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(most)}
    run = Limited({"StartAt": "S0", "States": {**states, f"S{most}": {"Type": "Succeed"}}}, {})
    run.then_is("completed")
    assert isinstance(run.event(-1), e.ExecutionSucceeded)
