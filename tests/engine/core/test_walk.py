"""Every sequence of commands on a few tiny definitions: whatever comes in whatever order, the promises hold.

The walk is breadth first. Two ways to the same state are one, where "the same" leaves out seqs, instants and
references, of which the rules know nothing but their order.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.chance_events import ExecutionForked
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import Decision, Facts, Need, Rejection
from perdure.engine.core.events import Origin
from perdure.engine.core.settings import VersionSettings
from perdure.engine.core.state import InTask, State, initial_state
from perdure.engine.core.transitions import TRANSITIONS
from perdure.engine.language import Machine, compile_machine, nested_in
from perdure.engine.testing import EXECUTION, START, WORKFLOW, WORKSPACE

from .invariants import check_state

LATE = START + 10**9
STEP = {"Type": "Task", "Resource": "charge"}
ASK = {"Type": "Task", "Resource": "wait_for_resume"}
TELL = {"Type": "Task", "Resource": "notify.waitForResume"}
CHILD = "arn:aws:states:::states:startExecution.sync:2"

DEFINITIONS: dict[str, dict[str, Any]] = {
    "ask, charge, pause": {
        "Ask": {**ASK, "Next": "Charge"},
        "Charge": {**STEP, "Next": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": 1, "End": True},
    },
    "tell, ask": {"Tell": {**TELL, "Next": "Ask"}, "Ask": {**ASK, "End": True}},
    "ask until it is enough": {
        "Ask": {**ASK, "Next": "Again"},
        "Again": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.again", "IsPresent": True, "Next": "Ask"}],
            "Default": "Done",
        },
        "Done": {"Type": "Succeed"},
    },
    "tell in time, or be caught": {
        "Tell": {
            "Type": "Task",
            "Resource": "notify.waitForTaskToken",
            "Parameters": {"token.$": "$$.Task.Token"},
            "TimeoutSeconds": 60,
            "HeartbeatSeconds": 20,
            "Retry": [{"ErrorEquals": ["NoMoney"], "MaxAttempts": 1}],
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Done"}],
            "End": True,
        },
        "Done": {"Type": "Succeed"},
    },
    "ask, and fail to leave": {"Ask": {**ASK, "OutputPath": "$.again", "Next": "Bad"}, "Bad": {"Type": "Fail"}},
}
OTHERS: dict[str, dict[str, Any]] = {
    "step": {**STEP, "TimeoutSeconds": 60},
    "pause": {"Type": "Wait", "Seconds": 1},
    "fail": {"Type": "Fail"},
    "pass": {"Type": "Pass"},
    "tell": {"Type": "Task", "Resource": "wait_for_resume", "TimeoutSeconds": 60},
    "say": {**TELL, "TimeoutSeconds": 60},
    "child": {"Type": "Task", "Resource": CHILD, "Parameters": {"StateMachineArn": "child", "Input": {}}},
    "map": {
        "Type": "Map",
        "ItemsPath": "$.none",
        "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Succeed"}}},
    },
    "fork": {
        "Type": "Parallel",
        "Branches": [{"StartAt": "In", "States": {"In": {"Type": "Succeed"}}}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Rest"}],
    },
}
"""What runs beside a wait, in the iteration of another item; the failure of either is tolerated."""


def beside(other: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A wait, and something else beside it."""
    choice = {"Type": "Choice", "Choices": [{"Variable": "$", "IsString": True, "Next": "Ask"}], "Default": "Other"}
    last = other if other["Type"] == "Fail" else {**other, "End": True}
    states = {"Choose": choice, "Ask": {**ASK, "TimeoutSeconds": 90, "End": True}, "Other": last}
    if "Catch" in other:
        states["Rest"] = {"Type": "Wait", "Seconds": 1, "End": True}
    return {
        "Both": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ToleratedFailureCount": 1,
            "ItemProcessor": {"StartAt": "Choose", "States": states},
            "End": True,
        }
    }


DEFINITIONS |= {f"ask beside {name}": beside(other) for name, other in OTHERS.items()}

