"""Rows derived from events: what readers see is the fold of the log, and never business data itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core import ids
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.evolve import evolve
from perdure.engine.core.state import Timer
from perdure.engine.log import projections
from perdure.engine.testing import EXECUTION, START, Scenario, due, failed, resumed, succeeded, terminated
from perdure.store.records import TimerRow, WaitRow

STREAM = ids.parse(EXECUTION)
ORGANIZATION = ids.parse("01900000-0000-7000-8000-00000000000a")
WAITS = [f"01900000-0000-7000-8000-{number:012d}" for number in range(10)]

DEFINITION = {
    "StartAt": "Tell",
    "States": {
        "Tell": {"Type": "Task", "Resource": "notify.waitForResume", "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": 60, "Next": "Charge"},
        "Charge": {"Type": "Task", "Resource": "charge", "End": True},
    },
}


class Run(Scenario):
    """A scenario whose last command's rows can be asked for."""

    def wait_id(self, number):
        return WAITS[number]

    def _send(self, command):
        self.before, seq = self.state, self.state.seq
        super()._send(command)
        state, self.steps = self.before, []
        for recorded in self.events[seq:]:
            state = evolve(state, recorded)
            self.steps.append(DraftedEvent(recorded, state))

    @property
    def changes(self):
        return projections.changes(STREAM, ORGANIZATION, self.before, self.steps)

    @property
    def row(self):
        return projections.execution_row(STREAM, ORGANIZATION, self.state)


@pytest.fixture
def run():
    return Run(DEFINITION, {"secret": 1}, "INV-7")


def opened(run, number, state, seq):
    """Give the row of an open wait."""
    return WaitRow(
        wait_id=ids.parse(WAITS[number]),
        execution_id=STREAM,
        organization_id=ORGANIZATION,
        workspace_id=ids.parse(run.state.workspace),
        workflow_id=ids.parse(run.state.workflow),
        state=state,
        opened_seq=seq,
        opened_at=START,
        due_at=None,
        outcome=None,
        ended_seq=None,
        ended_at=None,
    )


def test_a_wait_is_a_row_from_the_moment_that_it_opens(run):
    """With all that a caller needs to end it, and nothing of what was asked."""
    assert run.changes == ([opened(run, 1, "Tell", 2)], [], [], [])


def test_a_wait_that_is_resumed_says_so(run):
    """The row says when, and by which event; the next wait has a row of its own."""
    run.after(5).when(resumed())
    first = opened(run, 1, "Tell", 2)._replace(outcome="resumed", ended_seq=4, ended_at=START + 5)
    assert run.changes == ([first, opened(run, 2, "Ask", 5)._replace(opened_at=START + 5)], [], [], [])


@pytest.mark.parametrize("end", [terminated(), failed("Tell", "NoMail")])
def test_a_wait_that_goes_with_its_run_is_cancelled(run, end):
    """Whatever ends the run."""
    run.after(5).when(end)
    (row,) = run.changes.waits
    assert (row.outcome, row.ended_seq, row.ended_at) == ("cancelled", 4, START + 5)


def test_a_timer_is_a_row_until_it_fires(run):
    """Its due instant is its key."""
    run.when(resumed(), resumed())
    timer = TimerRow(START + 60_000, STREAM, 7)
    assert run.changes.timers == [timer]
    assert run.changes.timers_gone == []
    run.after(60_000).when(due())
    assert (run.changes.timers, run.changes.timers_gone) == ([], [timer])


def test_a_timer_goes_with_its_run(run):
    """A termination leaves nothing that could come due."""
    run.when(resumed(), resumed(), terminated())
    assert run.changes == ([], [], [TimerRow(START + 60_000, STREAM, 7)], [])


def test_what_neither_waits_nor_is_timed_leaves_no_rows(run):
    """A task is in the log and in the execution's row only."""
    run.when(succeeded("Tell"))
    assert run.changes == ([], [], [], [])


ITEMS = {
    "StartAt": "Each",
    "States": {
        "Each": {
            "Type": "Map",
            "ItemProcessor": {
                "StartAt": "Which",
                "States": {
                    "Which": {
                        "Type": "Choice",
                        "Choices": [{"Variable": "$", "IsString": True, "Next": "Ask"}],
                        "Default": "Pause",
                    },
                    "Ask": {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 9, "End": True},
                    "Pause": {"Type": "Wait", "SecondsPath": "$", "End": True},
                },
            },
            "End": True,
        }
    },
}


def test_all_that_goes_with_a_scope_goes_at_once():
    """Iterations of one state: each has its rows, and all of them end by one event."""
    run = Run(ITEMS, ["a", "b", 1, 2], None)
    assert [(row.state, row.due_at) for row in run.changes.waits] == [("Ask", START + 9000)] * 2
    timers = set(run.changes.timers)
    assert sorted(row.due_at - START for row in timers) == [1000, 2000, 9000, 9000]
    run.after(5).when(terminated())
    rows = {(ids.text(row.wait_id), row.state, row.outcome, row.ended_at) for row in run.changes.waits}
    assert rows == {(WAITS[1], "Ask", "cancelled", START + 5), (WAITS[2], "Ask", "cancelled", START + 5)}
    assert set(run.changes.timers_gone) == timers
    assert run.changes.timers == []


