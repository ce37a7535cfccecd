"""Given, when, then: an execution driven by hand on the pure core.

given(definition, {"amount": 120}).when(succeeded("Charge", {"ok": True})).then("TaskSucceeded", "ExecutionSucceeded")
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self, TypeAlias

from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core.decide import decide
from perdure.engine.core.decision import TRANSITIONS_MAX, Decision, Facts, Need, Rejection
from perdure.engine.core.effects import Effect
from perdure.engine.core.events import Event, Recorded, TaskFailed, WaitExpired, WaitOpened, WaitResumed
from perdure.engine.core.evolve import replay
from perdure.engine.core.refs import Ref, resolve
from perdure.engine.core.state import TOP, State, initial_state
from perdure.engine.language import Machine, compile_machine
from perdure.engine.testing.clock import START

EXECUTION: Final = "01900000-0000-7000-8000-000000000001"
WORKFLOW: Final = "01900000-0000-7000-8000-000000000002"
WORKSPACE: Final = "01900000-0000-7000-8000-000000000003"

Later: TypeAlias = Callable[[State], c.Command]
"""A command that depends on the state that it will meet."""

Sent: TypeAlias = c.Command | Later


class Scenario:
    """An execution driven by hand, one command after another, on the pure core: no store, no tasks, no loop.

    After each command `answer` or `rejection` is what its sender is told, `effects` is what a driver would do now.
    Wait ids are `wait-1`, `wait-2` …; `actor` is who sends, and may be set. A decision passes `transitions_max` states.
    """

    transitions_max: int = TRANSITIONS_MAX

    def __init__(self, definition: Machine | Mapping[str, Any], run_input: Any, process_id: str | None) -> None:
        self.machine = definition if isinstance(definition, Machine) else compile_machine(definition)
        self.events: list[Recorded] = []
        self.state: State = initial_state()
        self.now = START
        self.actor = "key:test"
        self.effects: tuple[Effect, ...] = ()
        self.answer: Any = None
        self.rejection: Rejection | None = None
        self._payloads: dict[int, Any] = {}
        self._new: list[Recorded] = []
        self._waits = 0
        self._pieces = 0
        self._refusals = 0
        self._send(
            c.Trigger(
                workspace=WORKSPACE,
                workflow=WORKFLOW,
                workflow_version=1,
                definition_sha256="0" * 64,
                trigger="REQUEST",
                input=run_input,
                process_id=process_id,
            )
        )

    def after(self, ms: int) -> Self:
        """Let time pass; a negative number sets the clock back."""
        self.now += ms
        return self

    def when(self, *commands: Sent) -> Self:
        """Send commands, in order."""
        self._new = []
        for command in commands:
            self._send(command(self.state) if callable(command) else command)
        return self

    def _send(self, command: c.Command) -> None:
        outcome = self._decide(command)
        self.rejection = outcome if isinstance(outcome, Rejection) else None
        self.answer = outcome.answer if isinstance(outcome, Decision) else None
        self.effects = outcome.effects if isinstance(outcome, Decision) else ()
        if self.rejection is not None and self.rejection.is_counted:
            self._refusals = 0 if outcome.steps else self._refusals + 1
        for step in outcome.steps:
            self._new.append(step.recorded)
            self.events.append(step.recorded)
            self._payloads[step.recorded.seq] = step.recorded.payload
            self.state = step.state

    def _decide(self, command: c.Command) -> Decision | Rejection:
        """Decide as a driver does: what is needed is looked up, and all else is the same the second time."""
        drawn, pieces = self._waits, self._pieces
        facts = self._facts()
        outcome = decide(self.state, command, facts)
        if isinstance(outcome, Need):
            self._waits, self._pieces = drawn, pieces
            outcome = decide(self.state, command, replace(facts, known_waits=self._known_waits(outcome.waits)))
        if isinstance(outcome, Need):
            message = f"the decision needs {outcome}, and no scenario has it"
            raise LookupError(message)  # noqa: TRY004 no type is wrong
        return outcome

    def _facts(self) -> Facts:
        return Facts(
            execution=EXECUTION,
            machine=self.machine,
            payloads=self._payloads,
            now=self.now,
            actor=self.actor,
            new_id=self._draw,
            random_bytes=self._entropy,
            refusals=self._refusals,
            transitions_max=self.transitions_max,
        )

    def _draw(self) -> str:
        self._waits += 1
        return self.wait_id(self._waits)

    def _entropy(self, count: int) -> bytes:
        self._pieces += 1
        return hashlib.shake_256(self._pieces.to_bytes(8, "big")).digest(count)

    def wait_id(self, number: int) -> str:
        """The id of the n-th wait."""
        return f"wait-{number}"

    def _known_waits(self, waits: Iterable[str]) -> dict[str, str | None]:
        """The outcomes of waits, as a driver reads them from a table: null for one that is open, or not this run's."""
        events = [recorded.event for recorded in self.events]
        resumed = {event.wait for event in events if isinstance(event, WaitResumed)}
        opened = {event.wait for event in events if isinstance(event, WaitOpened)}
        expired = {event.wait for event in events if isinstance(event, WaitExpired)}
        failed = {event.wait for event in events if isinstance(event, TaskFailed) and event.wait is not None}
        over = {
            **dict.fromkeys(opened, "cancelled"),
            **dict.fromkeys(expired, "expired"),
            **dict.fromkeys(failed, "failed"),
            **dict.fromkeys(resumed, "resumed"),
        }
        return {wait: None if wait in self.state.waits else over.get(wait) for wait in waits}

    # --- what is expected ----------------------------------------------------------------------------------------

    def then(self, *expected: str | Event) -> Self:
        """The last `when` appended exactly these events: names, or whole events."""
        got = [
            recorded.event if isinstance(wanted, Event) else type(recorded.event).__name__
            for recorded, wanted in itertools.zip_longest(self._new, expected[: len(self._new)])
        ]
        _same(got, list(expected), "events")
        return self._check_fold()

    def then_nothing(self) -> Self:
        """The last `when` changed nothing."""
        return self.then()

    def then_answers(self, answer: Any) -> Self:
        """The last command was accepted with this answer."""
        _same(self.rejection, None, "rejection")
        _same(self.answer, answer, "answer")
        return self

    def then_refuses(self, code: str) -> Self:
        """The last command was refused with this code."""
        _same(self.rejection.code if self.rejection else None, code, "rejection")
        return self

    def then_is(self, status: str, *, output: Any = ..., error: Any = ...) -> Self:
        """The execution has this status, and this output or error if given."""
        _same(self.state.status, status, "status")
        if output is not ...:
            _same(self.value(self.state.output), output, "output")
        if error is not ...:
            _same(self.state.error or self.value(self.state.error_ref), error, "error")
        return self

    def then_effects(self, *expected: str | Effect) -> Self:
        """The last command has exactly these effects: names, or whole effects."""
        got = [
            type(effect).__name__ if isinstance(wanted, str) else effect
            for effect, wanted in itertools.zip_longest(self.effects, expected[: len(self.effects)])
        ]
        _same(got, list(expected), "effects")
        return self

    def value(self, reference: Ref | None) -> Any:
        """The value behind a reference; null for none."""
        return None if reference is None else resolve(reference, self._payloads)

    def _check_fold(self) -> Self:
        """Check what holds in every scenario: the log folds to the state."""
        _same(replay(self.events), self.state, "fold of the log")
        return self