DEFINITIONS |= {
    "charge in turn": {"Charge": {**STEP, "End": True}},
    "charge in time, ask in turn": {
        "Charge in time": {**STEP, "TimeoutSeconds": 60, "Next": "Ask"},
        "Ask": {**ASK, "Next": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": 1, "End": True},
    },
    "ask beside asking in turn": {
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Ask", "States": {"Ask": {**ASK, "End": True}}},
                {
                    "StartAt": "Tell",
                    "States": {
                        "Tell": {
                            **ASK,
                            "TimeoutSeconds": 60,
                            "HeartbeatSeconds": 20,
                            "Retry": [{"ErrorEquals": ["NoMoney"], "MaxAttempts": 1}],
                            "ResultSelector": {"again.$": "$.again"},
                            "End": True,
                        },
                    },
                },
            ],
            "End": True,
        }
    },
}

DEFINITIONS["ask in time, charge beside"] = {
    "Both": {
        "Type": "Parallel",
        "Branches": [
            {"StartAt": "Ask", "States": {"Ask": {**ASK, "TimeoutSeconds": 90, "End": True}}},
            {
                "StartAt": "Pay",
                "States": {
                    "Pay": {**STEP, "Retry": [{"ErrorEquals": ["NoMoney"], "MaxAttempts": 1}], "End": True},
                },
            },
        ],
        "End": True,
    }
}

LIMITED = {"ask, charge, pause", "ask beside pause", "charge in turn"}
"""These have a time limit for the whole execution."""

REDRIVEN = {
    "ask until it is enough",
    "ask, and fail to leave",
    "ask beside pause",
    "ask beside fail",
    "ask beside pass",
    "ask beside map",
    "charge, and be late",
}
"""These are redriven once wherever they can be; of the others it is only tried where it is refused."""

FORKED = {
    "ask until it is enough",
    "ask, and fail to leave",
    "ask beside fail",
    "charge, and be late",
    "charge in time, ask in turn",
}
"""These are forked wherever they can be, once."""

DEFINITIONS["charge, and be late"] = {"Do": {**STEP, "TimeoutSeconds": 60, "End": True}}
TURN = e.RunLimit("workflow", "f" * 64)
ALL_COUNT = VersionSettings(timeout_ms=3_600_000)
ACTIVE_COUNT = VersionSettings(timeout_ms=3_600_000, concurrency_counts="active")
TIMED = {"ask in time, charge beside": VersionSettings(timeout_ms=3_600_000)}
"""Likewise, but they queue for nothing."""

IN_TURN = {
    "charge in turn": ALL_COUNT,
    "charge in time, ask in turn": ACTIVE_COUNT,
    "ask beside asking in turn": VersionSettings(concurrency_counts="active"),
}
"""These queue for a place in a limit; two have a time limit by their settings."""

PAUSED = {
    "ask, charge, pause",
    "ask, and fail to leave",
    "ask beside pause",
    "charge in turn",
}
"""These are paused at every place; all of them are by `dev.py walk`, which takes minutes."""

CROWDED = {"Charge"}
"""Where a state of this name is, steps wait for a place now and then."""

SIMULATED = {"Do"}
"""A step of a state of this name may be in a sandbox, and not be called."""

MANY_VISITS = 3
"""A loop is followed so far."""


class Wait(NamedTuple):
    """A wait that was opened, and how it ended; `order` says when, among those that ended."""

    id: str
    state: str
    scope: str = ""
    outcome: str | None = None
    order: int = 0


