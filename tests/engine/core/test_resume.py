"""Resume: which wait a call means, what it is told, and that no late answer ends the wrong wait."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core.commands import Advance, Resume
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Decision, Need, Rejection
from perdure.engine.core.effects import RunTask
from perdure.engine.core.state import EndedWait
from perdure.engine.testing import due, failed, resumed, succeeded, terminated

from .checked import given, wait_id

ASK = {"Type": "Task", "Resource": "wait_for_resume"}
CHARGE = {"Type": "Task", "Resource": "charge"}
NOTIFY = {"Type": "Task", "Resource": "notify.waitForResume"}

ONE = {"StartAt": "Ask", "States": {"Ask": {**ASK, "Next": "Charge"}, "Charge": {**CHARGE, "End": True}}}
"""A wait, and a step after it."""

TWO = {"StartAt": "First", "States": {"First": {**ASK, "Next": "Second"}, "Second": {**ASK, "End": True}}}
"""Two questions, one after the other."""

LOOP = {
    "StartAt": "Ask",
    "States": {
        "Ask": {**ASK, "Next": "Enough"},
        "Enough": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.done", "IsPresent": True, "Next": "Done"}],
            "Default": "Ask",
        },
        "Done": {"Type": "Succeed"},
    },
}
"""The same state asks until the answer says that it is enough."""

LATER = {
    "StartAt": "Charge",
    "States": {
        "Charge": {**CHARGE, "Next": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Ask"},
        "Ask": {**ASK, "End": True},
    },
}
"""A step and a pause before the first wait opens."""

TELL = {"StartAt": "Tell", "States": {"Tell": {**NOTIFY, "End": True}}}
"""A step that tells the outside world, whose answer ends the state."""


def held(**named):
    """Give a resume whose caller is willing to wait."""
    return Resume({}, may_hold=True, **named)


# --- the one that wins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [{}, {"wait": wait_id(1)}, {"state": "Ask"}, {"wait": wait_id(1), "state": "Ask"}])
def test_a_resume_ends_the_wait_that_it_means(named):
    """It may name it by id, by state, by both, or, as there is only one, by nothing."""
    given(ONE).when(resumed({"ok": 1}, **named)).then("WaitResumed", "TaskScheduled").then_answers("restarted")


def test_of_two_resumes_one_wins():
    """The second one is told that it was late, and changes nothing."""
    run = given(ONE).when(resumed({"ok": 1})).then_answers("restarted")
    run.when(resumed({"ok": 2})).then_nothing().then_answers("already restarted")
    assert run.effects == ()
    assert run.value(run.event(2).result) == {"ok": 1}


def test_a_winner_names_what_it_ended():
    """The event says which wait it was; the wait is its cause."""
    run = given(ONE).when(resumed({"ok": 1}))
    assert run.event(2) == e.WaitResumed("Ask", wait_id(1), "3/result", "3/result", "Charge")
    assert run.events[2].caused_by == 2


# --- the ones that come late ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [{}, {"wait": wait_id(1)}, {"state": "Ask"}])
def test_a_late_answer_to_a_run_that_is_over_is_told_so(named):
    """The wait was resumed, so the answer is the one that a repetition gets, for ever."""
    run = given(ONE).when(resumed()).when(succeeded("Charge")).then_is("completed")
    run.when(resumed({"late": 1}, **named)).then_nothing().then_answers("already restarted")


def test_a_late_answer_by_state_never_ends_the_next_wait():
    """The first question was answered; the second one stays open."""
    run = given(TWO).when(resumed({"n": 1}, state="First")).then("WaitResumed", "WaitOpened")
    run.when(resumed({"n": 2}, state="First")).then_nothing().then_answers("already restarted").then_is("waiting")
    run.when(resumed({"n": 3}, state="Second")).then_answers("restarted").then_is("completed", output={"n": 3})


def test_a_late_answer_by_id_never_ends_the_next_wait():
    """Nor does it by the wait's id."""
    run = given(TWO).when(resumed(wait=wait_id(1)))
    run.when(resumed(wait=wait_id(1))).then_nothing().then_answers("already restarted").then_is("waiting")


def test_a_late_answer_by_id_never_ends_a_later_wait_of_the_same_state():
    """A loop asks again under a new id; only the state's last wait is remembered, older ones are looked up."""
    run = given(LOOP).when(resumed(wait=wait_id(1)), resumed(wait=wait_id(2)), resumed(wait=wait_id(3)))
    run.then_is("waiting")
    for old in (1, 2, 3):
        run.when(resumed(wait=wait_id(old))).then_nothing().then_answers("already restarted")
    run.when(resumed({"done": 1}, wait=wait_id(4))).then_answers("restarted").then_is("completed")


