"""Forks of runs: another run has the history of its origin up to an event, and goes its own way from there."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.chance_events import ExecutionForked
from perdure.engine.core.decision import Facts
from perdure.engine.core.effects import RunTask, StartChild
from perdure.engine.core.events import Origin
from perdure.engine.core.evolve import replay
from perdure.engine.core.settings import VersionSettings
from perdure.engine.core.state import State
from perdure.engine.history import states_history
from perdure.engine.testing import due, failed, redriven, resumed, succeeded, terminated

from . import generated
from .checked import Checked, given, wait_id
from .generated import MARK
from .test_properties import begin, send, send_anything
from .test_redrive import ASK, STEP, each, machine, parallel

FORK = "01900000-0000-7000-8000-0000000000f0"
RUNS = int(os.environ.get("PERDURE_RUNS", "50"))


class Branched(Checked):
    """A run that begins as a fork of another, and is checked as all are."""

    def __init__(
        self,
        origin: Checked,
        seq: int,
        reason: str | None = None,
        given_input: Any = UNSET,
        *,
        limits: tuple[e.RunLimit, ...] = (),
        settings: VersionSettings | None = None,
    ) -> None:
        self.fork = c.ForkExecution(
            Origin("fork", "01900000-0000-7000-8000-000000000001", seq, "a" * 64),
            tuple(origin.events[:seq]),
            "REQUEST",
            settings=settings or origin.settings,
            limits=limits,
            process_id=f"{MARK}fork",
            reason=reason,
            input=given_input,
        )
        super().__init__(origin.machine, {})

    def _send(self, command: c.Command) -> None:
        super()._send(self.fork if isinstance(command, c.Trigger) else command)

    def _facts(self) -> Facts:
        return replace(super()._facts(), execution=FORK)

    def wait_id(self, number: int) -> str:
        return wait_id(500 + number)

    @property
    def wait(self) -> str:
        return wait_id(500 + self._waits)


def shape(state: State) -> Any:
    """All of a state but when it was recorded, ids, and whose it is."""
    frames = {
        scope: (frame.state, frame.input, type(frame.phase), getattr(frame.phase, "seq", 0), frame.entry, frame.retries)
        for scope, frame in state.frames.items()
    }
    more = {scope: (f.parameters, f.visits, f.variables) for scope, f in state.frames.items()}
    opened = sorted((wait.scope, wait.state, wait.seq) for wait in state.waits.values())
    ended = [(wait.state, wait.outcome) for wait in state.ended_waits.values()]
    ends = (
        state.status,
        state.seq,
        state.current,
        state.input,
        state.output,
        state.error,
        state.error_ref,
        state.cause,
    )
    counts = (state.active, state.delayed, state.ready, state.actionable_forks, state.redrives, state.refusals)
    fallen = {scope: (frame.state, frame.input, type(frame.phase)) for scope, frame in state.fallen.items()}
    timers = (
        dict(state.timers.items()),
        dict(state.stopped.items()),
        state.pause and replace(state.pause, since=0, by=""),
    )
    held = (state.limits, state.counts, state.queue, state.places, state.is_overdue, state.is_quarantined, *timers)
    return ends, counts, frames, more, state.forks, opened, ended, held, fallen, state.fallen_forks


# --- single cases -----------------------------------------------------------------------------------------------------


def test_a_fork_has_the_outputs_of_its_origin_and_calls_none_of_their_steps():
    """Of what was completed nothing is done again; what was in progress is called under a key of the fork's own."""
    origin = given(machine(A={**STEP}, B={**STEP}), {"n": 1}).when(succeeded("A", {"a": 1}))
    fork = Branched(origin, 4, "what if")
    names = [type(r.event).__name__ for r in fork.events]
    assert names == [
        *("ExecutionStarted", "TaskScheduled", "TaskSucceeded"),
        "TaskScheduled",
        "ExecutionForked",
        names[-1],
    ]
    calls = [effect for effect in fork.effects if isinstance(effect, RunTask)]
    assert [(call.state, call.parameters) for call in calls] == [("B", {"a": 1})]
    assert calls[0].idempotency_key.startswith(f"{FORK}/B/-/")
    assert fork.events[4].payload == {"reason": "what if"}
    fork.when(succeeded("B", {"b": 2})).then_is("completed", output={"b": 2}).check()


def test_its_first_event_says_where_it_comes_from_and_nothing_of_a_parent():
    """An auditor finds the origin; a parent of the origin is told nothing by the fork."""
    parent = e.Parent(wait_id(77), "", "P", 3, 1, 0, "sync:2", is_awaited=True)
    origin = given(machine(A={**STEP}), {"n": 1}, "INV-1", parent)
    fork = Branched(origin, 2)
    started = fork.event(0)
    assert started.origin == Origin("fork", "01900000-0000-7000-8000-000000000001", 2, "a" * 64)
    assert started.parent is None
    assert fork.events[0].payload == {"input": {"n": 1}, "process_id": f"{MARK}fork"}
    fork.when(succeeded("A", 1)).then_effects()