class Node(NamedTuple):
    """A place that the walk has come to, with what an outside world remembers of the way."""

    state: State
    payloads: dict[int, Any]
    tasks: tuple[c.CompleteTask, ...] = ()
    timers: tuple[int, ...] = ()
    waits: tuple[Wait, ...] = ()
    events: tuple[e.Recorded, ...] = ()

    def key(self) -> Any:
        """What of it can matter for what follows."""
        state = self.state
        rank = {str(seq): str(number) for number, seq in enumerate(sorted(state.forks))}
        place = {
            scope: ".".join((rank[scope.split(".")[0]], scope.split(".")[1])) if scope else "" for scope in state.frames
        }
        frames = [
            (place[scope], frame.state, frame.retries, sorted(frame.visits.items()), _shape(frame.phase))
            for scope, frame in sorted(state.frames.items())
        ]
        forks = [
            (fork.started, sorted(fork.live), sorted(fork.outputs), fork.failures, fork.again)
            for _, fork in sorted(state.forks.items())
        ]
        is_forked = state.origin is not None
        fallen = [
            (frame.state, frame.entry > 0, sorted(frame.visits.items()), _shape(frame.phase))
            for _, frame in sorted(state.fallen.items())
        ]
        past = sorted((wait.state, wait.outcome or "") for wait in self.waits)
        ended = [(wait.state, wait.outcome) for wait in state.ended_waits.values()]
        seen = {(task.state, task.visit) for task in self.tasks}
        stale = any(timer not in state.timers for timer in self.timers)
        clocks = "" if state.pause is None else "run" if state.pause.frozen_at is None else "freeze"
        timers = (0 in state.timers, 1 in state.timers, len(state.ready), len(state.actionable_forks))
        held = (state.queue is not None, bool(state.places), state.is_overdue, *timers, clocks, len(state.stopped))
        flags = (state.is_quarantined, state.refusals > 0, stale, held)
        return repr((state.status, is_forked, frames, forks, fallen, past, ended, sorted(seen), flags))


def _shape(phase: Any) -> Any:
    if isinstance(phase, InTask):
        is_open, submitted = phase.wait is not None, phase.is_submitted
        turn = (phase.is_held, phase.queued is not None)
        return ("task", phase.attempt, is_open, submitted, phase.deaths, phase.deaths_alone, *turn)
    return type(phase).__name__


NOTHING = Node(initial_state(), {})


def ways_on(
    node: Node, machine: Machine, redrives: int, *, is_forked: bool, may_pause: bool, is_thorough: bool
) -> Iterator[tuple[c.Command, int]]:
    """Every command that anybody could send, sensible or not, and the hour at which it comes."""
    yield from ways_for_tasks_and_timers(node, is_crowded=not CROWDED.isdisjoint(machine.states))
    yield from ways_for_waits(node, machine, is_thorough=is_thorough)
    yield c.Terminate("enough"), START
    yield from ((command, START) for command in (c.Recover(died=True), c.Recover(died=False), c.Advance()))
    for scope in node.state.frames:
        yield c.Redispatch(scope), START
    if node.state.limits:
        seq = 1 if node.state.queue is None else node.state.queue.seq
        yield from ((c.Admit(*of), START) for of in ((seq, (3,)), (seq, ()), (99, (3,))))
    for command in (c.Quarantine("Resume", "KeyError"), c.Release(), c.Refuse("trigger", "taken"), c.Confirm("yes")):
        yield command, START
    if is_forked and node.state.origin is None:
        yield c.ForkExecution(Origin("fork", EXECUTION, node.state.seq, "0" * 64), node.events, "REQUEST"), START
    if node.state.redrives < redrives or node.state.status not in {"failed", "timed_out", "terminated"}:
        yield c.RedriveExecution("mended"), START
    if may_pause:
        yield from (
            (pause, START)
            for pause in (c.PauseExecution("wait"), c.PauseExecution("stop", "freeze"), c.UnpauseExecution())
        )


def ways_for_tasks_and_timers(node: Node, *, is_crowded: bool) -> Iterator[tuple[c.Command, int]]:
    for called in node.tasks:
        simulated = [c.TaskSuccess({}, is_simulated=True)] if called.state in SIMULATED else []
        for outcome in (c.TaskSuccess({}), c.TaskSuccess({"again": 1}), c.TaskFailure("NoMoney", "empty"), *simulated):
            yield c.CompleteTask(called.scope, called.state, called.seq, called.attempt, called.visit, outcome), START
        yield c.ChildStarted(called.scope, called.seq, {"started": 1}), START
        if is_crowded:
            yield c.QueueTask(called.scope, called.seq, START), START
            yield c.StartTask(called.scope, called.seq), START
    for timer in (*node.timers, 99):
        yield c.FireTimer(timer), START
        yield c.FireTimer(timer), LATE


