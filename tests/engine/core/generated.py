"""Definitions, values and commands that nobody would write, for the property tests.

Every text that stands for business data carries MARK, so that it can be looked for where none may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from engine.codec import decode_json, encode_json
from engine.core import commands as c
from engine.core import events as e

from .checked import Checked, wait_id

MARK = "§"
LITERAL_ERROR = "Overdrawn"
RESERVED_ERROR = "States.TaskFailed"

texts = st.text("abc", max_size=3).map(MARK.__add__)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-1e9, 1e9), texts)
names = st.sampled_from(["a", "b", f"{MARK}k"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
).map(lambda value: decode_json(encode_json(value)))  # what comes in is decoded, and shares nothing
inputs = st.one_of(st.dictionaries(names, values, max_size=3), values)

paths = st.sampled_from(["$", "$", "$.a", "$.a.b", "$.b", "$$.Execution.Input", "$.none"])
result_paths = st.sampled_from(["$", "$.a", "$.r", "$.a.b", None])
templates = st.fixed_dictionaries(
    {}, optional={"x": st.just(1), "y.$": st.sampled_from(["$", "$.a", "$$.State.Name", "$$.State.WaitId", "$.b"])}
)
errors = st.one_of(texts, st.sampled_from([LITERAL_ERROR, RESERVED_ERROR, None]))
STATE_NAMES = ("Start", "B", "a/b ü", "D", "E")


def fields(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these fields, mostly few."""
    return st.one_of(st.just({}), st.fixed_dictionaries({}, optional=optional))


@st.composite
def definitions(draw: Callable[..., Any]) -> dict[str, Any]:
    """A valid definition; every state can be reached, not every run ends."""
    known = STATE_NAMES[: draw(st.integers(1, len(STATE_NAMES)))]
    states = {name: draw(states_among(known)) for name in known}
    reached, waiting = {known[0]}, [known[0]]
    while waiting:
        for name in targets(states[waiting.pop()]):
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return {"StartAt": known[0], "States": {name: states[name] for name in known if name in reached}}


def targets(state: dict[str, Any]) -> Iterator[str]:
    yield from (holder["Next"] for holder in (state, *state.get("Choices", ())) if "Next" in holder)
    yield from [state["Default"]] if "Default" in state else []


@st.composite
def states_among(draw: Callable[..., Any], known: tuple[str, ...]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["Pass", "Task", "Task", "Task", "Wait", "Choice", "Succeed", "Fail"]))
    state = {"Type": kind, **draw(SHAPES[kind])}
    if kind in {"Pass", "Task", "Wait"}:
        following = draw(st.sampled_from([*known, None]))
        state |= {"End": True} if following is None else {"Next": following}
    if kind == "Choice":
        test = st.sampled_from([{"IsPresent": True}, {"IsNull": False}, {"NumericGreaterThan": 0}])
        variable = st.sampled_from(["$.a", "$.b", "$$.Execution.Input"])
        rules = draw(st.lists(st.tuples(variable, test, st.sampled_from(known)), min_size=1, max_size=2))
        state["Choices"] = [{"Variable": path, **holds, "Next": following} for path, holds, following in rules]
        if draw(st.integers(0, 3)):
            state["Default"] = draw(st.sampled_from(known))
    return state


FILTERS = {"InputPath": paths, "OutputPath": paths}
WORK = {**FILTERS, "ResultPath": result_paths, "Parameters": templates}
SHAPES = {
    "Pass": fields(**WORK, Result=st.sampled_from([None, 1, {"a": {"b": 1}}])),
    "Task": st.builds(
        lambda resource, more: {"Resource": resource, **more},
        st.sampled_from(["charge", "notify.waitForResume", "wait_for_resume"]),
        fields(**WORK, ResultSelector=templates),
    ),
    "Wait": st.builds(
        lambda when, more: {**when, **more},
        st.sampled_from([{"Seconds": 5}, {"Seconds": 0}, {"SecondsPath": "$.b"}, {"Timestamp": "2025-06-15T16:00:00Z"}]),
        fields(**FILTERS),
    ),
    "Choice": fields(**FILTERS),
    "Succeed": fields(**FILTERS),
    "Fail": st.sampled_from([{"Error": LITERAL_ERROR, "Cause": "c"}, {}, {"ErrorPath": "$.a"}]),
}


# --- commands --------------------------------------------------------------------------------------------------------

outcomes = st.one_of(st.builds(c.Succeeded, values), st.builds(c.Failed, errors, st.one_of(st.none(), texts)))


@st.composite
def commands(draw: Callable[..., Any], run: Checked) -> c.Command:
    """A command that may fit, be a repetition, come late, or be nonsense."""
    kind = draw(st.sampled_from(KINDS))
    return kind(draw, run)


def complete(draw: Callable[..., Any], run: Checked) -> c.Command:
    """The outcome of a step that was called at some time, or of none."""
    scheduled = [r for r in run.events if isinstance(r.event, e.TaskScheduled)]
    if not scheduled or not draw(st.integers(0, 9)):
        return c.CompleteTask(draw(st.sampled_from(["", "x"])), "Nowhere", 1, 0, 1, draw(outcomes))
    called = scheduled[-1] if draw(st.booleans()) else draw(st.sampled_from(scheduled))
    return c.CompleteTask("", called.event.state, called.seq, 0, called.event.visit, draw(outcomes))


def fire(draw: Callable[..., Any], run: Checked) -> c.Command:
    """Some timer, when it is due, or too early, or when the clock is wrong."""
    run.after(draw(st.sampled_from([0, 1, 5000, 5000, 3_600_000, 10**8, -7_000])))
    return c.FireTimer(draw(st.sampled_from([*(r.seq for r in run.events if isinstance(r.event, e.TimerSet)), 1])))


def answer(draw: Callable[..., Any], run: Checked) -> c.Command:
    """A resume by nothing, an id or a state, each perhaps a wrong one."""
    wait = draw(st.sampled_from([None, None, run.wait, wait_id(1), wait_id(999)]))
    state = draw(st.sampled_from([None, None, run.state.current, *STATE_NAMES]))
    return c.Resume(draw(values), wait, state, draw(st.booleans()))


def end(draw: Callable[..., Any], _run: Checked) -> c.Command:
    """What is rare."""
    return draw(
        st.sampled_from(
            [
                c.Terminate(f"{MARK}reason"),
                c.Quarantine("Resume", "KeyError"),
                c.Refuse("trigger", f"{MARK}taken"),
                c.Confirm(f"{MARK}answer"),
                c.Redispatch("x"),
            ]
        )
    )


def restart(draw: Callable[..., Any], _run: Checked) -> c.Command:
    """The process stops, or dies."""
    return c.Recover(draw(st.booleans()))


KINDS = (
    *(complete, complete, complete, fire, fire, answer, answer, answer, restart, end),
    *(lambda _draw, _run: c.Advance(), lambda _draw, _run: c.Redispatch("")),
)


def next_command(run: Checked) -> c.Command | None:
    """What a driver and an outside world that do their duty send next; null if nothing is left to do."""
    state = run.state
    for frame in state.frames.values():
        if frame.phase is None:
            return c.Advance()
    task = state.task("")
    if task is not None and task.is_held:
        return c.Redispatch("")
    if task is not None:
        name = state.frames[""].state
        return c.CompleteTask("", name, task.seq, task.attempt, state.visits[name], c.Succeeded({"a": {"b": 1}, "b": 0}))
    for timer in state.timers():
        run.now = max(run.now, timer.due_at)
        return c.FireTimer(timer.seq)
    return c.Resume({"a": {"b": 1}, "b": 0}) if state.open_waits() else None
