"""Scenarios as transcripts: what is sent to an execution, and every event, call and answer that follows.

A file tells its story first. Then comes the definition, then commands (`> …`), and under each what it led to: the
events with their data, as the log keeps them, and their payloads member by member; the steps that are called, the
timers that are set; what the sender is told; and where the execution then stands (`= …`).

    > trigger INPUT [as PROCESS_ID]       > STATE returns RESULT           > the process dies | stops | starts
    > resume PAYLOAD [at STATE | by WAIT] > STATE fails with ERROR: CAUSE  > 3 days pass
    > terminate "REASON"                  > the child starts | returns RESULT | fails with ERROR: CAUSE
    > the token's holder is alive | returns RESULT | fails with ERROR: CAUSE

Of a Map, STATE is that of the first item, and `STATE of item 2` that of the second one.
The steps are the outside world: they return when the transcript says so, whether or not anybody still waits for them.
A resume that is early is held for two seconds, as the HTTP interface does it. While the process is gone nothing fires.

PERDURE_REWRITE=1 writes what happens into the files instead of comparing: read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core.effects import (
    CancelTask,
    Continue,
    Effect,
    EndChild,
    HoldSuspect,
    RunTask,
    SetTimer,
    StartChild,
)
from perdure.engine.language import format_instant
from perdure.engine.log.codec import encode_json
from perdure.engine.testing import Scenario

FOLDER = Path(__file__).parent
HOLD_MS = 2000
UNITS = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


class Transcript:
    """A run, driven by the commands of a transcript; `lines` is what the last one led to."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.definition = definition
        self.lines: list[str] = []
        self.run: Scenario  # from the first command on, which is the trigger
        self.calls: dict[str, c.CompleteTask] = {}
        self.due: list[int] = []
        self.suspects: list[str] = []
        self.died = False
        self.held: list[tuple[c.Resume, int]] = []
        self.is_up = True

    def play(self, command: str) -> list[str]:
        """Send one command; give the lines that tell what it led to."""
        self.lines = []
        for pattern, act in COMMANDS:
            match = re.fullmatch(pattern, command)
            if match:
                act(self, *match.groups())
                break
        else:
            pytest.fail(f"no command: {command}", pytrace=False)
        return [*self.lines, *self._standing()]

    # --- commands ----------------------------------------------------------------------------------------------------

    def trigger(self, run_input: str, process_id: str | None) -> None:
        self.run = Scenario(self.definition, json.loads(run_input), process_id)
        self._tell(0)

    def resume(self, payload: str, state: str | None, wait: str | None) -> None:
        self._resume(c.Resume(json.loads(payload), wait, state, may_hold=True))

    def _resume(self, command: c.Resume) -> None:
        self.send(command)
        if self.run.rejection is not None and self.run.rejection.is_early:
            self.held.append((command, self.run.now + HOLD_MS))

    def terminate(self, reason: str) -> None:
        self.send(c.Terminate(json.loads(reason)))

    def returns(self, state: str, result: str) -> None:
        self._complete(state, c.TaskSuccess(json.loads(result)))

    def fails(self, state: str, error: str, cause: str) -> None:
        self._complete(state, c.TaskFailure(error, cause))

    def _complete(self, name: str, outcome: c.TaskSuccess | c.TaskFailure) -> None:
        called = self.calls[name]
        self.send(c.CompleteTask(called.scope, called.state, called.seq, called.attempt, called.visit, outcome))

    def token(self, does: str) -> None:
        """Let whoever has the latest task token use it."""
        events = [recorded.event for recorded in self.run.events]
        wait = [event.wait for event in events if isinstance(event, e.WaitOpened) and event.token_sha256][-1]
        outcome = given_back(does)
        self.send(c.Beat(wait) if outcome is None else c.AnswerTask(wait, outcome))

    def child(self, does: str) -> None:
        """Let the child that was started last begin or end."""
        started = self.calls["the child"]
        outcome = given_back(does)
        if outcome is None:
            self.send(c.ChildStarted(started.scope, started.seq, {"ExecutionArn": "the child"}))
        else:
            self._complete("the child", outcome)

    def dies(self, how: str) -> None:
        self.is_up = False
        self.died = how == "dies"
        self.calls = {name: call for name, call in self.calls.items() if name == "the child"}  # it lives elsewhere
        self.due.clear()

    def starts(self) -> None:
        self.is_up = True
        self.send(c.Recover(self.died))
        self._fire()
        while self.suspects:
            self.send(c.Redispatch(self.suspects.pop()))

    def passes(self, count: str, unit: str) -> None:
        self.run.after(int(count) * UNITS[unit])
        if self.is_up:
            self._fire()
            self._retry()

    # --- what follows ------------------------------------------------------------------------------------------------

    def send(self, command: c.Command) -> None:
        """Send a command, and do what it asks for, until it asks for nothing more."""
        before = self.run.state.seq
        self.run.when(command)
        self._tell(before)
        if self.run.state.seq > before:
            self._retry()

    def _fire(self) -> None:
        for due_at in sorted(self.due):
            if due_at <= self.run.now:
                self.due.remove(due_at)
                timers = self.run.state.timers.items()
                for name in sorted(name for name, timer in timers if timer.due_at == due_at):
                    self.send(c.FireTimer(name))

    def _retry(self) -> None:
        """Ask again for those that are held, as long as they are willing to wait."""
        held, self.held = self.held, []
        for command, deadline in held:
            may_hold = self.run.now < deadline
            self.lines.append(f"  the resume that was held {'is tried again' if may_hold else 'waits no longer'}")
            again = c.Resume(command.payload, command.wait, command.state, may_hold)
            before = self.run.state.seq
            self.run.when(again)
            self._tell(before)
            if self.run.rejection is not None and self.run.rejection.is_early:
                self.held.append((command, deadline))

    def _tell(self, before: int) -> None:
        run = self.run
        for recorded in run.events[before:]:
            data = shown(recorded.event)
            self.lines.append(f"  {recorded.seq:3} {type(recorded.event).__name__} {data}")
            self.lines.extend(f"        {name}: {shown(value)}" for name, value in (recorded.payload or {}).items())
        if run.rejection is not None and run.rejection.is_early:
            self.lines.append("  is held, for the wait may open yet")
        elif run.rejection is not None:
            self.lines.append(f"  refuses: {run.rejection.code}, {run.rejection.message}")
        elif run.answer is not None:
            self.lines.append(f"  answers {shown(run.answer)}")
        effects = run.effects  # a decision's, taken before others follow
        for effect in effects:
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, RunTask):
            self.lines.append(f"  calls {effect.resource} with {shown(effect.parameters)}")
            self.lines.append(f"        under the key {effect.idempotency_key}")
            self._note_call(effect.state, effect.scope, effect)
        elif isinstance(effect, StartChild):
            self.lines.append(f"  starts the execution {effect.child} with {shown(effect.parameters)}")
            self._note_call("the child", effect.parent.scope, effect.parent)
        elif isinstance(effect, EndChild):
            self.lines.append(f"  ends the execution {effect.child}")
        elif isinstance(effect, CancelTask):
            self.lines.append(f"  lets go of the step that event {effect.seq} called")
        elif isinstance(effect, SetTimer):
            self.lines.append(f"  sets a timer for {format_instant(effect.due_at)}")
            self.due.append(effect.due_at)
        elif isinstance(effect, HoldSuspect):
            self.lines.append(f"  holds {effect.state} back until it can run alone")
            self.suspects.append(effect.scope)
        elif isinstance(effect, Continue):
            self.send(c.Advance())

    def _note_call(self, name: str, scope: str, call: Any) -> None:
        """Remember what was called, by its state and, in an iteration, also by its item."""
        called = c.CompleteTask(scope, call.state, call.seq, call.attempt, call.visit, c.TaskSuccess(None))
        index = int(scope.partition(".")[2] or 0)
        self.calls[f"{name} of item {index + 1}"] = called
        if index == 0 or name not in self.calls:
            self.calls[name] = called

    def _standing(self) -> Iterator[str]:
        run = self.run
        state = run.state
        now = format_instant(run.now)
        if not self.is_up:
            yield f"  = {now}, nobody is there"
        elif not state.is_over:
            yield f"  = {now}, {state.status} in {state.current}"
        elif state.output is not None:
            yield f"  = {now}, {state.status} with {shown(run.value(state.output))}"
        else:
            error = state.error or run.value(state.error_ref)
            yield f"  = {now}, {state.status}" + (f" by {error}" if error else "")