def ways_for_waits(node: Node, machine: Machine, *, is_thorough: bool) -> Iterator[tuple[c.Command, int]]:
    """What is refused is sent once, unless the walk is thorough: neither its payload nor its holding is looked at."""
    waits = tuple(wait.id for wait in node.waits)
    for wait in (None, "unknown", *waits):
        for state in (None, *states_of(machine), "Nowhere"):
            yield c.Resume({}, wait, state), START
            word, may_be_held = told(node, c.Resume({}, wait, state, may_hold=True), machine)
            if is_thorough or word == "restarted":
                yield c.Resume({"again": 1}, wait, state), START
            if is_thorough or word == "restarted" or may_be_held:
                yield c.Resume({}, wait, state, may_hold=True), START
    for wait in ("unknown", *waits):
        yield c.AnswerTask(wait, c.TaskSuccess({})), START
        yield c.AnswerTask(wait, c.TaskFailure("NoMoney", None)), START
        yield c.Beat(wait), START


def states_of(machine: Machine) -> Iterator[str]:
    """The names of the states that wait, or may be thought to, at any depth."""
    for name, state in machine.states.items():
        yield from (name,) if not nested_in(state) else ()
        for inner in nested_in(state):
            yield from states_of(inner)


def send(node: Node, command: c.Command, now: int, machine: Machine) -> tuple[Decision | Rejection, Node]:
    """Decide, and go on to where that leads."""
    known = {wait.id: wait.outcome for wait in node.waits}
    own = "fork" if isinstance(command, c.ForkExecution) or node.state.origin else "wait"
    numbers = itertools.count(len(node.waits) + 1)
    chance = lambda: f"{own}-{next(numbers)}"  # noqa: E731 short
    facts = Facts(EXECUTION, machine, node.payloads, now, "key:test", chance, bytes)
    outcome = decide(node.state, command, facts)
    if isinstance(outcome, Need):
        looked_up = {wait: known.get(wait) for wait in outcome.waits}
        numbers = itertools.count(len(node.waits) + 1)
        outcome = decide(node.state, command, replace(facts, known_waits=looked_up))
    assert not isinstance(outcome, Need)
    after = node._replace(payloads=dict(node.payloads)) if outcome.steps else node
    for step in outcome.steps:
        after = follow(after, step.recorded, step.state)
    return outcome, after


def follow(node: Node, recorded: e.Recorded, state: State) -> Node:
    """Remember what an event tells the outside world."""
    event = recorded.event
    node.payloads[recorded.seq] = recorded.payload
    timers = tuple(name for name in state.timers if name not in node.timers)
    node = node._replace(state=state, timers=(*node.timers, *timers), events=(*node.events, recorded))
    if isinstance(event, e.TaskScheduled):
        called = c.CompleteTask(event.scope, event.state, recorded.seq, event.attempt, event.visit, c.TaskSuccess(None))
        node = node._replace(tasks=(*node.tasks, called))
    if isinstance(event, e.WaitOpened):
        return node._replace(waits=(*node.waits, Wait(event.wait, event.state, event.scope)))
    if isinstance(event, e.WaitResumed):
        return node._replace(waits=ended(node.waits, event.wait, "resumed"))
    if isinstance(event, e.WaitExpired):
        return node._replace(waits=ended(node.waits, event.wait, "expired"))
    if state.is_over or isinstance(event, ExecutionForked):
        return node._replace(waits=ended(node.waits, None, "cancelled"))
    if isinstance(event, e.TaskFailed | e.TaskSucceeded):
        wait = next((wait.id for wait in node.waits if wait.outcome is None and wait.scope == event.scope), "none")
        return node._replace(waits=ended(node.waits, wait, "cancelled"))
    return node


