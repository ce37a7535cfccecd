"""A scenario that checks, at every command, what holds for every execution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from engine import projections
from engine.codec import Chain, encode_json, verify_stream
from engine.core import commands as c
from engine.core import events as e
from engine.core import ids
from engine.core.decision import Decision, Rejection
from engine.core.draft import Step
from engine.core.effects import Continue, Effect, HoldSuspect, RunTask, SetTimer
from engine.core.evolve import evolve
from engine.core.refs import resolve
from engine.core.state import InTask, InTimer, State, initial_state
from engine.core.transitions import TRANSITIONS
from engine.language import Machine
from engine.runtime.kinds import KINDS
from engine.testing import EXECUTION, Scenario
from store.records import NO_HASH, EventRow, ExecutionRow, StoredEvent, TimerRow, WaitRow

VOCABULARY = KINDS["execution"].vocabulary
STREAM = ids.parse(EXECUTION)
ORGANIZATION = ids.parse("01900000-0000-7000-8000-00000000000a")
AFTER_THE_END = frozenset({"ResultIgnored", "CommandRefused"})
REFERENCES = frozenset({"input", "output", "parameters", "result", "error_ref", "cause", "reason"})


def wait_id(number: int) -> str:
    """The id of the so-many-th wait of a checked scenario."""
    return f"01900000-0000-7000-8000-{number:012d}"


class Checked(Scenario):
    """A scenario that fails as soon as something that must always hold does not."""

    def __init__(self, definition: Machine | Mapping[str, Any], run_input: Any, process_id: str | None = None) -> None:
        self.rows: list[EventRow] = []
        self.folded: State = initial_state()
        self.stored: dict[int, Any] = {}
        self.tables = Tables()
        self.duties: list[Effect] = []
        super().__init__(definition, run_input, process_id)

    def wait_id(self, number: int) -> str:
        return wait_id(number)

    @property
    def wait(self) -> str:
        """The id of the latest wait."""
        return wait_id(self._waits)

    def duty(self, kind: type[Effect]) -> Any:
        """The latest work of this kind that was asked for."""
        return [effect for effect in self.duties if type(effect) is kind][-1]

    def _send(self, command: c.Command) -> None:
        before, payloads = msgspec.json.encode(self.state), encode_json(list(self._payloads.items()))
        drawn, refusals, state = self._waits, self._refusals, self.state
        super()._send(command)
        after_once = self._waits, self._refusals
        assert msgspec.json.encode(state) == before, "decide changed the state that it was given"
        seqs = [seq for seq in self._payloads if seq <= state.seq]
        assert encode_json([(seq, self._payloads[seq]) for seq in seqs]) == payloads, "decide changed a payload"
        self._check_deterministic(command, state, drawn, refusals)
        self._waits, self._refusals = after_once
        self._check_steps(state, self.events[state.seq :])
        self._check_duties()

    def _check_deterministic(self, command: c.Command, state: State, drawn: int, refusals: int) -> None:
        """Decided again it is the same; and another process, which has read the log, would have meant the same."""
        before, self.state, self._waits, self._refusals = self.state, state, drawn, refusals
        again = self._decide(command)
        assert [step.recorded for step in again.steps] == self.events[state.seq :]
        self.state = before
        live = self.state, self._payloads
        self.state, self._waits, self._refusals = self.folded, drawn, refusals
        self._payloads = self.stored
        again = self._decide(command)
        self.state, self._payloads = live
        assert meaning([step.recorded for step in again.steps], self.stored) == meaning(
            self.events[state.seq :], self._payloads
        )
        assert (again if isinstance(again, Rejection) else None) == self.rejection
        if isinstance(again, Decision):
            assert (again.answer, again.effects) == (self.answer, self.effects)

    def _check_steps(self, state: State, events: list[e.Recorded]) -> None:
        """What is written reads back as it was meant, folds to the live state, and moves as the table says."""
        chain = Chain(ORGANIZATION, STREAM, self.rows[-1].hash if self.rows else NO_HASH)
        rows = chain.write(events, salts)
        self.rows.extend(rows)
        steps = []
        for row, live in zip(rows, events, strict=True):
            recorded = VOCABULARY.read(row)
            assert recorded == live
            self.stored[recorded.seq] = recorded.payload
            before, self.folded = self.folded, evolve(self.folded, recorded)
            check_event(before, recorded, self.folded)
            steps.append(Step(recorded, self.folded))
            for reference in references(recorded.event):
                resolve(reference, self._payloads)
        assert self.folded == self.state
        self.tables.add(state, steps)

    def _check_duties(self) -> None:
        """Whatever an execution is in, it has asked for the work that will end it, or waits for an outside party."""
        self.duties.extend(self.effects)
        if self.state.is_over or self.state.is_quarantined:
            return
        tasks = {effect.seq for effect in self.duties if isinstance(effect, RunTask)}
        for scope, frame in self.state.frames.items():
            if frame.phase is None:
                assert Continue() in self.duties
            elif isinstance(frame.phase, InTimer):
                assert SetTimer(frame.phase.due_at) in self.duties
            elif isinstance(frame.phase, InTask) and frame.phase.is_held:
                assert HoldSuspect(scope, frame.state) in self.duties
            elif isinstance(frame.phase, InTask):
                assert frame.phase.seq in tasks

    def _check_fold(self) -> Checked:
        super()._check_fold()
        return self.check()

    def check(self) -> Checked:
        """What is checked of the whole log at once."""
        stored = [StoredEvent(position, row) for position, row in enumerate(self.rows, start=1)]
        assert verify_stream(STREAM, stored, (self.rows[-1].seq, self.rows[-1].hash)) is None
        resumed = Counter(r.event.wait for r in self.events if isinstance(r.event, e.WaitResumed))
        assert all(count == 1 for count in resumed.values())
        self._check_tables()
        return self

    def _check_tables(self) -> None:
        """The rows that were put event by event are those that a fold of the log gives."""
        state, steps = initial_state(), []
        for row in self.rows:
            recorded = VOCABULARY.read(row)
            state = evolve(state, recorded)
            steps.append(Step(recorded, state))
        rebuilt = Tables()
        rebuilt.add(initial_state(), steps)
        assert rebuilt == self.tables
        waits, timers = self.tables.waits.values(), self.tables.timers
        assert {ids.text(row.wait_id) for row in waits if row.outcome is None} == {
            wait.wait for _, _, wait in state.open_waits()
        }
        assert {(row.due_at, row.timer) for row in timers} == {(t.due_at, t.seq) for t in state.timers()}


class Tables:
    """The projections' rows of one execution."""

    def __init__(self) -> None:
        self.execution: ExecutionRow | None = None
        self.waits: dict[bytes, WaitRow] = {}
        self.timers: set[TimerRow] = set()

    def add(self, before: State, steps: list[Step]) -> None:
        found = projections.changes(STREAM, ORGANIZATION, before, steps)
        self.waits.update({row.wait_id: row for row in found.waits})
        self.timers.update(found.timers)
        self.timers.difference_update(found.timers_gone)
        if steps:
            self.execution = projections.execution_row(STREAM, ORGANIZATION, steps[-1].state)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # rows come and go