def test_a_loop_counts_the_visits_of_its_wait():
    """Each time that the state waits again is told apart in the log."""
    run = given(LOOP).when(resumed(), resumed(), resumed({"done": 1})).then_is("completed")
    opened = [r.event for r in run.events if isinstance(r.event, e.WaitOpened)]
    assert [(event.visit, event.wait) for event in opened] == [(1, wait_id(1)), (2, wait_id(2)), (3, wait_id(3))]


def test_a_call_without_a_name_means_the_wait_that_is_open():
    """Whoever does not say what it answers, answers what is asked now: names are there for that."""
    run = given(TWO).when(resumed({"n": 1}), resumed({"n": 2})).then_answers("restarted")
    run.then_is("completed", output={"n": 2})


@pytest.mark.parametrize("named", [{}, {"may_hold": True}])
def test_a_workflow_may_want_every_resume_to_name_its_wait(named):
    """A call that names none is refused at once, also if it may be held, and is told what is open; nothing ends."""
    run = given(TWO, resume="named").when(Resume({}, **named)).then(e.CommandRefused("resume", "NAME_THE_WAIT", 1))
    waits = [{"wait_id": wait_id(1), "state": "First"}]
    assert run.refused.details == {"status": "waiting", "state": "First", "waits": waits}
    assert "open: 'First'" in run.refused.message
    run.when(Resume({"n": 1}, state="First")).then_answers("restarted")
    run.when(Resume({"n": 1}, state="First")).then_answers("already restarted")
    run.when(Resume({"n": 2}, wait=wait_id(2))).then_answers("restarted").then_is("completed", output={"n": 2})


def test_an_idempotency_key_names_a_call_too():
    """Its repetition is answered from memory, and so never decided a second time."""
    given(TWO, resume="named").when(Resume({"n": 1}, is_keyed=True)).then_answers("restarted").then_is("waiting")


# --- the ones that come early --------------------------------------------------------------------------------------


def test_a_call_that_nobody_asked_for_is_refused_and_recorded():
    """Nothing waits: the refusal says how the run stands, and its payload is not kept."""
    run = given(LATER).when(resumed({"early": 1}))
    run.then(e.CommandRefused("resume", "NOT_WAITING", 1)).then_refuses("NOT_WAITING").then_is("running")
    assert run.refused.details == {"status": "running", "state": "Charge"}
    assert not run.refused.is_early
    assert run.events[-1].payload is None


@pytest.mark.parametrize("named", [{}, {"state": "Ask"}])
def test_a_call_that_may_be_held_is_early_while_its_wait_may_still_open(named):
    """It is refused without a record: its caller waits with it, and asks again."""
    run = given(LATER).when(held(**named)).then_nothing().then_refuses("NOT_WAITING")
    assert run.refused.is_early
    assert not run.refused.is_counted
    run.when(succeeded("Charge")).after(1000).when(held(**named)).then_nothing()
    assert run.refused.is_early
    run.when(due(), held(**named)).then_answers("restarted").then_is("completed")


@pytest.mark.parametrize("state", ["Charge", "Pause", "Nowhere"])
def test_a_call_for_a_state_that_never_waits_is_not_held(state):
    """No time would help."""
    run = given(LATER).when(held(state=state)).then("CommandRefused").then_refuses("NOT_WAITING")
    assert not run.refused.is_early
    assert repr(state) in run.refused.message
    assert "no state of that name that waits for a resume" in run.refused.message


def test_a_call_for_a_state_of_a_similar_name_is_told_which_there_is():
    """The names of all states that wait are looked at, and of no others."""
    assert given(TWO).when(held(state="secnd")).refused.message.endswith("Did you mean 'Second'?")
    assert "Did you mean" not in given(LATER).when(held(state="Chargee")).refused.message


def test_a_call_for_a_wait_that_is_not_there_is_not_held():
    """An id is made when the wait opens, so one that is unknown stays unknown."""
    run = given(LATER).when(held(wait=wait_id(99))).then("CommandRefused").then_refuses("NOT_WAITING")
    assert not run.refused.is_early
    assert wait_id(99) in run.refused.message


def test_a_call_for_a_later_question_is_held_while_another_is_open():
    """It names its state, so it does not answer the one that is open."""
    run = given(TWO).when(held(state="Second")).then_nothing().then_refuses("NOT_WAITING")
    assert run.refused.is_early
    run.when(resumed(state="First"), held(state="Second")).then_answers("restarted").then_is("completed")


