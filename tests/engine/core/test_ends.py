"""Ends from outside: termination in every phase, quarantine, and that the end is the end."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine.core import events as e
from perdure.engine.core.commands import (
    Advance,
    AnswerTask,
    Beat,
    ChildStarted,
    Command,
    CompleteTask,
    Confirm,
    FireTimer,
    Quarantine,
    Recover,
    Redispatch,
    Refuse,
    Release,
    TaskFailure,
    TaskSuccess,
    Trigger,
)
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Rejection
from perdure.engine.core.effects import CancelTask, EndChild, RunTask, SetTimer, TakeUp
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.state import initial_state
from perdure.engine.testing import WORKFLOW, WORKSPACE, failed, recovered, resumed, succeeded, terminated
from perdure.engine.testing import given as plainly_given
from perdure.engine.testing.scenario import Sent
from tests.present import present

from .checked import given, tasks_of

CHARGE = {"Type": "Task", "Resource": "charge"}


def one(state):
    return {"StartAt": "A", "States": {"A": {**state, "End": True}}}


SELL: dict[str, Any] = {
    "Type": "Task",
    "Resource": "arn:aws:states:::states:startExecution.sync:2",
    "Parameters": {"StateMachineArn": "child"},
}
STATES: dict[str, dict[str, Any]] = {
    "C1": CHARGE,
    "C2": CHARGE,
    "Ask": {"Type": "Task", "Resource": "charge.waitForResume"},
    "Pause": {"Type": "Wait", "Seconds": 60},
    "Sell": SELL,
}
INNER: dict[str, Any] = {
    name: {"StartAt": name, "States": {name: {**state, "End": True}}} for name, state in STATES.items()
}
BOTH = {"Type": "Parallel", "Branches": list(INNER.values())}
"""All at once."""

SPIN = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}}}
"""A loop that never ends by itself, and pauses for breath."""

PHASES: dict[str, tuple[Any, list[Sent]]] = {
    "in a task": (one(CHARGE), []),
    "in a wait": (one({"Type": "Task", "Resource": "wait_for_resume"}), []),
    "in a timer": (one({"Type": "Wait", "Seconds": 60}), []),
    "in a task with an open wait": (one({"Type": "Task", "Resource": "charge.waitForResume"}), []),
    "in a wait whose step has returned": (
        one({"Type": "Task", "Resource": "charge.waitForResume"}),
        [succeeded("A", 1)],
    ),
    "between two states": (SPIN, []),
    "in a retry delay": (one({**CHARGE, "Retry": [{"ErrorEquals": ["States.ALL"]}]}), [failed("A", "Busy")]),
    "with a time limit": (one({**CHARGE, "TimeoutSeconds": 9}), []),
    "with a child to start": (one(SELL), []),
    "with a child that runs": (one(SELL), [ChildStarted("", 2, {})]),
    "in branches": (one(BOTH), []),
    "in branches, one of which waits": (one(BOTH), [succeeded("C1")]),
    "in iterations": (one({"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": INNER["C1"]}), []),
    "held as a suspect": (one(CHARGE), [recovered(), recovered(), recovered()]),
    "quarantined": (one(CHARGE), [Quarantine("CompleteTask", "ValueError")]),
}


@pytest.fixture(params=PHASES)
def alive(request):
    definition, before = PHASES[request.param]
    return given(definition, {"items": [1, 2, 3]}).when(*before)


# --- termination ---------------------------------------------------------------------------------------------------


def test_a_termination_ends_the_execution_in_every_phase(alive):
    """At once, with the reason as business data, and with nothing left open; a step that runs is let go."""
    tasks = [task for _, task in sorted(tasks_of(alive.state).items())]
    alive.when(terminated("budget cut")).then(e.ExecutionTerminated(f"{alive.state.seq}/reason"))
    alive.then_answers("terminated").then_is("terminated", output=None)
    alive.then_effects(*(CancelTask(task.seq) if task.child is None else EndChild(task.child) for task in tasks))
    assert alive.events[-1].payload == {"reason": "budget cut"}
    assert not alive.state.waits
    assert not alive.state.timers


def test_a_second_termination_is_told_so(alive):
    """It is answered as done, changes nothing, and leaves the first reason."""
    alive.when(terminated("first"), terminated("second")).then("ExecutionTerminated").then_answers("already terminated")


def test_after_a_termination_nothing_moves(alive):
    """Whatever was under way gives what it gives: it is ignored, stale or refused."""
    late: list[Command] = []
    for scope, task in tasks_of(alive.state).items():
        name = alive.state.frames[scope].state
        late += [
            CompleteTask(scope, name, task.seq, 0, 1, outcome) for outcome in (TaskSuccess(1), TaskFailure("No", None))
        ]
    ignored = len(late)
    late += [FireTimer(timer) for timer in alive.state.timers]
    alive.after(10**9).when(terminated())
    alive.when(*late, Advance(), Recover(died=True), Redispatch(""), resumed(), Quarantine("Resume", "KeyError"))
    alive.then(*(["ResultIgnored"] * ignored), "CommandRefused").then_is("terminated")


@pytest.mark.parametrize(
    ("definition", "command", "status"),
    [
        (one(CHARGE), succeeded("A"), "completed"),
        (one(CHARGE), failed("A", "No"), "failed"),
    ],
)
def test_a_run_that_has_ended_by_itself_cannot_be_terminated(definition, command, status):
    """409, recorded; the end stays what it was."""
    run = given(definition).when(command).when(terminated())
    run.then(e.CommandRefused("terminate", "CONFLICT", 1)).then_refuses("CONFLICT").then_is(status)
    assert run.refused.details == {"status": status}


def test_a_terminated_run_is_recovered_by_nobody():
    """There is nothing to take up."""
    given(one(CHARGE)).when(terminated(), recovered()).then("ExecutionTerminated").then_refuses("STALE")


# --- quarantine ----------------------------------------------------------------------------------------------------


def test_an_execution_that_cannot_be_decided_is_set_aside():
    """The event names the command and the defect; status and phase stay."""
    run = given(one(CHARGE)).when(Quarantine("CompleteTask", "ZeroDivisionError"))
    run.then(e.ExecutionQuarantined("CompleteTask", "ZeroDivisionError")).then_is("running")
    run.when(Quarantine("Resume", "KeyError")).then_nothing().then_refuses("STALE")


def test_an_execution_that_waits_can_be_set_aside_too():
    """It then goes on waiting, and refuses the answer."""
    run = given(one({"Type": "Task", "Resource": "wait_for_resume"})).when(Quarantine("Resume", "KeyError"))
    run.then_is("waiting").when(resumed()).then_nothing().then_refuses("UNAVAILABLE").then_is("waiting")


def test_what_nests_is_set_aside_as_a_whole():
    """No branch goes on while another one cannot be decided; the termination lets go of all of them."""
    run = given(one(BOTH))
    late = [succeeded("C1")(run.state), ChildStarted("2.4", present(run.state.task("2.4")).seq, {}), FireTimer(7)]
    before = run.state.frames
    run.when(Quarantine("CompleteTask", "KeyError"), *late, Beat("x"), AnswerTask("x", TaskSuccess(1))).then(
        "ExecutionQuarantined"
    )
    assert run.state.frames == before
    run.then_refuses("UNAVAILABLE").when(terminated())
    run.then_effects("CancelTask", "CancelTask", "CancelTask", "EndChild")


def test_what_is_set_aside_is_told_and_does_nothing():
    """Results, timers, recoveries and answers are refused without a record: the run waits for its repair."""
    run = given(one(CHARGE))
    late = succeeded("A")(run.state)
    run.when(Quarantine("Resume", "KeyError"))
    for command in (late, recovered(), resumed(), Advance(), Redispatch(""), FireTimer(2)):
        run.when(command).then_nothing().then_refuses("UNAVAILABLE")


def test_what_is_set_aside_still_answers_for_the_past():
    """An answer is remembered, and a refusal recorded, as for every other run."""
    run = given(one(CHARGE)).when(Quarantine("Resume", "KeyError"))
    run.when(Confirm("an answer")).then_nothing().then_answers("an answer")
    run.when(Refuse("trigger", "taken")).then(e.CommandRefused("trigger", "CONFLICT", 1)).then_refuses("CONFLICT")


def test_a_quarantine_ends_with_the_run():
    """Once it is terminated it answers as every terminated run does, and records what comes late."""
    run = given(one(CHARGE))
    late = succeeded("A")(run.state)
    run.when(Quarantine("Resume", "KeyError"), terminated()).then_is("terminated")
    run.when(resumed()).then("CommandRefused").then_refuses("CONFLICT")
    run.when(late).then("ResultIgnored")
    run.when(terminated()).then_answers("already terminated")


def test_a_quarantine_can_be_lifted():
    """An event says so; what is to be done is decided by itself afterwards, for it may raise again."""
    run = given(one(CHARGE)).when(Quarantine("CompleteTask", "KeyError"), Release())
    run.then("ExecutionQuarantined", e.ExecutionReleased()).then_answers("released").then_effects(TakeUp())
    run.when(recovered(died=False)).then_nothing().then_effects("RunTask")
    run.when(Quarantine("Recover", "KeyError")).then("ExecutionQuarantined")
    run.when(Release(), recovered(died=False), succeeded("A", 1)).then_is("completed")


def test_what_came_due_in_quarantine_is_not_lost():
    """A timer is armed again, a step is called again under its key, and an answer can be given."""
    run = given(one(BOTH))
    keys = [duty.idempotency_key for duty in run.duties if isinstance(duty, RunTask)]
    run.when(Quarantine("CompleteTask", "KeyError")).after(10**8).when(Release(), recovered(died=False))
    assert [effect.idempotency_key for effect in run.effects if isinstance(effect, RunTask)] == keys
    assert {effect.due_at for effect in run.effects if isinstance(effect, SetTimer)} == {
        timer.due_at for timer in run.state.timers.values()
    }


def test_only_what_is_in_quarantine_can_be_released():
    """The refusal is recorded, as for every command that the state does not allow."""
    run = given(one(CHARGE)).when(Release()).then(e.CommandRefused("release", "CONFLICT", 1)).then_refuses("CONFLICT")
    run.when(Quarantine("Resume", "KeyError"), terminated(), Release()).then_refuses("CONFLICT")


# --- what there is not ---------------------------------------------------------------------------------------------


def test_a_command_about_nothing_finds_nothing():
    """Before its first event there is no execution."""
    facts = given(one(CHARGE))._facts()
    commands: list[Command] = [
        resumed(),
        terminated(),
        recovered(),
        Advance(),
        Redispatch(""),
        Quarantine("", ""),
        Confirm(1),
    ]
    for command in [*commands, Refuse("trigger", "taken"), succeeded("A")(given(one(CHARGE)).state)]:
        outcome = decide(initial_state(), command, facts)
        assert isinstance(outcome, Rejection)
        assert (outcome.code, outcome.steps) == ("NOT_FOUND", ())


def test_an_execution_starts_once():
    """A second trigger of the same stream is refused; ids make sure that there is none."""
    run = given(one(CHARGE))
    run.when(Trigger(WORKSPACE, WORKFLOW, 1, "0" * 64, "REQUEST", {})).then_nothing().then_refuses("CONFLICT")


def test_an_answer_can_be_remembered_without_an_event():
    """In every status."""
    run = given(one(CHARGE)).when(Confirm({"any": "thing"})).then_nothing().then_answers({"any": "thing"})
    run.when(succeeded("A"), Confirm(1)).then("TaskSucceeded", "ExecutionSucceeded").then_answers(1)


WIDE = 300
ASKING = {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 60, "End": True}}
FAILING = {"Go": {"Type": "Task", "Resource": "charge", "End": True}}
MANY = {"Type": "Map", "ItemProcessor": {"StartAt": "Ask", "States": ASKING}, "End": True}
BESIDE = {
    "Type": "Parallel",
    "Branches": [{"StartAt": "M", "States": {"M": MANY}}, {"StartAt": "Go", "States": FAILING}],
    "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Rest"}],
    "End": True,
}


@pytest.mark.parametrize("is_caught", [False, True])
def test_many_waits_end_at_the_cost_of_one_copy(monkeypatch, is_caught):
    """With the run, or with the state around them: nothing is taken out of a large mapping one by one."""
    definition = {"StartAt": "P", "States": {"P": BESIDE, "Rest": {"Type": "Wait", "Seconds": 1, "End": True}}}
    run = plainly_given(definition, [0] * WIDE)
    while len(run.state.waits) < WIDE:
        run.when(Advance())
    copies = 0
    real = PersistentMap.delete

    def counted(self, key):
        nonlocal copies
        copies += 1
        return real(self, key)

    monkeypatch.setattr(PersistentMap, "delete", counted)
    (going,) = [scope for scope in run.state.frames if run.state.task(scope) is not None]
    run.when(failed("Go", "Down", scope=going) if is_caught else terminated())
    assert copies < 20
    assert (len(run.state.waits), len(run.state.frames)) == (0, int(is_caught))
    assert [ended.outcome for ended in run.state.ended_waits.values()] == ["cancelled"]
    assert run.rejection is None