def ended(waits: tuple[Wait, ...], wait_id: str | None, outcome: str) -> tuple[Wait, ...]:
    """End this wait, or all that are open. One that has been ended is never ended again."""
    is_named = wait_id not in {None, "none"}
    assert not is_named or [wait.outcome for wait in waits if wait.id == wait_id] == [None], "a wait ended twice"
    order = sum(wait.outcome is not None for wait in waits)
    return tuple(
        wait._replace(outcome=outcome, order=order) if wait.outcome is None and wait_id in {None, wait.id} else wait
        for wait in waits
    )


def told(node: Node, command: c.Resume, machine: Machine) -> tuple[str, bool]:
    """What a resume is told (`api/CONTRACT.md`), by what the outside world remembers; and whether it may be held."""
    if node.state.status == "terminated":
        return "CONFLICT", False
    if node.state.is_quarantined and not node.state.is_over:
        return "UNAVAILABLE", False
    fitting = [wait for wait in node.waits if command.wait in {None, wait.id} and command.state in {None, wait.state}]
    still = sum(wait.outcome is None for wait in fitting)
    if still:
        return ("restarted" if still == 1 else "AMBIGUOUS_WAIT"), False
    if command.wait is not None:  # an id alone says which one was meant
        fitting = [wait for wait in node.waits if wait.id == command.wait and wait.outcome is not None]
    if fitting:
        last = max(fitting, key=lambda wait: wait.order)
        return ("already restarted" if last.outcome == "resumed" else "WAIT_EXPIRED"), False
    may_open = command.state is None or any(is_wait(state) for state in named(machine, command.state))
    return "NOT_WAITING", command.may_hold and command.wait is None and may_open and not node.state.is_over


def named(machine: Machine, name: str) -> Iterator[Any]:
    """The states of that name, at any depth."""
    for state in machine.states.values():
        yield from (state,) if state.name == name else ()
        for inner in nested_in(state):
            yield from named(inner, name)


def is_wait(state: Any) -> bool:
    return bool(getattr(state, "resource", None)) and state.resource.waits


def check(node: Node, command: c.Command, outcome: Decision | Rejection, after: Node, machine: Machine) -> None:
    """What is promised of every single move; what leads nowhere leaves a place that was looked at on the way there."""
    names = [type(step.recorded.event).__name__ for step in outcome.steps]
    if node.state.is_over and isinstance(command, c.RedriveExecution):
        check_redrive(node, names, outcome)
    elif node.state.is_over:
        assert after.state.status == node.state.status, "the end is not final"
        assert set(names) <= {"ResultIgnored", "CommandRefused"}
        assert not getattr(outcome, "effects", ())
    if after is not node:
        check_place(after)
    assert names.count("WaitResumed") <= 1
    if isinstance(command, c.Resume):
        word = outcome.answer if isinstance(outcome, Decision) else outcome.code
        is_early = isinstance(outcome, Rejection) and outcome.is_early
        assert (word, is_early) == told(node, command, machine), (command, node)
        assert ("WaitResumed" in names) == (word == "restarted")
    elif "WaitResumed" in names and not isinstance(command, c.AnswerTask):
        pytest.fail("something else than a resume has ended a wait")


def check_place(node: Node) -> None:
    """What is promised wherever a move leads."""
    state = node.state
    assert {wait.id for wait in node.waits if wait.outcome is None} == {wait for wait, _ in state.open_waits()}
    if state.is_over:
        assert not state.frames
        assert all(wait.outcome for wait in node.waits), "a wait is open after the end"
        return
    if state.limits and state.status == "running":
        assert state.places or state.is_overdue or state.pause is not None, "it goes on without a place"
    check_state(state)


