"""The run that the package's docstring works through happens as it says."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import perdure.engine.core
from perdure.engine.core import commands as c
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import ITERATIONS_AHEAD, TRANSITIONS_MAX, Decision, Facts, Need, Outcome
from perdure.engine.core.state import State, initial_state
from perdure.engine.language import compile_machine
from perdure.engine.log.codec import encode_json

from .invariants import FRAME_MOVES, SEEN
from .test_properties import PROPERTIES
from .test_redrive import redriven_in_depth

DOC = perdure.engine.core.__doc__ or ""
SHOWN = ("start_at", "state", "type", "wait", "parameters", "input", "result", "output", "next", "scope")


def run() -> list[str]:
    """The block of the docstring, as it comes out."""
    found = re.search(r'^    \{"StartAt".*?\}\}\}\n\n', DOC, re.DOTALL | re.MULTILINE)
    assert found is not None
    machine = compile_machine(json.loads(found[0]))
    state, payloads, lines = initial_state(), dict[int, Any](), list[str]()

    def send(title: str, command: c.Command, loaded: tuple[int, ...]) -> None:
        nonlocal state
        known = {seq: payloads[seq] for seq in loaded}
        facts = Facts("E", machine, known, 1000, "key:K", lambda: "W", bytes)
        outcome = decide(state, command, facts)
        lines.append(title)
        lines.extend(told(outcome))
        for step in outcome.steps if isinstance(outcome, Decision) else ():
            payloads[step.recorded.seq] = step.recorded.payload
            state = step.state
        if isinstance(outcome, Decision):
            lines.append(f"    = {shown(state)}")

    send("Trigger", c.Trigger("S", "F", 1, "0" * 64, "REQUEST", {"amount": 120}), ())
    send("CompleteTask", c.CompleteTask("2.0", "Charge", 3, 0, 1, c.TaskSuccess({"charged": 120})), (1,))
    resume = c.Resume({"ok": True})
    send("Resume", resume, ())
    send("Resume, with the payload of 1", resume, (1,))
    send("Resume, with the payloads of 1 and 5", resume, (1, 5))
    return lines


def told(outcome: Outcome) -> list[str]:
    if isinstance(outcome, Need):
        return [f"    Need(seqs={outcome.seqs})"]
    assert isinstance(outcome, Decision)
    lines = []
    for each in (step.recorded for step in outcome.steps):
        data = json.loads(encode_json(each.event))
        members = " ".join(f"{name}={plain(data[name])}" for name in SHOWN if name in data)
        cause = "" if each.caused_by is None else f" <- {each.caused_by}"
        lines.append(f"    {each.seq} {type(each.event).__name__}{cause}: {members}")
        if each.payload:
            lines.append(f"        payload {encode_json(each.payload).decode()}")
    lines += [f"    answer {outcome.answer}"] if outcome.answer else []
    return [*lines, *(f"    effect {type(each).__name__} {each.scope}" for each in outcome.effects)]  # type: ignore[union-attr]


def plain(value: Any) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()


def shown(state: State) -> str:
    """The status, and each frame with its phase."""
    frames = [
        f'"{scope}" {state.frames[scope].state} {type(phase).__name__} {phase.seq}'
        for scope in state.scopes()
        if (phase := state.frames[scope].phase) is not None
    ]
    return ", ".join([state.status, *frames])


def test_the_run_of_the_docstring_is_what_the_core_gives() -> None:
    """Every event, cause, payload, effect, answer and frame that it shows."""
    expected = "".join(f"    {line}\n" for line in run())
    assert expected in DOC, expected


def test_the_numbers_of_the_docstring_are_those_of_the_code() -> None:
    """How far a decision goes, and how far ahead iterations begin."""
    assert f"After {TRANSITIONS_MAX} moves" in DOC
    assert f"unless {ITERATIONS_AHEAD} frames are ready" in DOC


RARE = {
    # An attempt fails before it has called, since the parameters of this one cannot be made.
    *(("InRetry", "StateFailed", place) for place in ("ready", "gone", "InRetry")),
    ("InTask", "TaskRedispatched", "InTask"),  # it takes three deaths
    ("InRetry", "RetryDue", "ready"),  # the run queues, or its time is over
}
RUNS_MAX = 2_000


def test_every_move_of_a_frame_happens() -> None:
    """That there are no others is checked at every event of every test; here the table is not too large, either."""
    redriven_in_depth()
    for seed in range(RUNS_MAX):
        for holds in PROPERTIES:
            holds(random.Random(seed).choice)
        if seed > RUNS_MAX // 20 and FRAME_MOVES - SEEN <= RARE:
            break
    assert FRAME_MOVES - SEEN <= RARE