def _same(got: Any, wanted: Any, what: str) -> None:
    if got != wanted:
        message = f"{what}: expected {wanted!r}, got {got!r}"
        raise AssertionError(message)


def given(
    definition: Machine | Mapping[str, Any],
    input: Any = None,  # noqa: A002 as a user says it
    *,
    process_id: str | None = None,
) -> Scenario:
    """An execution of this definition that was just triggered; without an input with `{}`."""
    return Scenario(definition, {} if input is None else input, process_id)


def succeeded(state: str, result: Any = None, *, scope: str | None = None) -> Later:
    """The step of the task in this state gives a result; of several iterations in it, that of the scope."""
    return lambda at: _complete(at, state, scope, c.TaskSuccess(result))


def failed(state: str, error: str | None, cause: str | None = None, *, scope: str | None = None) -> Later:
    """The step of the task in this state fails."""
    return lambda at: _complete(at, state, scope, c.TaskFailure(error, cause))


def _complete(at: State, state: str, scope: str | None, outcome: c.TaskSuccess | c.TaskFailure) -> c.CompleteTask:
    for each in at.scopes():
        task = at.task(each)
        if task is not None and at.frames[each].state == state and scope in (None, each):
            visit = at.frames[each].visits[state]
            return c.CompleteTask(each, state, task.seq, task.attempt, visit, outcome)
    message = f"no task is under way in state {state!r}"
    raise AssertionError(message)


def due(scope: str = TOP) -> Later:
    """The timer of a Wait state, a retry delay or a time limit comes due (let time pass first)."""
    return lambda at: c.FireTimer(at.frames[scope].phase.timer)  # type: ignore[union-attr,arg-type]  # a test knows its phase


def resumed(payload: Any = None, *, wait: str | None = None, state: str | None = None) -> c.Resume:
    """An outside party answers: to the wait of that id, or at that state, or the only one that is open."""
    return c.Resume({} if payload is None else payload, wait, state)


def terminated(reason: str = "no longer needed") -> c.Terminate:
    """A caller terminates the execution."""
    return c.Terminate(reason)


def redriven(reason: str | None = None) -> c.RedriveExecution:
    """A caller lets the execution go on that did not end well."""
    return c.RedriveExecution(reason)


def recovered(*, died: bool = True) -> c.Recover:
    """Recovery after the process died, uncleanly unless said otherwise."""
    return c.Recover(died)