def test_what_one_branch_ends_leaves_the_rows_of_the_others():
    """The answer to one question is no news of the other one."""
    run = Run(ITEMS, ["a", "b"], None)
    (first, second) = sorted(run.changes.timers)
    run.when(resumed(wait=WAITS[1]))
    assert [(ids.text(row.wait_id), row.outcome) for row in run.changes.waits] == [(WAITS[1], "resumed")]
    assert (run.changes.timers, run.changes.timers_gone) == ([], [first])
    run.after(9000).when(c.FireTimer(second.timer))
    assert [(ids.text(row.wait_id), row.outcome) for row in run.changes.waits] == [(WAITS[2], "expired")]
    assert (run.changes.timers, run.changes.timers_gone) == ([], [second])


BEATING = {
    "StartAt": "Tell",
    "States": {
        "Tell": {
            "Type": "Task",
            "Resource": "wait_for_resume",
            "TimeoutSeconds": 60,
            "HeartbeatSeconds": 20,
            "End": True,
        }
    },
}


def test_a_heartbeat_moves_its_rows():
    """The timer's row is named by its instant: one goes and one comes; the wait's row says until when."""
    run = Run(BEATING, {}, None)
    assert run.changes.timers == [TimerRow(START + 20_000, STREAM, 2)]
    run.after(5000).when(c.Beat(WAITS[1]))
    assert (run.changes.timers, run.changes.timers_gone) == (
        [TimerRow(START + 25_000, STREAM, 2)],
        [TimerRow(START + 20_000, STREAM, 2)],
    )
    assert [(row.due_at, row.outcome) for row in run.changes.waits] == [(START + 25_000, None)]


def test_a_heartbeat_that_moves_nothing_leaves_its_timer():
    """Two in one millisecond, or near the end of the time limit: what is due at the same instant stays as it is."""
    run = Run(BEATING, {}, None).when(c.Beat(WAITS[1]))
    assert (run.changes.timers, run.changes.timers_gone) == ([], [])
    run.after(19_000).when(c.Beat(WAITS[1])).after(19_000).when(c.Beat(WAITS[1])).after(10_000).when(c.Beat(WAITS[1]))
    assert run.changes.timers == [TimerRow(START + 60_000, STREAM, 2)]
    run.when(c.Beat(WAITS[1]))
    assert (run.changes.timers, run.changes.timers_gone) == ([], [])


def test_what_is_moved_there_and_back_is_not_written():
    """Of several events that go in one append only what is different in the end."""
    run = Run(BEATING, {}, None)
    there, back = (replace(run.state, timers=run.state.timers.set(2, Timer("", START + ms))) for ms in (1, 20_000))
    steps = [DraftedEvent(run.events[-1], there), DraftedEvent(run.events[-1], back)]
    assert projections.changes(STREAM, ORGANIZATION, run.state, steps) == ([], [], [], [])


def test_an_execution_s_row_is_its_state(run):
    """From the first event to the last; values are references."""
    row = run.row
    assert (row.status, row.state, row.seq, row.ended_at) == ("running", "Tell", 3, None)
    assert (row.execution_id, row.organization_id, row.workflow_version) == (STREAM, ORGANIZATION, 1)
    assert (row.input_ref, row.output_ref, row.trigger_type) == ("1/input", None, "REQUEST")
    assert (row.created_at, row.modified_at, row.modified_by) == (START, START, "key:test")
    run.after(7).when(failed("Tell", "Secret", "why"))
    row = run.row
    assert (row.status, row.state, row.seq, row.ended_at) == ("failed", "Tell", 5, START + 7)
    assert (row.error, row.error_ref, row.cause_ref, row.output_ref) == (None, "4/error", "4/cause", None)
    assert "Secret" not in repr(row)


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_child_s_row_names_its_parent(run, is_awaited):
    """The execution whose task started it, and whether that task awaits its end; what is no child names none."""
    assert (run.row.parent_id, run.row.awaited_by) == (None, None)
    parent = e.Parent(WAITS[5], "", "Call", 2, 1, 0, "sync", is_awaited)
    run.state = replace(run.state, parent=parent)
    parent_id = ids.parse(WAITS[5])
    assert (run.row.parent_id, run.row.awaited_by) == (parent_id, parent_id if is_awaited else None)


def test_a_live_run_s_output_is_that_of_the_last_state_left(run):
    """And in the end the execution's."""
    run.when(resumed({"n": 1}))
    assert run.row.output_ref == "4/result"
    run.when(resumed({"n": 2})).after(60_000).when(due(), succeeded("Charge", 3))
    assert run.row.output_ref == run.state.output
    assert run.value(run.row.output_ref) == 3
    assert (run.row.status, run.row.error) == ("completed", None)
