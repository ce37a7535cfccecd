"""Definitions, values and commands that nobody would write, for the property tests.

Everything is made by one primitive, `pick`, so that hypothesis can shrink what it finds, and plain chance can try a
hundred times as much. Every text that stands for business data carries MARK, so that it can be looked for where none
may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from engine.codec import decode_json, encode_json
from engine.core import commands as c
from engine.core import events as e

from .checked import Checked, wait_id

Pick: TypeAlias = Callable[[Sequence[Any]], Any]

MARK = "§"
LITERAL_ERROR = "Overdrawn"
RESERVED_ERROR = "States.TaskFailed"
STATE_NAMES = ("Start", "B", "a/b ü", "D", "E")

SCALARS = (None, True, False, 0, 1, -7, 2**70, 0.5, -1e9, f"{MARK}", f"{MARK}text", f"{MARK}\u2028\n\"\\'")
MEMBERS = ("a", "b", f"{MARK}k")
ERRORS = (f"{MARK}Error", LITERAL_ERROR, RESERVED_ERROR, None)


def value(pick: Pick, depth: int = 0) -> Any:
    """A JSON value; decoded like all that comes in, so that it shares nothing with another."""
    kind = pick(("scalar", "object", "list")) if depth < 3 else "scalar"
    if kind == "object":
        return {name: value(pick, depth + 1) for name in pick(((), ("a",), MEMBERS[:2], MEMBERS))}
    if kind == "list":
        return [value(pick, depth + 1) for _ in range(pick((0, 1, 2)))]
    return decode_json(encode_json(pick(SCALARS)))


def run_input(pick: Pick) -> Any:
    """The input of an execution: an object mostly."""
    return pick(({}, {"a": {"b": f"{MARK}ab"}, "b": 3}, None)) or value(pick)


# --- definitions -----------------------------------------------------------------------------------------------------

PATHS = ("$", "$.a", "$.a.b", "$.b", "$$.Execution.Input", "$.none")
TEMPLATES = (
    {},
    {"x": 1},
    {"y.$": "$"},
    {"a": {"b": 2}, "y.$": "$.a"},
    {"y.$": "$$.State.Name"},
    {"y.$": "$$.State.WaitId"},
    {"y.$": "$.none"},
)
FILTERS = {"InputPath": PATHS, "OutputPath": PATHS}
WORK = {**FILTERS, "ResultPath": ("$", "$.a", "$.r", "$.a.b", None), "Parameters": TEMPLATES}
FIELDS = {
    "Pass": {**WORK, "Result": (None, 1, {"a": {"b": 1}})},
    "Task": {**WORK, "ResultSelector": TEMPLATES},
    "Wait": FILTERS,
    "Choice": FILTERS,
    "Succeed": FILTERS,
    "Fail": {},
}
NEEDED = {
    "Task": tuple({"Resource": name} for name in ("charge", "notify.waitForResume", "wait_for_resume")),
    "Wait": ({"Seconds": 5}, {"Seconds": 0}, {"SecondsPath": "$.b"}, {"Timestamp": "2025-06-15T16:00:00Z"}),
    "Fail": ({"Error": LITERAL_ERROR, "Cause": "c"}, {}, {"ErrorPath": "$.a.b"}),
}
TESTS = ({"IsPresent": True}, {"IsNull": False}, {"NumericGreaterThan": 0})


def definition(pick: Pick) -> dict[str, Any]:
    """A valid definition; every state can be reached, not every run ends."""
    known = STATE_NAMES[: pick((1, 2, 3, 4, 5))]
    states: dict[str, Any] = {}
    waiting = [known[0]]
    while waiting:
        name = waiting.pop()
        if name not in states:
            states[name] = state(pick, known)
            waiting += targets(states[name])
    return {"StartAt": known[0], "States": states}


def targets(source: dict[str, Any]) -> Iterator[str]:
    """The names of the states that a state leads to."""
    for holder in (source, *source.get("Choices", ())):
        yield from (holder[field] for field in ("Next", "Default") if field in holder)


def state(pick: Pick, known: tuple[str, ...]) -> dict[str, Any]:
    """A state that leads to some of these."""
    kind = pick(("Task", "Task", "Task", "Pass", "Wait", "Choice", "Succeed", "Fail"))
    made = {"Type": kind, **pick(NEEDED.get(kind, ({},)))}
    for field, options in FIELDS[kind].items():
        if pick((False, False, False, True)):
            made[field] = pick(options)
    if kind == "Choice":
        made["Choices"] = [
            {"Variable": pick(PATHS), **pick(TESTS), "Next": pick(known)} for _ in range(pick((1, 1, 2)))
        ]
        if pick((True, True, False)):
            made["Default"] = pick(known)
    elif kind not in {"Succeed", "Fail"}:
        following = pick((*known, None))
        made |= {"End": True} if following is None else {"Next": following}
    return made


# --- commands --------------------------------------------------------------------------------------------------------


def command(pick: Pick, run: Checked) -> c.Command:
    """A command that may fit, be a repetition, come late, or be nonsense."""
    return pick(KINDS)(pick, run)


def complete(pick: Pick, run: Checked) -> c.Command:
    """The outcome of a step that was called at some time, or of none."""
    outcome = pick((c.Succeeded(value(pick)), c.Failed(pick(ERRORS), pick((None, f"{MARK}cause")))))
    scheduled = [r for r in run.events if isinstance(r.event, e.TaskScheduled)]
    if not scheduled:
        return c.CompleteTask(pick(("", "x")), "Nowhere", 1, 0, 1, outcome)
    called = pick((scheduled[-1], pick(scheduled)))
    return c.CompleteTask("", called.event.state, called.seq, 0, called.event.visit, outcome)


def fire(pick: Pick, run: Checked) -> c.Command:
    """Some timer, when it is due, or too early, or when the clock is wrong."""
    run.after(pick((0, 1, 5000, 5000, 3_600_000, 10**8, -7_000)))
    return c.FireTimer(pick((1, *(r.seq for r in run.events if isinstance(r.event, e.TimerSet)))))


def answer(pick: Pick, run: Checked) -> c.Command:
    """A resume by nothing, an id or a state, each perhaps a wrong one."""
    wait = pick((None, None, run.wait, wait_id(1), wait_id(999)))
    return c.Resume(value(pick), wait, pick((None, None, run.state.current, *STATE_NAMES)), pick((False, True)))


RARE = (
    c.Terminate(f"{MARK}reason"),
    c.Quarantine("Resume", "KeyError"),
    c.Refuse("trigger", f"{MARK}taken"),
    c.Confirm(f"{MARK}answer"),
    c.Redispatch("x"),
)
KINDS: tuple[Callable[[Pick, Checked], c.Command], ...] = (
    *(complete, complete, complete, fire, fire, answer, answer, answer),
    *(lambda pick, _run: c.Recover(pick((False, True))), lambda _pick, _run: c.Advance()),
    *(lambda pick, _run: pick(RARE), lambda _pick, _run: c.Redispatch("")),
)


def next_command(run: Checked) -> c.Command | None:
    """What a driver and an outside world that do their duty send next; null if nothing is left to do."""
    state, given_back = run.state, {"a": {"b": 1}, "b": 0}
    if any(frame.phase is None for frame in state.frames.values()):
        return c.Advance()
    task = state.task("")
    if task is not None and task.is_held:
        return c.Redispatch("")
    if task is not None:
        name = state.frames[""].state
        return c.CompleteTask("", name, task.seq, task.attempt, state.visits[name], c.Succeeded(given_back))
    for timer in state.timers():
        run.now = max(run.now, timer.due_at)
        return c.FireTimer(timer.seq)
    return c.Resume(given_back) if state.open_waits() else None