def test_the_input_of_the_one_state_in_progress_can_be_edited():
    """The state is given it, and the run's own input stays what it was."""
    origin = given(machine(A={**STEP}, B={**STEP}), {"n": 1}).when(succeeded("A", {"a": 1}))
    fork = Branched(origin, 3, given_input={"a": 2})
    assert [effect.parameters for effect in fork.effects if isinstance(effect, RunTask)] == [{"a": 2}]
    assert fork.value(fork.state.input) == {"n": 1}


def test_the_input_of_several_states_in_progress_cannot_be_edited():
    """It says which there are."""
    origin = given(machine(Both=parallel(machine(A={**STEP}), machine(B={**STEP}))))
    fork = Branched(origin, 4, given_input={})
    assert fork.refused.code == "VALIDATION_ERROR"
    assert "2 states are in progress at that event ('A', 'B')" in fork.refused.message


def test_an_end_cannot_be_forked_and_the_last_event_that_can_is_named():
    """There is nothing to go on with; just before the last state was left there is."""
    origin = given(machine(A={**STEP})).when(succeeded("A", 1))
    for seq in (3, 4):
        fork = Branched(origin, seq)
        assert (fork.refused.code, fork.refused.details) == ("CONFLICT", {"field": "seq", "limit": 2})
        assert "the last event that works is 2" in fork.refused.message
        assert not fork.events


def test_a_wait_is_opened_anew_and_neither_its_id_nor_its_token_is_the_origins():
    """Whoever was handed those by the origin moves nothing here."""
    tell = {"Type": "Task", "Resource": "notify.waitForTaskToken", "Parameters": {"t.$": "$$.Task.Token"}}
    origin = given(machine(Tell=tell)).when(succeeded("Tell"))
    fork = Branched(origin, len(origin.events))
    opened = [r.event for r in fork.events if isinstance(r.event, e.WaitOpened)]
    assert opened[0].token_sha256 is None
    assert not {wait.wait for wait in opened} & {
        r.event.wait for r in origin.events if isinstance(r.event, e.WaitOpened)
    }
    fork.when(c.AnswerTask(opened[0].wait, c.TaskSuccess(1))).then_refuses("WAIT_EXPIRED")
    fork.when(c.AnswerTask(opened[1].wait, c.TaskSuccess(1))).then_is("completed", output=1).check()


def test_a_child_in_progress_is_started_anew():
    """The origin's child is the origin's: the fork has one of its own."""
    child = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": "child"},
    }
    origin = given(machine(C=child))
    fork = Branched(origin, 2)
    (started,) = [effect for effect in fork.effects if isinstance(effect, StartChild)]
    assert started.child not in {origin.event(1).child, fork.event(1).child}


def test_a_fork_of_a_redriven_run_and_of_a_fork():
    """Both are histories like any other; a fork below a redrive goes on with what the redrive brought back."""
    origin = given(machine(A={**STEP})).when(failed("A", "Down"), redriven())
    fork = Branched(origin, len(origin.events))
    again = Branched(fork, len(fork.events))
    again.when(succeeded("A", 1)).then_is("completed", output=1).check()
    assert Branched(origin, 4).refused.details["limit"] == 3


def test_a_timer_is_set_anew_and_the_time_limit_of_the_run_too():
    """The instants of the origin are past, and none of the fork's."""
    source = {**machine(W={"Type": "Wait", "Seconds": 5}), "TimeoutSeconds": 100}
    origin = given(source)
    fork = Branched(origin, 2)
    assert {timer.due_at - fork.now for timer in fork.state.timers.values()} == {5_000, 100_000}
    fork.after(5000).when(due()).then_is("completed")


def test_the_history_of_a_fork_tells_of_each_state_once():
    """What is entered anew is not told to be entered twice."""
    origin = given(machine(A={**STEP}))
    fork = Branched(origin, 2).when(succeeded("A", 1))
    names = [event["type"] for event in states_history(fork.events)]
    assert names.count("TaskStateEntered") == 1
    assert names.count("TaskScheduled") == 2


# --- the property -----------------------------------------------------------------------------------------------------


