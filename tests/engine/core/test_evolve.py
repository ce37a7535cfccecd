"""The fold: it copies, it looks every event up in the table of moves, and its state outlives the process."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from perdure.engine.core import events as e
from perdure.engine.core import snapshots
from perdure.engine.core.commands import FireTimer, Recover, Resume
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Need
from perdure.engine.core.evolve import OutOfOrder, evolve, replay
from perdure.engine.core.snapshots import decode_state, encode_state
from perdure.engine.core.state import Timer, initial_state
from perdure.engine.core.transitions import TERMINAL, TRANSITIONS, IllegalTransition, diagram
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.engine.core.workflow import WorkflowArchived
from perdure.engine.testing import START, WORKFLOW, WORKSPACE, recovered, resumed, succeeded, terminated

from .checked import given
from .invariants import check_snapshot

TELL = {
    "StartAt": "Tell",
    "States": {
        "Tell": {"Type": "Task", "Resource": "notify.waitForResume", "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": 1, "End": True},
    },
}


def recorded(seq, event, actor="key:test"):
    return e.Recorded(seq, START, actor, None, event, None)


def test_events_follow_each_other_by_one():
    """A gap or a repetition is a damaged log, and nothing is folded from it."""
    run = given(TELL)
    with pytest.raises(OutOfOrder, match="event 3 follows event 1"):
        replay([run.events[0], run.events[2]])
    with pytest.raises(OutOfOrder, match="event 1 follows event 1"):
        replay([run.events[0], run.events[0]])


@pytest.mark.parametrize(
    "event",
    [
        e.TaskSucceeded("A", "1/x", "1/x"),
        e.WaitResumed("A", "w", "1/x", "1/x"),
        e.TimerFired("A", 2, "1/x"),
        e.ExecutionSucceeded("1/input"),
        e.ExecutionTerminated("1/input"),
        e.ExecutionQuarantined("Resume", "KeyError"),
        e.ExecutionReleased(),
    ],
)
def test_after_the_end_the_table_allows_no_event_that_moves(event):
    """It is refused before anything is touched."""
    run = given(TELL).when(terminated())
    with pytest.raises(IllegalTransition, match=f"{type(event).__name__} in status terminated"):
        evolve(run.state, recorded(run.state.seq + 1, event))
    run.check()


def test_an_event_of_another_kind_of_stream_is_no_move():
    """The table knows the events of executions only."""
    with pytest.raises(IllegalTransition, match="WorkflowArchived in status new"):
        evolve(initial_state(), recorded(1, WorkflowArchived()))


def test_a_move_that_the_table_does_not_have_is_refused(monkeypatch):
    """The table decides, whatever the fold of an event would make of the state."""
    run = given(TELL)
    monkeypatch.setitem(TRANSITIONS, ("running", "TaskSubmitted"), frozenset({"running"}))
    with pytest.raises(IllegalTransition, match="TaskSubmitted in status running leading to waiting") as raised:
        evolve(run.state, recorded(4, e.TaskSubmitted("Tell", "4/result")))
    assert (raised.value.status, raised.value.event) == ("running", "TaskSubmitted")


def test_the_state_tells_what_the_first_event_says():
    """Whose execution it is, of which definition, and since when."""
    state = replay(given(TELL).events[:1])
    told = (state.workspace, state.workflow, state.workflow_version, state.definition_sha256, state.trigger)
    assert told == (WORKSPACE, WORKFLOW, 1, "0" * 64, "REQUEST")
    assert (state.status, state.input, state.current, state.started_at) == ("running", "1/input", "Tell", START)
    assert (state.output, state.ended_at, state.frames[""].entered_at) == (None, None, START)


def test_the_state_tells_how_it_ended():
    """By what the last event says, and not by what came before it."""
    run = given(TELL).when(resumed()).after(7)
    ends = {
        e.ExecutionSucceeded("1/input"): ("completed", "1/input", None, None, None),
        e.ExecutionFailed("Bad", "5/error", "5/cause", "Ask"): ("failed", None, "Bad", "5/error", "5/cause"),
        e.ExecutionTimedOut(): ("timed_out", None, "States.Timeout", None, None),
        e.ExecutionTerminated("6/reason"): ("terminated", None, None, None, "6/reason"),
    }
    for event, told in ends.items():
        before = replace(run.state, status="running")
        state = evolve(before, e.Recorded(6, run.now, "key:test", None, event, None))
        assert (state.status, state.output, state.error, state.error_ref, state.cause) == told
        assert (state.ended_at, state.current, len(state.frames)) == (START + 7, "Ask", 0)


def test_an_interruption_of_what_is_no_task_is_an_error():
    """It is not passed over: the log is damaged."""
    run = given(TELL).when(resumed())
    with pytest.raises(TypeError):
        evolve(replace(run.state, status="running"), recorded(6, e.TaskInterrupted("Ask", 1)))


def test_the_table_knows_every_event_and_every_status():
    """Each event has a place in it, only a redrive moves what has ended, and never what has succeeded."""
    statuses = {before for before, _ in TRANSITIONS} | {"new"}
    assert {event for _, event in TRANSITIONS} == {cls.__name__ for cls in EXECUTION_EVENTS}
    assert set().union(*TRANSITIONS.values()) <= statuses
    for (before, event), after in TRANSITIONS.items():
        if before in TERMINAL and event == "ExecutionRedriven":
            assert (before != "completed", after) == (True, frozenset({"running"}))
        elif before in TERMINAL:
            assert (event in {"CommandRefused", "ResultIgnored"}, after) == (True, frozenset({before}))


def test_the_diagram_is_drawn_from_the_table():
    """Every move from one status to another is a line, and every end is one."""
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    [*] --> running: ExecutionStarted" in lines
    assert "    waiting --> timed_out: ExecutionTimedOut" in lines
    assert "    terminated --> [*]" in lines
    moves = {(before, after) for (before, _), statuses in TRANSITIONS.items() for after in statuses - {before}}
    assert len(lines) == 1 + len(moves) + len(TERMINAL)


def test_a_state_can_be_kept_and_taken_up_again():
    """As JSON it comes back equal at every event, in the same order, and goes on in the same way."""
    run = given(TELL).when(recovered(), succeeded("Tell"), resumed(), resumed()).check()
    for middle in range(len(run.events) + 1):
        state = replay(run.events[:middle])
        kept = check_snapshot(state)
        assert replay(run.events[middle:], kept) == run.state


def test_a_state_holds_no_business_data():
    """It has references to it only, so that an erasure needs to take nothing out of a snapshot."""
    run = given(TELL, {"secret": "s3cret"}, process_id="INV-s3cret").when(
        succeeded("Tell", "s3cret"), resumed({"s3cret": 1}), terminated("s3cret")
    )
    assert b"s3cret" not in encode_state(run.state)


def test_an_erased_stream_still_replays():
    """The fold reads no payload."""
    run = given(TELL, {"x": 1}).when(resumed({"y": 1}), resumed(), terminated())
    assert replay([replace(r, payload=None) for r in run.events]) == run.state


# --- what a decision lacks -----------------------------------------------------------------------------------------


def test_a_decision_says_which_payload_it_needs():
    """The driver loads it, and decides again with all else the same."""
    placed = {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.a", "End": True}
    run = given({"StartAt": "A", "States": {"A": placed}}, {"x": 1})
    facts = run._facts()
    assert decide(run.state, Resume({}), replace(facts, payloads={})) == Need(seqs=(1,))
    assert decide(run.state, Resume({}), facts) == decide(
        run.state, Resume({}), replace(facts, payloads={1: {"input": {"x": 1}}})
    )


def test_a_definition_that_does_not_fit_the_log_is_a_defect():
    """It is raised, so that the execution is set aside; nothing is decided by the wrong definition."""
    run = given(TELL)
    other = given({"StartAt": "Tell", "States": {"Tell": {"Type": "Succeed"}}}).machine
    with pytest.raises(TypeError, match="state 'Tell' is no Task: the log belongs to another definition"):
        decide(run.state, Resume({}), replace(run._facts(), machine=other))


def test_a_scope_of_another_definition_is_a_defect():
    """Also if what should have branches has none."""
    branch = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "charge", "End": True}}}
    run = given({"StartAt": "P", "States": {"P": {"Type": "Parallel", "Branches": [branch], "End": True}}})
    facts = replace(run._facts(), machine=given({"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}).machine)
    with pytest.raises(TypeError, match="state 'P' has nothing below it: the log belongs to another definition"):
        decide(run.state, succeeded("A")(run.state), facts)


def test_a_state_that_no_log_leads_to_is_a_defect():
    """A timer that nothing has set, a task that was never called: it is raised, and the execution is set aside."""
    run = given(TELL)
    state = replace(run.state, timers=run.state.timers.set(9, Timer("", START)))
    frame = replace(state.frames[""], phase=None)
    with pytest.raises(TypeError, match="nothing in scope '' has set a timer: the log is damaged"):
        decide(replace(state, frames=state.frames.set("", frame)), FireTimer(9), run._facts())
    frame = replace(run.state.frames[""], parameters=None)
    state = replace(run.state, frames=run.state.frames.set("", frame))
    with pytest.raises(TypeError, match="the task in scope '' cannot be called: the log is damaged"):
        decide(state, Recover(died=False), run._facts())


def test_a_snapshot_holds_states_only():
    """What is no part of one is neither written nor read."""
    state = replace(initial_state(), output=object())
    with pytest.raises(NotImplementedError, match="a state holds no object"):
        encode_state(state)
    with pytest.raises(NotImplementedError, match=r"a state holds no .*int"):
        snapshots._persistent(int, 1)
    for text in (b"", b"[]", b'{"status": "gone"}', b'{"frames": {"": 1}}'):
        with pytest.raises(msgspec.DecodeError):
            decode_state(text)


def test_a_decision_that_takes_long_asks_for_patience():
    """So that nobody is held up; decided again with it, it is what it would have been."""
    slow = {
        "Type": "Pass",
        "QueryLanguage": "JSONata",
        "Output": "{% $sum($map([1..20000], function($x) { $x * 2 })) %}",
        "End": True,
    }
    ask = {"Type": "Task", "Resource": "wait_for_resume", "Next": "Slow"}
    run = given({"StartAt": "Ask", "States": {"Ask": ask, "Slow": slow}})
    facts = run._facts()
    assert decide(run.state, Resume({}), replace(facts, expression_timeout_s=lambda: 1e-6)) == Need(is_slow=True)
    run.when(resumed()).then_is("completed", output=400_020_000)