def test_a_call_whose_id_and_state_do_not_fit_ends_nothing():
    """Both must be right."""
    given(TWO).when(resumed(wait=wait_id(1), state="Second")).then_refuses("NOT_WAITING").then_is("waiting")


def test_a_held_call_is_answered_as_soon_as_the_run_is_over():
    """Nothing will open any more."""
    run = given(LATER).when(failed("Charge", "No"), held()).then_refuses("NOT_WAITING")
    assert not run.refused.is_early
    assert run.refused.details == {"status": "failed", "state": "Charge"}


# --- a wait that nobody knows --------------------------------------------------------------------------------------


def test_an_unknown_id_is_looked_up_before_it_is_refused():
    """The state remembers the last wait of each state only; for an older one it asks how it ended."""
    run = given(ONE)
    facts = run._facts()
    command = Resume({}, wait=wait_id(7))
    assert decide(run.state, command, facts) == Need(waits=(wait_id(7),))
    told = {
        "resumed": (Decision, "already restarted"),
        "expired": (Rejection, "WAIT_EXPIRED"),
        "cancelled": (Rejection, "WAIT_EXPIRED"),
        None: (Rejection, "NOT_WAITING"),
    }
    for outcome, (kind, word) in told.items():
        answer = decide(run.state, command, replace(facts, known_waits={wait_id(7): outcome}))
        assert isinstance(answer, kind)
        assert word in {getattr(answer, "answer", None), getattr(answer, "code", None)}


# --- waits that ended another way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [{}, {"wait": wait_id(1)}, {"state": "Tell"}])
def test_a_cancelled_wait_is_over_for_late_answers(named):
    """The step failed, and took its wait with it: 409, and not the answer of a winner."""
    run = given(TELL).when(failed("Tell", "NoMail")).then("TaskFailed", "ExecutionFailed")
    run.when(resumed(**named)).then("CommandRefused").then_refuses("WAIT_EXPIRED")
    assert "cancelled" in run.refused.message


@pytest.mark.parametrize("outcome", ["expired", "cancelled"])
@pytest.mark.parametrize("named", [{}, {"wait": wait_id(1)}, {"state": "Ask"}])
def test_a_wait_that_ended_without_a_resume_is_over_while_the_run_goes_on(outcome, named):
    """What no command of today leads to, the rule covers all the same: a state made by hand."""
    run = given(ONE).when(resumed())
    ended = {"Ask": EndedWait(wait_id(1), "Ask", outcome)}
    state = msgspec.structs.replace(run.state, ended_waits=ended)
    refused = decide(state, Resume({}, may_hold=True, **named), run._facts())
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.is_early) == ("WAIT_EXPIRED", False)


def test_the_latest_wait_decides_what_a_call_without_a_name_is_told():
    """In the order in which they ended, whatever their states are called."""
    run = given(ONE).when(resumed())
    resumed_wait = EndedWait(wait_id(1), "Z", "resumed")
    expired = EndedWait(wait_id(2), "A", "expired")
    for first, last, kind in ((resumed_wait, expired, Rejection), (expired, resumed_wait, Decision)):
        ended = {first.state: first, last.state: last}
        state = msgspec.structs.replace(run.state, ended_waits=ended)
        assert isinstance(decide(state, Resume({}), run._facts()), kind)


def test_a_wait_that_ends_again_becomes_the_latest():
    """A state's newest wait takes the place of its older one, and moves to the end."""
    definition = {
        "StartAt": "A",
        "States": {
            "A": {**ASK, "Next": "B"},
            "B": {**ASK, "Next": "Again"},
            "Again": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.end", "IsPresent": True, "Next": "End"}],
                "Default": "A",
            },
            "End": {"Type": "Succeed"},
        },
    }
    run = given(definition).when(resumed(), resumed(), resumed())
    assert list(run.state.ended_waits) == ["B", "A"]
    assert [ended.wait for ended in run.state.ended_waits.values()] == [wait_id(2), wait_id(3)]


# --- several that are open -----------------------------------------------------------------------------------------


BOTH = {
    "StartAt": "Both",
    "States": {
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "First", "States": {"First": {**ASK, "End": True}}},
                {
                    "StartAt": "Second",
                    "States": {"Second": {**ASK, "Next": "Third"}, "Third": {**ASK, "End": True}},
                },
            ],
            "End": True,
        }
    },
}
"""Two questions at once, and a third one after the second."""


