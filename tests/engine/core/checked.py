"""A scenario that checks, at every command, what holds for every execution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from perdure.engine.core import commands as c
from perdure.engine.core import events as e
from perdure.engine.core import ids
from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.draft import DraftedEvent
from perdure.engine.core.effects import (
    CancelTask,
    Continue,
    Effect,
    EndChild,
    FillPlaces,
    HoldSuspect,
    RunTask,
    SetTimer,
    StartChild,
    TellParent,
)
from perdure.engine.core.evolve import evolve
from perdure.engine.core.pausing import TRANSITION_EVENTS
from perdure.engine.core.refs import resolve
from perdure.engine.core.settings import VERSION_DEFAULTS, VersionSettings
from perdure.engine.core.snapshots import encode_state
from perdure.engine.core.state import InTask, State, initial_state
from perdure.engine.language import Machine
from perdure.engine.log import projections
from perdure.engine.log.codec import encode_json
from perdure.engine.log.verification import verify_stream
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.engine.testing import EXECUTION, Scenario
from perdure.store.records import NO_HASH, EventRow, ExecutionRow, QueueRow, SlotRow, StoredEvent, TimerRow, WaitRow
from tests.chained import chained
from tests.present import present

from .invariants import check_event, check_numbers, check_snapshot, meaning, references

VOCABULARY = STREAM_TYPES["execution"].vocabulary
STREAM = ids.parse(EXECUTION)
ORGANIZATION = ids.parse("01900000-0000-7000-8000-00000000000a")


def wait_id(number: int) -> str:
    """The id of the so-many-th wait, or child, of a checked scenario."""
    return f"01900000-0000-7000-8000-{number:012d}"


class Checked(Scenario):
    """A scenario that fails as soon as something that must always hold does not."""

    def __init__(
        self,
        definition: Machine | Mapping[str, Any],
        run_input: Any,
        process_id: str | None = None,
        parent: e.Parent | None = None,
        settings: VersionSettings = VERSION_DEFAULTS,
        limits: tuple[e.RunLimit, ...] = (),
    ) -> None:
        self.parent = parent
        self.settings, self.limits = settings, limits
        self.rows: list[EventRow] = []
        self.folded: State = initial_state()
        self.stored: dict[int, Any] = {}
        self.tables = Tables()
        self.duties: list[Effect] = []
        self.keys: dict[str, Any] = {}
        self.work: dict[Any, str] = {}
        self.live: list[State] = []
        self.is_to_go_on = False
        super().__init__(definition, run_input, process_id)

    def wait_id(self, number: int) -> str:
        return wait_id(number)

    def event(self, at: int) -> Any:
        """The event at a place; the test knows of which type it is."""
        return self.events[at].event

    @property
    def refused(self) -> Rejection:
        """How the last command was refused."""
        assert self.rejection is not None
        return self.rejection

    @property
    def calls(self) -> list[RunTask]:
        """The effects of the last command, all of which call a step."""
        calls = [effect for effect in self.effects if isinstance(effect, RunTask)]
        assert len(calls) == len(self.effects)
        return calls

    @property
    def wait(self) -> str:
        """The id of the latest wait."""
        return wait_id(self._waits)

    def duty(self, kind: type[Effect]) -> Any:
        """The latest work of this kind that was asked for."""
        return [effect for effect in self.duties if type(effect) is kind][-1]

    def _send(self, command: c.Command) -> None:
        if isinstance(command, c.Trigger) and not self.events:
            command = replace(command, parent=self.parent, settings=self.settings, limits=self.limits)
        before, payloads = encode_state(self.state), encode_json(list(self._payloads.items()))
        chance, state = self._chance(), self.state
        super()._send(command)
        assert encode_state(state) == before, "decide changed the state that it was given"
        seqs = [seq for seq in self._payloads if seq <= state.seq]
        assert encode_json([(seq, self._payloads[seq]) for seq in seqs]) == payloads, "decide changed a payload"
        self._check_deterministic(command, state, chance)
        self._check_steps(state, self.events[state.seq :])
        self._check_duties(command, state)

    def restart(self) -> None:
        """Go on as another process does, that has nothing but what is stored."""
        self.state, self._payloads = check_snapshot(self.folded), dict(self.stored)

    def _chance(self) -> tuple[int, int, int]:
        """What chance and the refusals have come to; see `_again`."""
        return self._waits, self._pieces, self._refusals

    def _again(self, command: c.Command, state: State, payloads: dict[int, Any], chance: Any) -> Decision | Rejection:
        """Decide once more, with this state, these payloads and this chance, and leave all as it was."""
        kept = self.state, self._payloads, self._chance()
        self.state, self._payloads = state, payloads
        self._waits, self._pieces, self._refusals = chance
        outcome = self._decide(command)
        self.state, self._payloads, (self._waits, self._pieces, self._refusals) = kept
        return outcome

    def _check_deterministic(self, command: c.Command, state: State, chance: Any) -> None:
        """Decided again it is the same; and another process, which has read a snapshot, would have meant the same."""
        events = self.events[state.seq :]
        again = self._again(command, state, self._payloads, chance)
        assert [step.recorded for step in again.steps] == events
        self._check_same(again)
        self.live = [step.state for step in again.steps]
        again = self._again(command, check_snapshot(self.folded), self.stored, chance)
        assert meaning([step.recorded for step in again.steps], self.stored) == meaning(events, self._payloads)
        self._check_same(again)

    def _check_same(self, again: Decision | Rejection) -> None:
        assert (again if isinstance(again, Rejection) else None) == self.rejection
        if isinstance(again, Decision):
            assert (again.answer, again.effects) == (self.answer, self.effects)

    def _check_steps(self, state: State, events: list[e.Recorded]) -> None:
        """What is written reads back as it was meant, folds to the live state, and moves as the table says."""
        rows = chained(ORGANIZATION, STREAM, events, salts, self.rows[-1].hash if self.rows else NO_HASH)
        self.rows.extend(rows)
        steps = []
        for row, live, live_state in zip(rows, events, self.live, strict=True):
            recorded = VOCABULARY.read(row)
            assert recorded == live
            self.stored[recorded.seq] = recorded.payload
            before, self.folded = self.folded, evolve(self.folded, recorded)
            assert self.folded == live_state
            check_event(before, recorded, self.folded)
            steps.append(DraftedEvent(recorded, self.folded))
            for reference in references(recorded.event):
                assert encode_json(resolve(reference, self.stored)) == encode_json(resolve(reference, self._payloads))
        assert encode_state(self.folded) == encode_state(self.state)
        check_snapshot(self.folded)
        self.tables.add(state, steps)

    # --- what was asked for ------------------------------------------------------------------------------------------

    def _check_duties(self, command: c.Command, before: State) -> None:
        """Whatever an execution is in, it has asked for the work that will end it, or waits for an outside party."""
        self.duties.extend(self.effects)
        if self.rejection is None:
            is_asked = Continue() in self.effects
            self.is_to_go_on = is_asked or (self.is_to_go_on and not isinstance(command, c.Advance))
        self._check_given_up(command, before)
        self._check_keys()
        if self.state.is_over or self.state.is_quarantined:
            return
        if self.state.pause is not None:
            if before.pause is not None and not isinstance(command, c.UnpauseExecution):
                self._check_paused(before)
            return
        is_held = self.state.queue is not None or self.state.is_overdue
        assert self.is_to_go_on or is_held or not (self.state.ready or self.state.actionable_forks)
        self._check_places(before)
        called = {effect.seq for effect in self.duties if isinstance(effect, RunTask)}
        called |= {effect.parent.seq for effect in self.duties if isinstance(effect, StartChild)}
        armed = {effect.due_at for effect in self.duties if isinstance(effect, SetTimer)}
        assert {timer.due_at for timer in self.state.timers.values()} <= armed
        for scope, task in tasks_of(self.state).items():
            if task.is_held:
                name = self.state.frames[scope].state
                assert HoldSuspect(scope, name, task.seq, task.deaths, task.deaths_watched) in self.duties
            else:
                assert task.seq in called

    def _check_paused(self, before: State) -> None:
        """In a paused run nothing is entered or called, whatever comes."""
        assert not any(isinstance(effect, RunTask | StartChild | HoldSuspect | Continue) for effect in self.effects)
        entering = (*TRANSITION_EVENTS - {e.StateFailed}, e.StateExited)
        assert not any(isinstance(recorded.event, entering) for recorded in self.events[before.seq :])

    def _check_places(self, before: State) -> None:
        """A run with limits has its places, or queues for them and has asked for a look, or only waits without any."""
        state = self.state
        if not state.limits:
            assert state.queue is None
            assert not state.places
            return
        assert not (state.queue and state.places)
        if state.queue is not None:
            assert FillPlaces(state.limit_keys[:1]) in self.duties
        elif not state.places:
            assert (state.status, state.counts) == ("waiting", "active")
        if before.places and not state.places:
            assert FillPlaces(state.limit_keys) in self.effects

    def _check_keys(self) -> None:
        """Calls in the same place and visit and with the same parameters have the same key, and no others have."""
        for effect in self.effects:
            if isinstance(effect, RunTask):
                text = msgspec.json.encode(effect.parameters, order="deterministic")
                work = (self._place(effect.scope), effect.state, effect.visit, text)
                assert self.work.setdefault(work, effect.idempotency_key) == effect.idempotency_key
                assert self.keys.setdefault(effect.idempotency_key, work) == work

    def _place(self, scope: str) -> tuple[Any, ...]:
        """The state, visit and index of each Parallel and Map state around a scope."""
        if not scope:
            return ()
        fork, index = scope.split(".")
        outer = self.state.forks[int(fork)].scope
        frame = self.state.frames[outer]
        return (*self._place(outer), frame.state, frame.visits[frame.state], index)

    def _check_given_up(self, command: c.Command, before: State) -> None:
        """A task that ends without its step or its child is given up; and a parent is told of the end, once."""
        left = {task.seq for task in tasks_of(self.state).values()}
        gone = [task for task in tasks_of(before).values() if task.seq not in left]
        for task in gone:
            is_awaited = task.child is not None and task.is_awaited
            given_up = EndChild(present(task.child)) if is_awaited else CancelTask(task.seq)
            if isinstance(command, c.FireTimer | c.Terminate) and (is_awaited or task.child is None):
                assert self.effects.count(given_up) == 1
        once = [repr(effect) for effect in self.effects if not isinstance(effect, SetTimer)]
        assert len(set(once)) == len(once), "something is asked for twice"
        if self.state.is_over:
            assert {type(effect) for effect in self.effects} <= {CancelTask, EndChild, TellParent, FillPlaces}
            parent = self.state.parent
            is_told = parent is not None and parent.is_awaited and not before.is_over
            assert [effect for effect in self.effects if isinstance(effect, TellParent)] == [
                TellParent(present(parent)) for _ in range(is_told)
            ]

    # --- the whole log -----------------------------------------------------------------------------------------------

    def _check_fold(self) -> Checked:
        super()._check_fold()
        return self.check()

    def check(self) -> Checked:
        """What is checked of the whole log at once."""
        stored = [StoredEvent(position, row) for position, row in enumerate(self.rows, start=1)]
        assert verify_stream(STREAM, stored, (self.rows[-1].seq, self.rows[-1].hash)) is None
        check_numbers(self.events)
        ended = Counter(r.event.wait for r in self.events if isinstance(r.event, e.WaitResumed | e.WaitExpired))
        assert all(count == 1 for count in ended.values())
        self._check_tables()
        return self

    def _check_tables(self) -> None:
        """The rows that were put event by event are those that a fold of the log gives."""
        state, steps = initial_state(), []
        for row in self.rows:
            recorded = VOCABULARY.read(row)
            state = evolve(state, recorded)
            steps.append(DraftedEvent(recorded, state))
        rebuilt = Tables()
        rebuilt.add(initial_state(), steps)
        assert vars(rebuilt) == vars(self.tables)
        waits, timers = self.tables.waits.values(), self.tables.timers
        still = {wait: (opened.state, opened.due_at) for wait, opened in state.waits.items()}
        assert {ids.text(row.wait_id): (row.state, row.due_at) for row in waits if row.outcome is None} == still
        outcomes = {ids.text(row.wait_id): row.outcome for row in waits}
        assert self._known_waits(outcomes) == outcomes
        assert {(row.due_at, row.timer) for row in timers} == {(t.due_at, name) for name, t in state.timers.items()}


class Tables:
    """The projections' rows of one execution."""

    def __init__(self) -> None:
        self.execution: ExecutionRow | None = None
        self.waits: dict[bytes, WaitRow] = {}
        self.timers: set[TimerRow] = set()
        self.line: QueueRow | None = None
        self.slots: set[SlotRow] = set()
        self._at_once: tuple[dict[bytes, WaitRow], set[TimerRow]] = {}, set()

    def add(self, before: State, steps: list[DraftedEvent]) -> None:
        found = projections.changes(STREAM, ORGANIZATION, before, steps)
        self.waits.update({row.wait_id: row for row in found.waits})
        assert self.timers.isdisjoint(found.timers)
        self.timers.update(found.timers)
        self.timers.difference_update(found.timers_gone)
        placed = projections.place_changes(STREAM, ORGANIZATION, before, steps)
        assert projections.has_changed(before, steps) or not any(placed) if steps else True
        for row in placed.deletes:
            assert row == self.line or row in self.slots or row in placed.claims or row in placed.puts
        self.slots = (self.slots | set(placed.claims)) - set(placed.deletes)
        lines = [row for row in (self.line, *placed.puts) if row is not None and row not in placed.deletes]
        self.line = lines[-1] if lines else None
        if steps:
            whose = (STREAM, ORGANIZATION, steps[-1].state)
            assert (self.line, self.slots) == (projections.queue_row(*whose), set(projections.slots_of(*whose)))
        self._add_at_once(projections.changes(STREAM, ORGANIZATION, before, steps, endings_from=1))
        if steps:
            self.execution = projections.execution_row(STREAM, ORGANIZATION, steps[-1].state)

    def _add_at_once(self, found: projections.Changes) -> None:
        """Endings tell the same as the rows in full, once a store has done what they say."""
        waits, timers = self._at_once
        waits.update({row.wait_id: row for row in found.waits})
        timers.update(found.timers)
        timers.difference_update(found.timers_gone)
        for seq, at in found.endings:
            over = [row for row in waits.values() if row.outcome is None and row.opened_seq <= seq]
            waits.update({r.wait_id: r._replace(outcome="cancelled", ended_seq=seq, ended_at=at) for r in over})
            timers.difference_update({timer for timer in timers if 1 < timer.timer <= seq})
        assert (waits, timers) == (self.waits, self.timers)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # rows come and go


def tasks_of(state: State) -> dict[str, InTask]:
    """The tasks that are under way, by scope."""
    return {scope: frame.phase for scope, frame in state.frames.items() if isinstance(frame.phase, InTask)}


def salts(count: int) -> bytes:
    """Bytes that are not random at all."""
    return bytes(range(256))[:16] * (count // 16)


def given(
    definition: Machine | Mapping[str, Any],
    run_input: Any = None,
    process_id: str | None = None,
    parent: e.Parent | None = None,
    resume: e.ResumeRule = "any",
    settings: VersionSettings = VERSION_DEFAULTS,
    limits: tuple[e.RunLimit, ...] = (),
) -> Checked:
    """An execution that was just triggered, without an input with `{}`; see `Checked`."""
    settings = replace(settings, resume=resume)
    return Checked(definition, {} if run_input is None else run_input, process_id, parent, settings, limits)
