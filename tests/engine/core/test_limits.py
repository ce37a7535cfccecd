"""Limits and time-outs by settings: queued, admitted, given back, and ended in time."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from perdure.engine.core import events as e
from perdure.engine.core import limit_events as le
from perdure.engine.core.commands import Admit, AnswerTask, FireTimer, Quarantine, Release, Resume, TaskFailure
from perdure.engine.core.effects import CancelTask, FillPlaces, SetTimer
from perdure.engine.core.settings import VersionSettings
from perdure.engine.core.state import EXECUTION_TIMER, SETTINGS_TIMER
from perdure.engine.testing import START, due, failed, recovered, resumed, succeeded, terminated

from .checked import Checked, given, wait_id

OWN, ALL = e.RunLimit("key", "a" * 64), e.RunLimit("organization", "b" * 64)
CHARGE = {"Type": "Task", "Resource": "charge"}
ASK = {"Type": "Task", "Resource": "wait_for_resume"}
ACTIVE = VersionSettings(concurrency_limit=1, concurrency_counts="active")
MINUTE = VersionSettings(timeout_ms=60_000)


def chain(*states, **fields):
    """States A, B and so on, one after the other."""
    names = "ABCDE"[: len(states)]
    following = [{"Next": name} for name in names[1:]] + [{"End": True}]
    members = zip(names, states, following, strict=True)
    return {"StartAt": "A", "States": {name: {**state, **then} for name, state, then in members}, **fields}


def admit(*places):
    return lambda state: Admit(state.queue.seq, places)


# --- queued and admitted ---------------------------------------------------------------------------------------------


def test_a_run_with_limits_queues_and_nothing_of_it_is_begun():
    """It asks for a look at its line, and says of what its limits are no more than their keys."""
    run = given(chain(CHARGE), limits=(OWN, ALL))
    run.then_is("pending").then_effects(FillPlaces((OWN.key,)))
    assert run.event(0).limits == (OWN, ALL)
    assert len(run.events) == 1


def test_it_begins_when_it_is_admitted():
    """With a place in each limit, which it gives back with the very event that ends it."""
    run = given(chain(CHARGE), limits=(OWN, ALL)).when(admit(3, 17))
    run.then(le.ExecutionAdmitted((3, 17)), "TaskScheduled").then_is("running").then_effects("RunTask")
    assert list(run.state.places) == [3, 17]
    run.when(succeeded("A")).then("TaskSucceeded", "ExecutionSucceeded").then_effects(FillPlaces((OWN.key, ALL.key)))
    assert not run.state.places


@pytest.mark.parametrize("late", [Admit(1, (3,)), Admit(1, (3, 17)), Admit(99, (3, 17))])
def test_an_admission_that_is_late_or_wrong_changes_nothing(late):
    """It names since when the run queues, and needs as many places as there are limits."""
    run = given(chain(CHARGE), limits=(OWN, ALL)).when(admit(3, 17))
    run.when(late).then_nothing().then_refuses("STALE")
    given(chain(CHARGE), limits=(OWN, ALL)).when(Admit(1, (3,))).then_nothing().then_refuses("STALE")


def test_a_queued_run_is_terminated_and_had_no_places_to_give_back():
    """It leaves its line with the event."""
    given(chain(CHARGE), limits=(OWN,)).when(terminated("enough")).then("ExecutionTerminated").then_effects()


def test_a_queued_run_is_early_for_a_resume():
    """As a run is whose wait has not opened yet."""
    given(chain(ASK), limits=(OWN,)).when(resumed()).then_refuses("NOT_WAITING").then_is("pending")


def test_a_queued_run_is_set_aside_and_released():
    """It is not admitted meanwhile; afterwards it stands where it stood."""
    run = given(chain(CHARGE), limits=(OWN,)).when(Quarantine("Resume", "KeyError")).then_is("pending")
    run.when(Admit(1, (3,))).then_refuses("UNAVAILABLE")
    run.when(Release()).then_is("pending").when(recovered()).then_effects(FillPlaces((OWN.key,)))
    run.when(admit(3)).then_is("running")


def test_time_in_the_queue_does_not_count():
    """Both limits of the whole run, the machine's and the settings', begin when it is admitted."""
    run = given(chain(CHARGE, TimeoutSeconds=90), limits=(OWN,), settings=MINUTE)
    run.after(3_600_000).when(admit(1)).then(
        le.ExecutionAdmitted((1,), START + 3_690_000, START + 3_660_000), "TaskScheduled"
    )
    run.then_effects(SetTimer(START + 3_690_000), SetTimer(START + 3_660_000), "RunTask")
    run.after(60_000).when(FireTimer(SETTINGS_TIMER)).then("ExecutionTimedOut").then_is("timed_out")


# --- places of runs that wait ----------------------------------------------------------------------------------------


def test_a_run_that_waits_keeps_its_place():
    """Unless the settings say otherwise."""
    run = given(chain(ASK, CHARGE), limits=(OWN,)).when(admit(1)).then("ExecutionAdmitted", "WaitOpened")
    run.when(resumed()).then("WaitResumed", "TaskScheduled").then_is("running")


def test_a_run_that_only_waits_gives_its_place_back_and_queues_again():
    """What it was answered is recorded, and its frame stands ready until it is admitted."""
    run = given(chain(ASK, CHARGE), limits=(OWN,), settings=ACTIVE).when(admit(1))
    run.then("ExecutionAdmitted", "WaitOpened", le.PlacesReturned()).then_effects(FillPlaces((OWN.key,)))
    run.then_is("waiting").when(resumed({"ok": True})).then("WaitResumed", le.ExecutionQueued())
    assert run.answer == "restarted"
    run.then_is("pending").then_effects(FillPlaces((OWN.key,)))
    run.when(resumed()).then_nothing()
    assert run.answer == "already restarted"
    run.when(admit(2)).then(le.ExecutionAdmitted((2,)), "TaskScheduled").then_is("running")


def test_a_run_whose_last_allowed_move_was_into_a_wait_gives_its_place_back_too():
    """However many moves a decision may make, who only waits has no place after it."""
    with patch.object(Checked, "transitions_max", 1):
        run = given(chain(ASK), settings=ACTIVE, limits=(OWN,)).when(admit(3)).then_is("waiting")
    assert run.state.places == ()


def test_a_run_whose_last_state_was_a_wait_ends_without_a_place():
    """There is nothing left to do that would need one."""
    run = given(chain(ASK), limits=(OWN,), settings=ACTIVE).when(admit(1)).when(resumed())
    run.then("WaitResumed", "ExecutionSucceeded").then_effects().then_is("completed")


def test_time_limits_stand_still_while_it_queues_again():
    """What was left of them runs on from the admission."""
    settings = VersionSettings(timeout_ms=60_000, concurrency_limit=1, concurrency_counts="active")
    run = given(chain(ASK, CHARGE, TimeoutSeconds=90), limits=(OWN,), settings=settings).when(admit(1))
    run.after(10_000).when(resumed()).then("WaitResumed", le.ExecutionQueued(80_000, 50_000))
    late = FireTimer(SETTINGS_TIMER)
    run.after(3_600_000).when(late).then_nothing().then_refuses("STALE")
    at = START + 3_610_000
    run.when(admit(1)).then(le.ExecutionAdmitted((1,), at + 80_000, at + 50_000), "TaskScheduled")


TELL = {
    "Type": "Task",
    "Resource": "wait_for_resume",
    "TimeoutSeconds": 60,
    "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}],
}


def beside(tell):
    """A wait with a step behind it, and beside them another wait."""
    asking = {"Ask": {**ASK, "Next": "Pay"}, "Pay": {**CHARGE, "End": True}}
    branches = [{"StartAt": "Ask", "States": asking}, {"StartAt": "Tell", "States": {"Tell": {**tell, "End": True}}}]
    return {"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}}


def test_what_happens_to_other_waits_of_a_queued_run_is_recorded_and_waits():
    """A wait that expires, the delay before another attempt, and that attempt: the last only with a place."""
    run = given(beside(TELL), limits=(OWN,), settings=ACTIVE).when(admit(1)).then_is("waiting")
    run.when(Resume({}, state="Ask")).then("WaitResumed", "ExecutionQueued").then_is("pending")
    run.after(60_000).when(due("3.1")).then("WaitExpired").then_is("pending")
    run.after(1000).when(due("3.1")).then(le.RetryDue("Tell", "3.1")).then_is("pending")
    run.when(admit(1)).then("ExecutionAdmitted", "TaskScheduled", "WaitOpened").then_is("running")
    run.when(succeeded("Pay", scope="3.0")).then("TaskSucceeded", "PlacesReturned").then_is("waiting")
    run.when(Resume({}, state="Tell")).then("WaitResumed", "ExecutionQueued")
    run.when(admit(1)).then("ExecutionAdmitted", "StateExited", "ExecutionSucceeded")


def test_an_answer_that_leaves_nothing_to_do_needs_no_place():
    """A branch has ended with it, and the other still waits."""
    run = given(beside(TELL), limits=(OWN,), settings=ACTIVE).when(admit(1))
    run.when(Resume({}, state="Tell")).then("WaitResumed").then_is("waiting")


def test_a_failure_of_another_wait_of_a_queued_run_ends_it_when_it_is_admitted():
    """The fork is settled by it, and ended in its turn."""
    once = {name: value for name, value in TELL.items() if name != "Retry"}
    run = given(beside(once), limits=(OWN,), settings=ACTIVE).when(admit(1)).when(Resume({}, state="Ask"))
    run.after(60_000).when(due("3.1")).then("WaitExpired").then_is("pending")
    run.when(admit(1)).then("ExecutionAdmitted", "StateFailed", "ExecutionFailed").then_effects(FillPlaces((OWN.key,)))


# --- time limits by the settings -------------------------------------------------------------------------------------


def test_a_run_times_out_by_its_settings():
    """Never early; what is under way is given up."""
    run = given(chain(CHARGE), settings=MINUTE)
    assert run.event(0).limit_at == START + 60_000
    run.after(59_999).when(FireTimer(SETTINGS_TIMER)).then_nothing().then_effects(SetTimer(START + 60_000))
    run.after(1).when(FireTimer(SETTINGS_TIMER)).then(e.ExecutionTimedOut()).then_effects(CancelTask(2))
    run.then_is("timed_out", error="States.Timeout")


@pytest.mark.parametrize(("machine_s", "settings_ms", "timer"), [(30, 60_000, 1), (90, 60_000, 0)])
def test_the_earlier_of_both_limits_counts(machine_s, settings_ms, timer):
    """That of the machine goes on as it is."""
    run = given(chain(CHARGE, TimeoutSeconds=machine_s), settings=VersionSettings(timeout_ms=settings_ms))
    first = min(run.state.timers, key=lambda name: run.state.timers[name].due_at)
    assert first == timer
    run.after(min(machine_s * 1000, settings_ms)).when(FireTimer(timer)).then("ExecutionTimedOut")


def test_a_step_with_its_own_limit_is_let_come_to_its_end():
    """The run times out when that step is over, and what would follow is not begun."""
    run = given(chain({**CHARGE, "TimeoutSeconds": 3600}, CHARGE), settings=MINUTE)
    run.after(60_000).when(FireTimer(SETTINGS_TIMER)).then(le.TimeoutDeferred()).then_is("running").then_effects()
    assert SETTINGS_TIMER not in run.state.timers
    run.after(60_000).when(succeeded("A")).then("TaskSucceeded", "ExecutionTimedOut").then_is("timed_out")


def test_a_run_that_ends_with_such_a_step_has_ended():
    """Its result is there: to throw it away would help nobody."""
    run = given(chain({**CHARGE, "TimeoutSeconds": 3600}), settings=MINUTE)
    run.after(60_000).when(FireTimer(SETTINGS_TIMER), succeeded("A"))
    run.then("TimeoutDeferred", "TaskSucceeded", "ExecutionSucceeded").then_is("completed")


def test_a_step_that_fails_after_the_limit_is_not_tried_again():
    """A delay before another attempt is no step under way."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    run = given(chain({**CHARGE, "TimeoutSeconds": 3600, "Retry": retry}), settings=MINUTE)
    run.after(60_000).when(FireTimer(SETTINGS_TIMER), failed("A", "NoMoney"))
    run.then("TimeoutDeferred", "TaskFailed", "ExecutionTimedOut").then_is("timed_out")