def check_fork(node: Node, outcome: Decision | Rejection, after: Node) -> None:
    """What is alive can be forked, and goes on; what is over is refused, and the last event that would do is named."""
    if isinstance(outcome, Rejection):
        last = node.events[-1].event
        assert node.state.is_over or getattr(last, "next", "") is None
        assert after is NOTHING
        return
    assert not node.state.is_over
    assert outcome.steps[node.state.seq - 1].state.status == node.state.status
    assert {wait.id for wait in after.waits if wait.outcome is None} == set(after.state.waits)
    if not after.state.is_over:
        check_state(after.state)


def check_redrive(node: Node, names: list[str], outcome: Decision | Rejection) -> None:
    """What did not end well goes on, and whatever else ended stays as it is."""
    if node.state.status == "completed":
        assert isinstance(outcome, Rejection)
        assert set(names) <= {"CommandRefused"}
    else:
        assert names[0] == "ExecutionRedriven"
        assert names.count("ExecutionRedriven") == 1
        assert set(outcome.steps[0].state.ended_waits) == set(node.state.ended_waits)


def walk(machine: Machine, name: str, *, is_thorough: bool = True) -> tuple[int, set[tuple[str, str, str]]]:
    """Go everywhere; give the number of places, and the moves of the table that were made."""
    redrives, is_forked, may_pause = int(name in REDRIVEN), name in FORKED, is_thorough or name in PAUSED
    trigger = c.Trigger(WORKSPACE, WORKFLOW, 1, "0" * 64, "REQUEST", {"items": ["ask", 1]})
    if name in TIMED:
        trigger = replace(trigger, settings=TIMED[name])
    if name in IN_TURN:
        trigger = replace(trigger, settings=IN_TURN[name], limits=(TURN,))
    outcome, start = send(NOTHING, trigger, START, machine)
    check_place(start)
    moves = set(moves_of(NOTHING, outcome))
    waiting, seen = deque([start]), {start.key()}
    while waiting:
        node = waiting.popleft()
        ways = ways_on(node, machine, redrives, is_forked=is_forked, may_pause=may_pause, is_thorough=is_thorough)
        for command, now in ways:
            # A fork is another run: nothing of this one is moved by it.
            place = NOTHING if isinstance(command, c.ForkExecution) else node
            outcome, after = send(place, command, now, machine)
            if place is node:
                check(node, command, outcome, after, machine)
            else:
                check_fork(node, outcome, after)
            moves.update(moves_of(place, outcome))
            is_new = after is not node and after is not NOTHING and many_visits(after.state) <= MANY_VISITS
            if is_new and (key := after.key()) not in seen:
                seen.add(key)
                waiting.append(after)
    return len(seen), moves


def many_visits(state: State) -> int:
    frames = (*state.frames.values(), *state.fallen.values())
    return max((visits for frame in frames for visits in frame.visits.values()), default=0)


def moves_of(node: Node, outcome: Decision | Rejection) -> Iterator[tuple[str, str, str]]:
    before = node.state.status
    for step in outcome.steps:
        yield before, type(step.recorded.event).__name__, step.state.status
        before = step.state.status


def limit(name: str) -> dict[str, int]:
    return {"TimeoutSeconds": 3600} if name in LIMITED else {}


@pytest.fixture(scope="module")
def walked() -> dict[str, tuple[int, set[tuple[str, str, str]]]]:
    return {
        name: walk(
            compile_machine({"StartAt": next(iter(states)), "States": states, **limit(name)}),
            name,
            is_thorough=False,
        )
        for name, states in DEFINITIONS.items()
    }


def test_every_sequence_of_commands_keeps_the_promises(walked):
    """The end is final, a wait is resumed once at most and open no longer than the run, and every resume is told so."""
    assert set(DEFINITIONS) >= LIMITED | REDRIVEN | FORKED | PAUSED | set(IN_TURN) | set(TIMED)
    assert sum(count for count, _ in walked.values()) > 180, "the walk did not come far"


def test_every_move_of_the_table_happens(walked):
    """The table allows what is needed and nothing more."""
    moves = set().union(*(made for _, made in walked.values()))
    table = {(before, event, after) for (before, event), statuses in TRANSITIONS.items() for after in statuses}
    assert table - moves == set()