def forks_are_states_of_their_origin(pick: Any) -> Counter[str]:
    """At the event at which it was forked, a run has its origin's state; then it lives, and calls nothing twice."""
    settings = pick(generated.SETTINGS)
    origin = begin(pick)
    send_anything(pick, origin, 16)
    seen = Counter[str]()
    for seq in sorted({pick(range(1, len(origin.events) + 1)) for _ in range(3)}):
        then = replay(origin.events[:seq])
        limits = pick(generated.LIMITS)
        fork = Branched(origin, seq, f"{MARK}reason", limits=limits, settings=settings)
        if fork.rejection is not None:
            assert fork.refused.code == "CONFLICT"
            assert not replay(origin.events[: fork.refused.details["limit"]]).is_over
            seen["refused"] += 1
            continue
        assert shape(replay(fork.events[:seq])) == shape(then)
        assert isinstance(fork.event(seq), ExecutionForked)
        seen.update(["from limited" if then.limits else "from unlimited", *(["queued"] if fork.state.queue else [])])
        in_progress = {(scope, frame.state) for scope, frame in then.frames.items()}
        went_on = {(r.event.scope, r.event.state) for r in fork.events[seq:] if isinstance(r.event, e.StatePassed)}
        for call in (effect for effect in fork.effects if isinstance(effect, RunTask)):
            assert (call.scope, call.state) in in_progress or went_on or len(fork.events) > seq + 1
            assert call.seq > seq
        send_anything(pick, fork, 6)
        go_on_if_alive(fork)
        fork.check()
        seen.update([then.status, fork.state.status])
    return seen


def go_on_if_alive(fork: Checked) -> None:
    if fork.state.queue is not None and not fork.state.is_quarantined:
        send(fork, generated.admission(fork))
    for _ in range(5):  # and no longer: a definition may have a loop without an end
        if not fork.state.is_quarantined and not fork.state.is_over and fork.state.ready:
            send(fork, c.Advance())
    if not fork.state.is_over:
        send(fork, c.Terminate(f"{MARK}enough"))


def test_it_has_the_state_of_its_origin_by_chance():
    """For runs of all kinds, at any event; and often enough, or this proves nothing."""
    seen = Counter[str]()
    for seed in range(RUNS):
        try:
            seen += forks_are_states_of_their_origin(random.Random(seed).choice)
        except BaseException as problem:
            problem.add_note(f"seed {seed}")
            raise
    assert min(seen[name] for name in ("running", "waiting", "refused", "terminated")) > RUNS // 50
    assert min(seen[name] for name in ("pending", "from limited", "from unlimited", "queued")) > RUNS // 50


@pytest.mark.parametrize("seq", range(2, 9))
def test_what_was_completed_before_the_event_is_never_called_again(seq):
    """At each event of a run of three steps: those done by then are not called, the others are, once."""
    origin = given(machine(A={**STEP}, B={**STEP}, C={**STEP}))
    for name in "ABC":
        origin.when(succeeded(name, name))
    fork = Branched(origin, seq)
    if seq >= 7:
        assert fork.refused.details["limit"] == 6
        return
    called = []
    while not fork.state.is_over:
        called += [effect.state for effect in fork.effects if isinstance(effect, RunTask)]
        fork.when(succeeded(fork.state.current or "", "again"))
    done = [r.event.state for r in origin.events[:seq] if isinstance(r.event, e.TaskSucceeded)]
    assert called == [name for name in "ABC" if name not in done]


def test_iterations_that_are_under_way_are_entered_anew_and_the_others_begin_in_turn():
    """A Map goes on as far as it had come."""
    origin = given(machine(M=each(machine(Ask={**ASK}), MaxConcurrency=2)), [0, 1, 2])
    origin.when(resumed("done", wait=wait_id(1)))
    fork = Branched(origin, len(origin.events))
    for wait, _ in fork.state.open_waits():
        fork.when(resumed(wait, wait=wait))
    fork.then_is("completed").check()
    assert fork.value(fork.state.output)[0] == "done"
    origin.when(terminated())


def test_a_branch_that_was_just_failing_goes_on_with_those_beside_it():
    """At the failure of the branch as at that of the Parallel: it does not fail once more with nothing tried."""
    origin = given(machine(Both=parallel(machine(A={**STEP}), machine(B={**STEP})))).when(failed("A", "Down"))
    for seq in (5, 6):
        fork = Branched(origin, seq)
        assert {effect.state for effect in fork.effects if isinstance(effect, RunTask)} == {"A", "B"}
        fork.when(succeeded("A", 1), succeeded("B", 2)).then_is("completed", output=[1, 2]).check()
        refused = Branched(origin, seq, given_input={}).refused
        assert "2 states are in progress at that event ('A', 'B')" in refused.message


def test_the_input_of_an_iteration_that_waits_for_its_turn_can_be_edited():
    """Of a Map that was failing the iterations go on one by one; the one that is left is given the new input."""
    origin = given(machine(M=each(machine(A={**STEP}), MaxConcurrency=1)), [0, 1])
    origin.when(succeeded("A", "done"), failed("A", "Down"))
    for seq in range(len(origin.events) - 2, len(origin.events)):
        fork = Branched(origin, seq, given_input={"mended": 1})
        assert [effect.parameters for effect in fork.effects if isinstance(effect, RunTask)] == [{"mended": 1}]
        fork.when(succeeded("A", 2)).then_is("completed", output=["done", 2]).check()