def test_a_step_that_is_queued_and_one_whose_limit_is_a_path_have_their_own_limit_too():
    """As far as the definition says so."""
    run = given(chain({**CHARGE, "TimeoutSecondsPath": "$.s"}), {"s": 3600}, settings=MINUTE)
    run.after(60_000).when(FireTimer(SETTINGS_TIMER)).then("TimeoutDeferred")


def test_a_wait_with_its_own_limit_counts_as_such_a_step():
    """Its expiry ends the run by the settings, not by its own failure."""
    run = given(chain({**ASK, "TimeoutSeconds": 3600}, CHARGE), settings=MINUTE)
    run.after(60_000).when(FireTimer(SETTINGS_TIMER)).then("TimeoutDeferred").then_is("waiting")
    run.when(resumed()).then("WaitResumed", "ExecutionTimedOut")


def test_the_machines_own_limit_waits_for_no_step():
    """It is AWS's, and means the whole run."""
    run = given(chain({**CHARGE, "TimeoutSeconds": 3600}, TimeoutSeconds=60)).after(60_000)
    run.when(FireTimer(EXECUTION_TIMER)).then("ExecutionTimedOut").then_effects(CancelTask(2))


def test_nothing_else_is_begun_while_such_a_step_is_awaited():
    """Another branch stands where it is; a crash changes nothing of that."""
    step = {"Type": "Task", "Resource": "charge", "TimeoutSeconds": 3600, "End": True}
    other = {"B": {**CHARGE, "Next": "C"}, "C": {**CHARGE, "End": True}}
    branches = [{"StartAt": "A", "States": {"A": step}}, {"StartAt": "B", "States": other}]
    fork = {"Type": "Parallel", "Branches": branches, "End": True}
    run = given({"StartAt": "Both", "States": {"Both": fork}}, settings=MINUTE)
    run.after(60_000).when(FireTimer(SETTINGS_TIMER)).then("TimeoutDeferred")
    run.when(succeeded("B", scope="2.1")).then("TaskSucceeded").then_effects().then_is("running")
    run.restart()
    run.when(recovered(died=False)).then_is("running").when(succeeded("A", scope="2.0"))
    run.then("TaskSucceeded", "ExecutionTimedOut")


def test_a_token_answer_of_an_overdue_run_ends_it():
    """Whatever ends the step ends the run."""
    token = {"Type": "Task", "Resource": "notify.waitForTaskToken", "Parameters": {"t.$": "$$.Task.Token"}}
    run = given(chain({**token, "TimeoutSeconds": 3600}, CHARGE), settings=MINUTE).when(succeeded("A"))
    run.after(60_000).when(FireTimer(SETTINGS_TIMER)).then("TimeoutDeferred")
    run.when(AnswerTask(wait_id(1), TaskFailure("NoMoney", None))).then("TaskFailed", "ExecutionFailed")
