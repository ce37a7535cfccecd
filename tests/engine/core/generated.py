"""Definitions, values and commands that nobody would write, for the property tests.

Everything is made by one primitive, `pick`, so that hypothesis can shrink what it finds, and plain chance can try a
hundred times as much. Every text that stands for business data carries MARK, so that it can be looked for where none
may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.settings import VERSION_DEFAULTS, VersionSettings
from perdure.engine.log.codec import decode_json, encode_json

from .checked import Checked, tasks_of, wait_id

Pick: TypeAlias = Callable[[Sequence[Any]], Any]

MARK = "§"
LITERAL_ERROR = "Overdrawn"
RESERVED_ERROR = "States.TaskFailed"
STATE_NAMES = ("Start", "B", "a/b ü", "D", "E")

SCALARS = (None, True, False, 0, 1, -7, 2**70, 0.5, -1e9, f"{MARK}", f"{MARK}text", f"{MARK}\u2028\n\"\\'")
MEMBERS = ("a", "b", "items", f"{MARK}k")
ERRORS = (f"{MARK}Error", LITERAL_ERROR, RESERVED_ERROR, None)


def value(pick: Pick, depth: int = 0) -> Any:
    """A JSON value; decoded like all that comes in, so that it shares nothing with another."""
    kind = pick(("scalar", "object", "list")) if depth < 3 else "scalar"
    if kind == "object":
        return {name: value(pick, depth + 1) for name in pick(((), ("a",), MEMBERS[:3], MEMBERS))}
    if kind == "list":
        return [value(pick, depth + 1) for _ in range(pick((0, 1, 2)))]
    return decode_json(encode_json(pick(SCALARS)))


def helpful(pick: Pick) -> Any:
    """A value that most paths find something in."""
    item = {"a": {"b": f"{MARK}ab"}, "b": 2, "items": [{"b": 1, "items": []}]}
    many = pick(([], [item], [item, item], [item, item, {**item, "b": 0}], [1, [], f"{MARK}i"]))
    return {**decode_json(encode_json(item)), "b": pick((0, 3)), "items": decode_json(encode_json(many))}


def run_input(pick: Pick) -> Any:
    """The input of an execution: an object mostly."""
    return pick((helpful, helpful, helpful, value))(pick)


# --- definitions -----------------------------------------------------------------------------------------------------

PATHS = ("$", "$", "$", "$.a", "$.a.b", "$.b", "$$.Execution.Input", "$.none")
KEPT = {"a": {"b": "text"}, "b": 1, "items.$": "$.items"}
TEMPLATES: tuple[Any, ...] = (
    {},
    {"x": 1, "items": [1, 2]},
    {**KEPT, "y.$": "$"},
    {**KEPT, "c.$": "$.a"},
    {**KEPT, "y.$": "$$.State.Name"},
    {**KEPT, "y.$": "$$.Execution.Input"},
    {"y.$": "$.none"},
)
LISTS: tuple[Any, ...] = ({"y.$": "$"}, {"first.$": "$[0]", "a": {"b": "text"}, "b": 1, "items": [{"b": 0}]})
ASKING = ({**KEPT, "tried.$": "$$.State.RetryCount"}, {"y.$": "$$.State.WaitId"})
FILTERS = {"InputPath": PATHS, "OutputPath": PATHS}
SELDOM = (False,) * 7 + (True,)
SOMETIMES = (False, False, False, True)
RETRIES = (
    [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 2, "JitterStrategy": "FULL"}],
    [
        {"ErrorEquals": [LITERAL_ERROR], "IntervalSeconds": 2, "MaxAttempts": 1, "MaxDelaySeconds": 3},
        {"ErrorEquals": ["States.Timeout", RESERVED_ERROR], "IntervalSeconds": 1, "MaxAttempts": 1},
    ],
)
WORK = {**FILTERS, "ResultPath": ("$", "$.a", "$.r", "$.a.b", None), "Parameters": TEMPLATES}
HANDLING = {**WORK, "ResultSelector": TEMPLATES, "Retry": RETRIES}
FIELDS: dict[str, dict[str, Any]] = {
    "Pass": {**WORK, "Result": (None, 1, {"a": {"b": 1}})},
    "Task": {**HANDLING, "TimeoutSeconds": (30,), "HeartbeatSeconds": (10,)},
    "Parallel": {**HANDLING, "ResultSelector": LISTS},
    "Map": {
        **{name: options for name, options in HANDLING.items() if name != "Parameters"},
        "ResultSelector": LISTS,
        "ItemsPath": ("$.items",) * 5 + ("$.a",),
        "MaxConcurrency": (0, 1, 2),
        "ToleratedFailureCount": (1,),
        "ToleratedFailurePercentage": (50,),
        "ItemSelector": ({"of.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index"}, {"v.$": "$.b"}),
    },
    "Wait": FILTERS,
    "Choice": FILTERS,
    "Succeed": FILTERS,
    "Fail": {},
}
CHILD = "arn:aws:states:::states:startExecution"
TOKEN = {"token.$": "$$.Task.Token"}
NEEDED: dict[str, Any] = {
    "Task": (
        *({"Resource": name} for name in ("charge", "charge", "notify.waitForResume", "wait_for_resume")),
        {"Resource": "notify.waitForTaskToken", "Parameters": TOKEN},
        {"Resource": "wait_for_resume", "TimeoutSeconds": 30, "HeartbeatSeconds": 10},
        {"Resource": f"{CHILD}.sync:2", "Parameters": {"StateMachineArn": "child", "Input.$": "$"}},
        {"Resource": f"{CHILD}.sync", "Parameters": {"StateMachineArn": "child", "Input": TOKEN}},
        {"Resource": CHILD, "Parameters": {"StateMachineArn": "child"}},
    ),
    "Wait": ({"Seconds": 5}, {"Seconds": 0}, {"SecondsPath": "$.b"}, {"Timestamp": "2025-06-15T16:00:00Z"}),
    "Fail": ({"Error": LITERAL_ERROR, "Cause": "c"}, {}, {"ErrorPath": "$.a.b"}),
}
TESTS = ({"IsPresent": True}, {"IsNull": False}, {"NumericGreaterThan": 0})
SIMPLE = ("Task", "Task", "Task", "Task", "Pass", "Wait", "Choice")
LAST = ("Task", "Task", "Task", "Task", "Wait", "Pass", "Succeed", "Fail")
NESTING = ("Parallel", "Map")
DEPTH_MAX = 3


class Maker:
    """Makes one definition; names are used once in it. Without loops every run ends.

    A tame one has no paths that may find nothing, so that its runs come far.
    """

    def __init__(self, pick: Pick, *, has_loops: bool) -> None:
        self.pick = pick
        self.has_loops = has_loops
        self.is_tame = pick((True, True, False))
        self.numbers = itertools.count(1)
        self.assigned: list[str] = []

    def definition(self) -> dict[str, Any]:
        """A valid definition; every state can be reached."""
        made = self.machine(0)
        return made | ({"TimeoutSeconds": self.pick((100, 100_000))} if self.pick((False, False, True)) else {})

    def machine(self, depth: int) -> dict[str, Any]:
        """The definition, or a branch of it."""
        lengths = (1, 2, 3, 4, 5) if depth == 0 else (1, 1, 2, 3)[: 5 - depth]
        names = [f"{base}{next(self.numbers)}" for base in STATE_NAMES[: self.pick(lengths)]]
        states: dict[str, Any] = {}
        waiting = names[:1]
        while waiting:
            name = waiting.pop()
            if name not in states:
                known = names if self.has_loops else names[names.index(name) + 1 :]
                states[name] = self.state(tuple(known), depth)
                waiting += targets(states[name])
        return {"StartAt": names[0], "States": states}

    def state(self, known: tuple[str, ...], depth: int) -> dict[str, Any]:
        """A state that leads to some of these."""
        pick = self.pick
        kind = pick((*(SIMPLE if known else LAST), *NESTING * (1 if depth else 3) * (depth < DEPTH_MAX)))
        made = {"Type": kind, **pick(NEEDED.get(kind, ({},)))}
        for field, options in FIELDS[kind].items():
            is_rare = options in (PATHS, TEMPLATES, LISTS, WORK["ResultPath"])
            if field not in made and pick(SELDOM if is_rare else SOMETIMES) and not (is_rare and self.is_tame):
                made[field] = pick(options)
        if kind == "Task" and "Parameters" not in made and pick(SELDOM):
            made["Parameters"] = pick(ASKING)
        if kind in {"Pass", "Task", "Parallel"} and self.assigned and "Parameters" not in made and pick(SOMETIMES):
            made["Parameters"] = {**KEPT, "v.$": f"${pick(self.assigned)}"}
        if kind in {"Task", *NESTING} and pick((True, True, False)):
            made.setdefault("ResultPath", pick(("$.r", "$.r", None)))
        if "Result" in made and "Parameters" in made:
            del made["Parameters"]
        if kind == "Parallel":
            made["Branches"] = [self.machine(depth + 1) for _ in range(pick((1, 2, 2, 3)))]
        elif kind == "Map":
            made.setdefault("ItemsPath", "$.items")
            made["ItemProcessor"] = self.machine(depth + 1)
        if kind not in {"Fail", "Succeed"} and pick(SOMETIMES):
            made["Assign"] = {f"v{depth}": 1, f"w{depth}.$": "$" if self.is_tame else pick(PATHS)}
            self.assigned += [f"v{depth}", f"w{depth}"]
        return self._lead(made, kind, known)

    def _lead(self, made: dict[str, Any], kind: str, known: tuple[str, ...]) -> dict[str, Any]:
        pick = self.pick
        if kind == "Choice":
            rules = [{"Variable": pick(PATHS), **pick(TESTS), "Next": pick(known)} for _ in range(pick((1, 1, 2)))]
            return {**made, "Choices": rules, **({"Default": pick(known)} if pick((True, True, False)) else {})}
        if kind in {"Succeed", "Fail"}:
            return made
        if kind in {"Task", "Parallel", "Map"} and known and pick((False, True)):
            made["Catch"] = [
                {"ErrorEquals": [pick((LITERAL_ERROR, "States.ALL", "States.Timeout"))], **way, "Next": pick(known)}
                for way in pick((({},), ({"ResultPath": "$.error"},), ({"ResultPath": "$.a.b"}, {})))[:1]
            ]
        following = pick((*known, None))
        return made | ({"End": True} if following is None else {"Next": following})


def definition(pick: Pick, *, has_loops: bool = True) -> dict[str, Any]:
    """A definition; with loops not every run ends."""
    return Maker(pick, has_loops=has_loops).definition()


def targets(source: dict[str, Any]) -> Iterator[str]:
    """The names of the states that a state leads to."""
    for holder in (source, *source.get("Choices", ()), *source.get("Catch", ())):
        yield from (holder[field] for field in ("Next", "Default") if field in holder)


# --- limits ----------------------------------------------------------------------------------------------------------

KEYS = (e.RunLimit("key", "a" * 64), e.RunLimit("organization", "b" * 64))
LIMITS: tuple[tuple[e.RunLimit, ...], ...] = ((), (), KEYS[:1], KEYS)
SETTINGS = (
    VERSION_DEFAULTS,
    VersionSettings(timeout_ms=5000),
    VersionSettings(concurrency_counts="active"),
    VersionSettings(concurrency_counts="active", timeout_ms=3_600_000),
)


def admission(run: Checked) -> c.Admit:
    """The admission of a run that queues, or one that comes late."""
    seq = 1 if run.state.queue is None else run.state.queue.seq
    return c.Admit(seq, tuple(range(1, len(run.state.limits) + 1)))


def is_held(run: Checked) -> bool:
    """Whether nothing of a run is begun, though something may stand ready."""
    return run.state.queue is not None or run.state.is_overdue


# --- commands that may be senseless ----------------------------------------------------------------------------------


def command(pick: Pick, run: Checked) -> c.Command:
    """A command that may fit, be a repetition, come late, or be nonsense."""
    return pick(KINDS)(pick, run)


def outcome(pick: Pick) -> c.TaskSuccess | c.TaskFailure:
    """What a step or the holder of a token may say."""
    good = c.TaskSuccess(pick((helpful, helpful, value))(pick))
    return pick((good, good, good, c.TaskFailure(pick(ERRORS), pick((None, f"{MARK}cause")))))


def complete(pick: Pick, run: Checked) -> c.Command:
    """The outcome of a step or a child that was called at some time, or of none."""
    scheduled = [r for r in run.events if isinstance(r.event, e.TaskScheduled)]
    if not scheduled:
        return c.CompleteTask(pick(("", "x")), "Nowhere", 1, 0, 1, outcome(pick))
    alive = {task.seq for task in tasks_of(run.state).values()}
    called = pick((scheduled[-1], pick(scheduled), pick([r for r in scheduled if r.seq in alive] or scheduled)))
    event = called.event
    if event.child is not None and pick((False, True)):
        return c.ChildStarted(event.scope, called.seq, value(pick))
    return c.CompleteTask(event.scope, event.state, called.seq, event.attempt, event.visit, outcome(pick))


def turn(pick: Pick, run: Checked) -> c.Command:
    """A step waits for a place, or has one; or none does."""
    scope, task = pick((*tasks_of(run.state).items(), ("", None)))
    seq = 2 if task is None else task.seq
    return pick((c.QueueTask(scope, seq, run.now - pick((0, 250))), c.StartTask(scope, seq)))


def fire(pick: Pick, run: Checked) -> c.Command:
    """Some timer, when it is due, or too early, or when the clock is wrong."""
    run.after(pick((0, 1, 5000, 5000, 30_000, 3_600_000, 10**8, -7_000)))
    return c.FireTimer(pick((0, 1, 99, *sorted(run.state.timers), *sorted(run.state.timers))))


def some_wait(pick: Pick, run: Checked) -> str:
    """The id of a wait that is open, or was, or never will be."""
    return pick((run.wait, wait_id(1), wait_id(999), *(wait for wait, _ in run.state.open_waits())))


def answer(pick: Pick, run: Checked) -> c.Command:
    """A resume by nothing, an id or a state, each perhaps a wrong one."""
    wait = pick((None, some_wait(pick, run)))
    states = [opened.state for _, opened in run.state.open_waits()]
    return c.Resume(
        pick((helpful, value))(pick), wait, pick((None, None, run.state.current, *states)), pick((False, True))
    )


def use_token(pick: Pick, run: Checked) -> c.Command:
    """What the holder of a token does with it."""
    wait = some_wait(pick, run)
    return pick((c.AnswerTask(wait, outcome(pick)), c.Beat(wait)))


RARE = (
    c.Terminate(f"{MARK}reason"),
    c.Quarantine("Resume", "KeyError"),
    c.Release(),
    c.RedriveExecution(f"{MARK}mended"),
    c.RedriveExecution(),
    c.Refuse("trigger", f"{MARK}taken"),
    c.Confirm(f"{MARK}answer"),
    c.Redispatch("x"),
)
PAUSES = (
    c.PauseExecution(f"{MARK}reason"),
    c.PauseExecution(f"{MARK}reason", "freeze"),
    c.UnpauseExecution(),
    c.UnpauseExecution(f"{MARK}reason"),
)


def pausing(pick: Pick, run: Checked) -> c.Command:
    """An operator pauses the run, or lets it go on, if it is paused or if it is not."""
    return pick(PAUSES[2:] if run.state.pause is not None and pick((True, True, False)) else PAUSES)


KINDS: tuple[Callable[[Pick, Checked], c.Command], ...] = (
    *(complete, complete, complete, complete, fire, fire, answer, answer, use_token, use_token),
    *(lambda pick, _run: c.Recover(pick((False, True))), lambda _pick, _run: c.Advance()),
    lambda pick, _run: pick(RARE),
    pausing,
    *(lambda _pick, run: admission(run) for _ in range(2)),
    turn,
    lambda pick, run: c.Redispatch(pick(sorted(run.state.frames) or [""])),
)


# --- commands that are due -------------------------------------------------------------------------------------------


def place(run: Checked, scope: str) -> tuple[Any, ...]:
    """Where a scope is, in words that a restart does not change: states and indexes, outermost first."""
    found: tuple[Any, ...] = ()
    while scope:
        fork, index = scope.split(".")
        found = ((run.state.forks[int(fork)].state, int(index)), *found)
        scope = run.state.forks[int(fork)].scope
    return found


Due: TypeAlias = tuple[tuple[Any, ...], str, int, int]
"""What can be done: in which place, what, in which visit and attempt of the state."""


def what_is_due(run: Checked) -> dict[Due, str]:
    """All that a driver and an outside world that do their duty may do now, with the scopes that it is about."""
    if run.state.queue is not None:
        return {((), "admit", 0, 0): ""}
    if (run.state.ready or run.state.actionable_forks) and not is_held(run):
        return {((), "go on", 0, 0): ""}
    found: dict[Due, str] = {}
    for scope in run.state.scopes():
        frame = run.state.frames[scope]
        phase = frame.phase
        visit = frame.visits.get(frame.state, 0)
        task = run.state.task(scope)
        kinds = []
        if task is not None:
            kinds.append("redispatch" if task.is_held else "complete" if task.queued is None else "call")
            if task.child is not None and not task.is_submitted:
                kinds.append("start")
        if task is None and getattr(phase, "wait", None) is not None:
            kinds += ["resume", "answer"]
        if getattr(phase, "timer", None) in run.state.timers:
            kinds.append("time")
        found.update({((*place(run, scope), frame.state), kind, visit, frame.attempt): scope for kind in kinds})
    return found


def do(run: Checked, due: Due, pick: Pick) -> c.Command:
    """The command that does it; `pick` chooses how it ends."""
    _, kind, visit, _ = due
    scope = what_is_due(run)[due]
    frame = run.state.frames[scope]
    phase: Any = frame.phase
    if kind == "time":
        run.now = max(run.now, run.state.timers[phase.timer].due_at)
    ways: dict[str, Callable[[], c.Command]] = {
        "go on": c.Advance,
        "admit": lambda: admission(run),
        "redispatch": lambda: c.Redispatch(scope),
        "call": lambda: c.StartTask(scope, phase.seq),
        "complete": lambda: c.CompleteTask(scope, frame.state, phase.seq, phase.attempt, visit, outcome(pick)),
        "start": lambda: c.ChildStarted(scope, phase.seq, helpful(pick)),
        "resume": lambda: c.Resume(helpful(pick), phase.wait),
        "answer": lambda: c.AnswerTask(phase.wait, outcome(pick)),
        "time": lambda: c.FireTimer(phase.timer),
    }
    return ways[kind]()
