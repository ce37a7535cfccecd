"""Pauses by an operator: what stops, what is recorded meanwhile, and how the run goes on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.effects import CallWithheld, HoldSuspect, RunTask, SetTimer, StartChild, Withhold
from perdure.engine.core.paused import PAUSED, table
from perdure.engine.core.settings import VERSION_DEFAULTS
from perdure.engine.testing import due, failed, resumed, succeeded

from .checked import Checked, wait_id

STEP = {"Type": "Task", "Resource": "charge"}
ASK = {"Type": "Task", "Resource": "wait_for_resume"}
CHILD = {
    "Type": "Task",
    "Resource": "arn:aws:states:::states:startExecution.sync:2",
    "Parameters": {"StateMachineArn": "child", "Input": {}},
}
PAUSE = c.PauseExecution("look at it")
FREEZE = c.PauseExecution("look at it", "freeze")


def run_of(*states: dict[str, Any], **machine: Any) -> Checked:
    """A run of states that follow each other, and are named A, B, C."""
    names = "ABC"[: len(states)]
    ways = [{"Next": name} for name in names[1:]] + [{"End": True}]
    made = {name: {**state, **way} for name, state, way in zip(names, states, ways, strict=True)}
    return Checked({"StartAt": "A", "States": made, **machine}, {})


def names_of(run: Checked, since: int) -> list[str]:
    return [type(recorded.event).__name__ for recorded in run.events[since:]]


# --- what stops -------------------------------------------------------------------------------------------------------


def test_a_result_is_recorded_and_the_next_state_waits() -> None:
    """The step goes on, since it was called; what follows from it is the unpause's."""
    run = run_of(STEP, STEP)
    run.when(PAUSE).then_answers("paused").then_effects(Withhold())
    assert (run.state.pause.by, run.state.pause.quota, run.state.is_quiescent) == ("key:test", None, False)  # type: ignore[union-attr]
    run.when(succeeded("A", {"n": 1}))
    assert names_of(run, 2) == ["ExecutionPaused", "TaskSucceeded"]
    assert run.state.is_quiescent
    assert run.state.is_idle
    run.when(c.UnpauseExecution("it is fine")).then_answers("unpaused")
    assert names_of(run, 4) == ["ExecutionUnpaused", "TaskScheduled"]
    assert run.value(run.event(4).reason) == "it is fine"
    run.when(succeeded("B", {})).then_is("completed")


def test_the_last_state_ends_the_run() -> None:
    """An end enters nothing."""
    run = run_of(STEP)
    run.when(PAUSE, succeeded("A", {})).then_is("completed")
    assert run.state.pause is None


def test_an_answer_is_told_and_taken() -> None:
    """Whoever answers a question need not know of the pause."""
    run = run_of(ASK, STEP)
    run.when(PAUSE).then_effects()
    assert run.state.is_quiescent
    run.when(resumed({"ok": True})).then_answers("restarted")
    run.when(resumed({"ok": True})).then_answers("already restarted")
    run.when(c.UnpauseExecution())
    assert [call.state for call in run.calls] == ["B"]


def test_branches_come_to_a_stop_each_where_it_is() -> None:
    """The fork is ended by the unpause, and by the failure that came first."""
    branches = [{"StartAt": n, "States": {n: {**STEP, "End": True}}} for n in ("X", "Y", "Z")]
    run = run_of({"Type": "Parallel", "Branches": branches}, STEP)
    run.when(PAUSE, failed("X", "First"), failed("Y", "Second"), succeeded("Z", {}))
    assert names_of(run, 5) == ["ExecutionPaused", "TaskFailed", "TaskFailed", "TaskSucceeded"]
    run.when(c.UnpauseExecution()).then_is("failed")
    assert run.value(run.state.error_ref) == "First"