def check_event(before: State, recorded: e.Recorded, after: State) -> None:
    """One event: its place, its time, its cause, and the move that it makes."""
    name = type(recorded.event).__name__
    assert after.status in TRANSITIONS[before.status, name]
    assert recorded.recorded_at >= before.recorded_at
    assert recorded.caused_by is None or 1 <= recorded.caused_by < recorded.seq
    assert not before.is_over or name in AFTER_THE_END
    if after.is_over:
        assert after.status == before.status or not before.is_over
        assert not after.frames


def meaning(events: Iterable[e.Recorded], payloads: Mapping[int, Any]) -> list[Any]:
    """Events with values in place of references: which of two equal values is referred to has no meaning."""
    events = list(events)
    known = {**payloads, **{recorded.seq: recorded.payload for recorded in events}}
    return [
        (
            recorded._replace(event=type(recorded.event), payload=None),
            {
                name: resolve(value, known) if name in REFERENCES and value is not None else value
                for name, value in msgspec.structs.asdict(recorded.event).items()
            },
        )
        for recorded in events
    ]


def references(event: e.Event) -> Iterator[str]:
    """The references that an event carries."""
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name in REFERENCES and value is not None:
            yield value


def salts(count: int) -> bytes:
    """Bytes that are not random at all."""
    return bytes(range(256))[:16] * (count // 16)


def given(definition: Machine | Mapping[str, Any], run_input: Any = None, process_id: str | None = None) -> Checked:
    """An execution that was just triggered, without an input with `{}`; see `Checked`."""
    return Checked(definition, {} if run_input is None else run_input, process_id)