def given_back(does: str) -> c.TaskSuccess | c.TaskFailure | None:
    """What `returns RESULT` and `fails with ERROR: CAUSE` mean; of anything else nothing."""
    if does.startswith("returns "):
        return c.TaskSuccess(json.loads(does.removeprefix("returns ")))
    failed = re.fullmatch(r"fails with (\S+): (.+)", does)
    return c.TaskFailure(failed[1], failed[2]) if failed else None


COMMANDS: list[tuple[str, Callable[..., None]]] = [
    (r"trigger (.+?)(?: as (\S+))?", Transcript.trigger),
    (r"resume (\{.*\})(?: at (.+)| by (\S+))?", Transcript.resume),
    (r'terminate (".*")', Transcript.terminate),
    (r"the process (dies|stops)", Transcript.dies),
    (r"the process starts", Transcript.starts),
    (r"(\d+) (\w+?)s? pass(?:es)?", Transcript.passes),
    (r"the token's holder (is alive|returns .+|fails with .+)", Transcript.token),
    (r"the child (starts|returns .+|fails with .+)", Transcript.child),
    (r"(.+) returns (.+)", Transcript.returns),
    (r"(.+) fails with (\S+): (.+)", Transcript.fails),
]


def shown(value: Any) -> str:
    """Write a value as the log does."""
    return encode_json(value).decode()


def played(text: str) -> str:
    """Play a transcript; give it as it should be."""
    head, *commands = re.split(r"^> ", text, flags=re.MULTILINE)
    story, definition = head.split("\ndefinition\n")
    assert len(story.strip().splitlines()) > 1, "a scenario begins with its story"
    transcript = Transcript(json.loads(definition))
    parts = [head]
    for block in commands:
        command = block.splitlines()[0]
        parts.append("\n".join([f"> {command}", *transcript.play(command)]) + "\n\n")
    return "".join(parts).rstrip() + "\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_scenario_goes_as_it_is_told(path):
    """Every event, call and answer is the one in the transcript."""
    text = path.read_text(encoding="utf-8")
    now = played(text)
    if os.environ.get("PERDURE_REWRITE"):
        path.write_text(now, encoding="utf-8")
    assert now.splitlines() == path.read_text(encoding="utf-8").splitlines()


def test_there_are_scenarios():
    """A folder that lost its files would prove nothing."""
    assert len(list(FOLDER.glob("*.txt"))) >= 8