def open_in(run):
    """Give the states whose waits are open, by the ids of these."""
    return {wait: opened.state for wait, opened in run.state.open_waits()}


def test_of_several_open_waits_one_must_be_named():
    """The refusal lists them in the order in which they were opened, and is recorded."""
    run = given(BOTH).when(Resume({}, may_hold=True))
    run.then(e.CommandRefused("resume", "AMBIGUOUS_WAIT", 1)).then_refuses("AMBIGUOUS_WAIT").then_is("waiting")
    assert not run.refused.is_early
    assert run.refused.details == {
        "waits": [{"wait_id": wait_id(1), "state": "First"}, {"wait_id": wait_id(2), "state": "Second"}]
    }
    assert run.refused.message == "2 waits are open; name one with wait_id or state"


def test_of_very_many_open_waits_some_are_named():
    """The refusal does not grow with the run; the number is told."""
    ask = {"StartAt": "Ask", "States": {"Ask": {**ASK, "End": True}}}
    run = given({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemProcessor": ask, "End": True}}}, [0] * 130)
    run.when(Advance(), resumed(state="Ask")).then_refuses("AMBIGUOUS_WAIT")
    assert run.refused.message.startswith("130 waits are open")
    assert len(run.refused.details["waits"]) == 100
    assert [wait["wait_id"] for wait in run.refused.details["waits"]] == [wait_id(n) for n in range(1, 101)]


@pytest.mark.parametrize("named", [{"wait": wait_id(1)}, {"state": "First"}])
def test_a_name_ends_one_wait_and_leaves_the_others_open(named):
    """The frame of the other one is as it was, and the execution waits on."""
    run = given(BOTH)
    other = run.state.frames["2.1"]
    run.when(resumed(**named)).then("WaitResumed").then_answers("restarted").then_is("waiting", output=None)
    assert run.state.frames["2.1"] == other
    assert open_in(run) == {wait_id(2): "Second"}
    run.when(resumed(**named)).then_nothing().then_answers("already restarted")


def test_a_name_of_a_wait_that_is_the_last_one_needs_no_name_any_more():
    """A call without a name means it: there is no other."""
    run = given(BOTH).when(resumed(1, state="First"), resumed(2), resumed(3))
    run.then_is("completed", output=[1, 3])


def test_a_scope_that_moves_leaves_the_execution_s_own_place_alone():
    """The output of a branch is not the execution's, and neither is its state."""
    run = given(BOTH).when(resumed({"n": 2}, state="Second")).then("WaitResumed", "WaitOpened")
    assert (run.state.output, run.state.current, run.state.frames["2.1"].state) == (None, "Both", "Third")
    assert open_in(run) == {wait_id(1): "First", wait_id(3): "Third"}


def test_a_wait_beside_something_that_runs_leaves_the_execution_running():
    """`waiting` is: in open waits, and nothing else."""
    charge = {"StartAt": "Charge", "States": {"Charge": {**CHARGE, "End": True}}}
    ask = {"StartAt": "Ask", "States": {"Ask": {**ASK, "End": True}}}
    both = {"Type": "Parallel", "Branches": [ask, charge], "End": True}
    run = given({"StartAt": "Both", "States": {"Both": both}}).then_is("running")
    run.when(resumed(1)).then("WaitResumed").then_is("running")
    run.when(succeeded("Charge", 2)).then_is("completed", output=[1, 2])
    run = given({"StartAt": "Both", "States": {"Both": both}})
    run.when(succeeded("Charge", 2)).then("TaskSucceeded").then_is("waiting")
    run.when(resumed(1)).then_is("completed", output=[1, 2])


@pytest.mark.parametrize("named", [{}, {"wait": wait_id(1)}, {"state": "Ask"}])
def test_a_wait_of_a_scope_that_was_cancelled_is_over(named):
    """The other branch failed, and the execution went on: 409, and not the answer of a winner."""
    charge = {"StartAt": "Charge", "States": {"Charge": {**CHARGE, "End": True}}}
    ask = {"StartAt": "Ask", "States": {"Ask": {**ASK, "End": True}}}
    both = {
        "Type": "Parallel",
        "Branches": [ask, charge],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Pause"}],
        "End": True,
    }
    run = given({"StartAt": "Both", "States": {"Both": both, "Pause": {"Type": "Wait", "Seconds": 9, "End": True}}})
    run.when(failed("Charge", "NoMoney")).then("TaskFailed", "StateFailed", "TimerSet").then_is("running")
    run.when(Resume({}, may_hold=True, **named)).then("CommandRefused").then_refuses("WAIT_EXPIRED")
    assert "cancelled" in run.refused.message


# --- a run that was terminated -------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [resumed()]])
@pytest.mark.parametrize("named", [{}, {"wait": wait_id(1)}, {"state": "Ask"}])
def test_a_terminated_run_refuses_every_resume(before, named):
    """409, also after an earlier resume of the same wait, and also for one that may be held."""
    run = given(ONE).when(*before, terminated()).then_is("terminated")
    run.when(resumed(**named)).then("CommandRefused").then_refuses("CONFLICT")
    run.when(held(**named)).then("CommandRefused").then_refuses("CONFLICT")


# --- .waitForResume ------------------------------------------------------------------------------------------------


def test_the_wait_is_open_before_the_step_is_called():
    """So no answer can come before it: the wait's event is first, and the step is told its id."""
    run = given(TELL, {"x": 1})
    assert [r.event for r in run.events[1:]] == [
        e.WaitOpened("Tell", wait_id(1), "notify.waitForResume", "1/input"),
        e.TaskScheduled("Tell", "notify.waitForResume", "1/input", wait=wait_id(1)),
    ]
    run.then_is("running").then_effects("RunTask")
    assert run.duty(RunTask).wait == wait_id(1)


def test_parameters_are_written_with_the_wait_only():
    """The call refers to them."""
    definition = {"StartAt": "Tell", "States": {"Tell": {**NOTIFY, "Parameters": {"to": "boss"}, "End": True}}}
    run = given(definition)
    assert [r.payload for r in run.events[1:]] == [{"parameters": {"to": "boss"}}, None]
    assert run.event(2).parameters == "2/parameters"


def test_a_step_that_returns_first_leaves_the_wait_open():
    """Its result is recorded, and the answer makes the output."""
    run = given(TELL).when(succeeded("Tell", "sent")).then(e.TaskSubmitted("Tell", "4/result")).then_is("waiting")
    assert run.events[3].payload == {"result": "sent"}
    run.when(resumed({"ok": 1})).then("WaitResumed", "ExecutionSucceeded").then_is("completed", output={"ok": 1})
    assert run.events[4].caused_by == 2


def test_an_answer_that_comes_before_the_step_returns_ends_the_state():
    """What the step gives afterwards is recorded as ignored."""
    run = given(TELL)
    late = succeeded("Tell", "sent")(run.state)
    run.when(resumed({"ok": 1})).then("WaitResumed", "ExecutionSucceeded").then_answers("restarted")
    run.when(late).then(e.ResultIgnored("Tell", "succeeded")).then_is("completed", output={"ok": 1})
    assert run.events[-1].caused_by == 3


def test_a_step_that_fails_after_the_answer_changes_nothing():
    """The state has been left."""
    definition = {
        "StartAt": "Tell",
        "States": {"Tell": {**NOTIFY, "Next": "Charge"}, "Charge": {**CHARGE, "End": True}},
    }
    run = given(definition)
    late = failed("Tell", "NoMail", "bounced")(run.state)
    run.when(resumed(), late).then("WaitResumed", "TaskScheduled", e.ResultIgnored("Tell", "failed"))
    run.then_is("running").when(succeeded("Charge", 1)).then_is("completed", output=1)


def test_a_step_that_fails_takes_its_wait_with_it():
    """Nobody was told, so nobody will answer: the wait is cancelled, and the execution fails."""
    run = given(TELL).when(failed("Tell", "NoMail", "bounced")).then("TaskFailed", "ExecutionFailed")
    run.then_is("failed", error="NoMail")
    assert run.state.ended_waits["Tell"].outcome == "cancelled"


def test_the_wait_of_a_second_visit_is_another_one():
    """A loop through `.waitForResume` asks anew, under a new key and a new wait."""
    definition = {
        "StartAt": "Tell",
        "States": {
            "Tell": {**NOTIFY, "Next": "Again"},
            "Again": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.end", "IsPresent": True, "Next": "End"}],
                "Default": "Tell",
            },
            "End": {"Type": "Succeed"},
        },
    }
    run = given(definition)
    first = succeeded("Tell", 1)(run.state)
    run.when(resumed())
    assert (run.calls[0].visit, run.calls[0].wait) == (2, wait_id(2))
    run.when(first).then(e.ResultIgnored("Tell", "succeeded", 0, 1))
    run.when(succeeded("Tell", 2)).then("TaskSubmitted").then_is("waiting")
    run.when(resumed({"end": 1}, wait=wait_id(2))).then_is("completed")