def test_iterations_do_not_begin() -> None:
    """Room that was made while it is paused is used by the unpause."""
    each = {"StartAt": "X", "States": {"X": {**STEP, "End": True}}}
    run = Checked(
        {
            "StartAt": "M",
            "States": {"M": {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": each, "End": True}},
        },
        [1, 2],
    )
    run.when(PAUSE, succeeded("X", {}))
    assert run.state.is_quiescent
    run.when(c.UnpauseExecution())
    assert [call.scope for call in run.calls] == ["2.1"]


# --- time -------------------------------------------------------------------------------------------------------------

RETRY = {"Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 10, "MaxAttempts": 1}]}


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("is_before", [False, True])
def test_a_retry_delay_calls_nothing_while_it_is_paused(*, is_before: bool, is_late: bool) -> None:
    """It is over with the unpause if its instant has passed, whether it began before the pause or after."""
    run = run_of({**STEP, **RETRY})
    run.when(failed("A", "Down"), PAUSE) if is_before else run.when(PAUSE, failed("A", "Down"))
    assert not run.state.timers
    begun = run.now
    run.after(30_000 if is_late else 4_000).when(c.UnpauseExecution())
    run.then_effects(SetTimer(begun + 10_000))
    run.after(0 if is_late else 6_000).when(due())
    assert [call.attempt for call in run.calls] == [1]


def test_a_frozen_retry_delay_has_what_is_left_of_it() -> None:
    """Also one that began while the clocks stood: it lasts as long as it would have."""
    run = run_of({**STEP, **RETRY})
    run.when(FREEZE)
    run.after(50_000).when(failed("A", "Down"))
    run.after(50_000).when(c.UnpauseExecution())
    run.then_effects(SetTimer(run.now + 10_000))


@pytest.mark.parametrize("pause", [PAUSE, FREEZE])
def test_a_wait_state_that_comes_due(pause: c.PauseExecution) -> None:
    """With running clocks it is left, and nothing is entered; frozen it keeps what is left of it."""
    run = run_of({"Type": "Wait", "Seconds": 60}, STEP)
    run.after(50_000).when(pause)
    run.after(100_000).when(due())
    if pause is PAUSE:
        assert names_of(run, 3) == ["TimerFired"]
        run.when(c.UnpauseExecution())
    else:
        assert run.refused.code == "STALE"
        run.when(c.UnpauseExecution()).then_effects(SetTimer(run.now + 10_000))
        assert run.event(-1).shift_ms == 100_000
        run.after(9_999).when(due())
        assert not run.state.called
        run.after(1).when(due())
    assert [call.state for call in run.calls] == ["B"]


def test_frozen_limits_keep_what_is_left_of_them() -> None:
    """The run's, a step's, and a wait's with its heartbeat: all are due later by as long as it was paused."""
    ask = {**ASK, "TimeoutSeconds": 90, "HeartbeatSeconds": 40, "End": True}
    branches = [
        {"StartAt": "X", "States": {"X": {**STEP, "TimeoutSeconds": 60, "End": True}}},
        {"StartAt": "Y", "States": {"Y": ask}},
    ]
    run = run_of({"Type": "Parallel", "Branches": branches}, TimeoutSeconds=3600)
    before = {name: (timer.due_at, timer.deadline) for name, timer in run.state.timers.items()}
    run.after(5_000).when(FREEZE)
    assert not run.state.timers
    assert [opened.due_at for opened in run.state.waits.values()] == [None]
    run.after(10**7).when(c.Beat(wait_id(1))).then_answers("alive")
    run.when(c.UnpauseExecution())
    after = {name: (timer.due_at - 10**7, timer.deadline) for name, timer in run.state.timers.items()}
    moved = {name: (due_at, deadline and deadline + 10**7) for name, (due_at, deadline) in before.items()}
    assert after == moved
    assert [opened.due_at for opened in run.state.waits.values()] == [before[4][0] + 10**7]


def test_limits_run_on_if_the_clocks_do() -> None:
    """A step that takes too long while its run is paused has timed out; so has the run itself."""
    run = run_of({**STEP, "TimeoutSeconds": 60, **RETRY}, TimeoutSeconds=100)
    run.when(PAUSE).after(60_000).when(due())
    assert names_of(run, 3) == ["TaskTimedOut"]
    run.after(40_000).when(c.FireTimer(1)).then_is("timed_out")


def test_a_clock_that_was_set_back_brings_nothing_forward() -> None:
    """What is due stays due when it was."""
    run = run_of({"Type": "Wait", "Seconds": 60})
    due_at = run.state.timers[2].due_at
    run.when(FREEZE).after(-5_000).when(c.UnpauseExecution())
    assert run.state.timers[2].due_at == due_at


# --- what waits to be called ------------------------------------------------------------------------------------------


def test_a_queued_step_waits_for_the_unpause() -> None:
    """It is not in flight, its limit does not run, and it is asked for again."""
    run = run_of({**STEP, "TimeoutSeconds": 60})
    seq = 2
    run.after(10_000).when(PAUSE).after(1_000).when(c.QueueTask("", seq, run.now - 1_000))
    assert run.state.is_quiescent
    run.after(10**6).when(c.StartTask("", seq))
    assert run.refused.code == "STALE"
    run.when(c.UnpauseExecution())
    assert [type(effect) for effect in run.effects] == [CallWithheld, RunTask]
    assert run.effects[1].is_queued  # type: ignore[union-attr]
    run.when(c.StartTask("", seq))
    assert run.event(-1).due_at == run.now + 50_000


def test_after_a_crash_nothing_is_called_before_the_unpause() -> None:
    """What ran then is queued, with the death that it saw; a child that was not started is not."""
    branches = [
        {"StartAt": "X", "States": {"X": {**STEP, "TimeoutSeconds": 60, "End": True}}},
        {"StartAt": "Y", "States": {"Y": {**CHILD, "TimeoutSeconds": 60, "End": True}}},
        {"StartAt": "Z", "States": {"Z": {**CHILD, "End": True}}},
    ]
    run = run_of({"Type": "Parallel", "Branches": branches})
    run.when(c.ChildStarted("2.2", 5, {}), FREEZE)
    run.restart()
    run.after(7_000).when(c.Recover(died=True))
    assert names_of(run, 7) == ["TaskInterrupted", "TaskQueued", "TaskQueued"]
    assert [type(effect).__name__ for effect in run.effects] == ["FollowChild"]
    assert (run.state.called, run.state.children, run.state.is_quiescent) == (1, 1, False)
    run.after(7_000).when(c.UnpauseExecution())
    assert names_of(run, 10) == ["ExecutionUnpaused", "TaskStarted"]
    assert [type(effect) for effect in run.effects if not isinstance(effect, SetTimer)] == [
        CallWithheld,
        RunTask,
        StartChild,
    ]
    assert run.event(-1).due_at == run.now + 60_000
    run.when(c.StartTask("2.0", 3))
    assert run.event(-1).due_at == run.now + 60_000


def test_a_suspect_waits_for_its_turn_again() -> None:
    """It is held while its run is paused, over a restart too, and by the unpause."""
    run = run_of(STEP)
    run.when(*[c.Recover(died=True)] * 3)
    assert run.state.task("").is_held  # type: ignore[union-attr]
    run.when(PAUSE).when(c.Redispatch(""))
    assert run.refused.code == "STALE"
    run.when(c.Recover(died=False)).then_effects()
    run.when(c.UnpauseExecution()).then_effects(CallWithheld(), HoldSuspect("", "A", 2, 3, 0))


# --- what an operator is told -----------------------------------------------------------------------------------------


def test_it_stays_as_it_was_paused_first() -> None:
    """Once more is a success, and changes nothing: whoever repeats a call after a lost answer wants to know."""
    run = run_of(ASK)
    run.when(PAUSE).when(c.PauseExecution("again", "freeze")).then_answers("already paused").then_nothing()
    run.when(c.UnpauseExecution()).when(c.UnpauseExecution()).then_answers("not paused").then_nothing()


@pytest.mark.parametrize("command", [PAUSE, c.UnpauseExecution()])
def test_what_has_ended_cannot_be_paused(command: c.PauseExecution | c.UnpauseExecution) -> None:
    """It is refused with the status, and that is recorded."""
    run = run_of({"Type": "Pass"})
    run.when(command)
    assert (run.refused.code, run.refused.details) == ("CONFLICT", {"status": "completed"})


@pytest.mark.parametrize("command", [c.PauseExecution("x" * 2_000_000), c.UnpauseExecution("x" * 2_000_000)])
def test_a_reason_is_no_place_for_a_book(command: c.PauseExecution | c.UnpauseExecution) -> None:
    """It may be as large as any value, and no larger."""
    run = run_of(ASK)
    if isinstance(command, c.UnpauseExecution):
        run.when(PAUSE)
    run.when(command)
    assert (run.refused.code, run.refused.details["field"]) == ("VALIDATION_ERROR", "reason")


def test_it_can_be_paused_in_quarantine() -> None:
    """And is paused still when it is released; to go on needs a decision, so that comes after."""
    run = run_of(STEP)
    run.when(c.Quarantine("Resume", "KeyError"), PAUSE).then_answers("paused")
    run.when(c.UnpauseExecution())
    assert run.refused.code == "UNAVAILABLE"
    run.when(c.Release(), c.Recover(died=False), c.UnpauseExecution()).then_answers("unpaused")


# --- the table --------------------------------------------------------------------------------------------------------

CALLED = {"StartAt": "A", "States": {"A": {**STEP, **RETRY, "Next": "B"}, "B": {"Type": "Pass", "End": True}}}
DOES: dict[type, tuple[dict[str, Any], tuple[c.Command, ...], c.Command]] = {
    c.CompleteTask: (CALLED, (PAUSE,), c.CompleteTask("", "A", 2, 0, 1, c.TaskSuccess({}))),
    c.ChildStarted: ({"StartAt": "A", "States": {"A": {**CHILD, "End": True}}}, (PAUSE,), c.ChildStarted("", 2, {})),
    c.Resume: (
        {"StartAt": "A", "States": {"A": {**ASK, "Next": "B"}, "B": {**STEP, "End": True}}},
        (PAUSE,),
        resumed(),
    ),
    c.AnswerTask: (
        {"StartAt": "A", "States": {"A": {**ASK, **RETRY, "End": True}}},
        (PAUSE,),
        c.AnswerTask(wait_id(1), c.TaskFailure("Down", None)),
    ),
    c.Beat: (
        {"StartAt": "A", "States": {"A": {**ASK, "TimeoutSeconds": 60, "HeartbeatSeconds": 9, "End": True}}},
        (PAUSE,),
        c.Beat(wait_id(1)),
    ),
    c.FireTimer: (
        {"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 0, "Next": "B"}, "B": {**STEP, "End": True}}},
        (PAUSE,),
        c.FireTimer(2),
    ),
    c.QueueTask: (CALLED, (PAUSE,), c.QueueTask("", 2, 0)),
    c.StartTask: (CALLED, (c.QueueTask("", 2, 0), PAUSE), c.StartTask("", 2)),
    c.Redispatch: (CALLED, (*[c.Recover(died=True)] * 3, PAUSE), c.Redispatch("")),
    c.Advance: (CALLED, (PAUSE, c.CompleteTask("", "A", 2, 0, 1, c.TaskSuccess({}))), c.Advance()),
    c.Recover: (CALLED, (PAUSE,), c.Recover(died=True)),
    c.Admit: (CALLED, (PAUSE,), c.Admit(1, (0,))),
    c.Terminate: (CALLED, (PAUSE,), c.Terminate("enough")),
    c.Quarantine: (CALLED, (PAUSE,), c.Quarantine("Resume", "KeyError")),
    c.Release: (CALLED, (PAUSE, c.Quarantine("Resume", "KeyError")), c.Release()),
    c.PauseExecution: (CALLED, (PAUSE,), FREEZE),
    c.UnpauseExecution: (CALLED, (PAUSE,), c.UnpauseExecution()),
    c.RedriveExecution: (CALLED, (PAUSE,), c.RedriveExecution("mended")),
    c.ForkExecution: (
        CALLED,
        (PAUSE,),
        c.ForkExecution(e.Origin("fork", wait_id(1), 1, "0" * 64), (), "REQUEST"),
    ),
    c.Trigger: (CALLED, (PAUSE,), c.Trigger("w", "f", 1, "0" * 64, "REQUEST", {})),
    c.Confirm: (CALLED, (PAUSE,), c.Confirm("yes")),
    c.Refuse: (CALLED, (PAUSE,), c.Refuse("trigger", "taken")),
}
"""Of each command: a definition, what comes before, and the command to the paused run."""


@pytest.mark.parametrize("kind", PAUSED, ids=lambda kind: kind.__name__)
def test_each_command_means_what_the_table_says(kind: type) -> None:
    """`Checked` sees besides that nothing is entered or called by any of them."""
    definition, before, command = DOES[kind]
    assert type(command) is kind
    limits = (e.RunLimit("workflow", "f" * 64),) if kind is c.Admit else ()
    run, plain = (Checked(definition, {}, None, None, VERSION_DEFAULTS, limits) for _ in range(2))
    run.when(*before)
    plain.when(*(each for each in before if each is not PAUSE))
    seq = run.state.seq
    run.when(command)
    plain.when(command)
    names = names_of(run, seq)
    meaning = PAUSED[kind].does
    if meaning == "put off":
        assert run.refused.code == "STALE"
        assert not names
    elif meaning == "recorded":
        assert names[0] in (*names_of(plain, seq - 1), "TaskQueued")
        assert run.state.pause is not None
    elif meaning == "no change":
        assert (names, run.state.pause.frozen_at) == ([], None)  # type: ignore[union-attr]
    elif meaning == "goes on":
        assert names == ["ExecutionUnpaused"]
        assert run.state.pause is None
    else:
        assert (names, run.answer, run.rejection is None) == (
            names_of(plain, seq - 1),
            plain.answer,
            plain.rejection is None,
        )


def test_the_table_has_a_row_for_each_command() -> None:
    """In words that a reader knows, without our names."""
    rows = table().splitlines()
    assert len(rows) == len(PAUSED) + 2 == len(DOES) + 2
    assert all(row.count("|") == 4 for row in rows)


def test_an_event_is_what_its_command_said() -> None:
    """Free text stands in payloads."""
    run = run_of(ASK)
    run.when(FREEZE)
    assert run.events[-1].payload == {"reason": "look at it"}
    assert run.event(-1) == replace(run.event(-1), frozen_at=run.now, quota=None)
    assert isinstance(run.events[0].event, e.ExecutionStarted)
