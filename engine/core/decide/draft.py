"""The draft of a decision about an execution: events, effects, and the values behind references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from perdure.engine.core.decision import Decision, Facts
from perdure.engine.core.draft import Draft
from perdure.engine.core.effects import AFTER_THE_END, CancelTask, Effect, EndChild, HoldSuspect, RunTask, StartChild
from perdure.engine.core.evolve import evolve
from perdure.engine.core.live import live_seqs
from perdure.engine.core.refs import PayloadMissing, Ref, below, ref, resolve, seq_of
from perdure.engine.core.state import TOP, InTask, State, fork_and_index
from perdure.engine.language import CompiledState, Left, Machine, MapState, ParallelState
from perdure.engine.language.errors import RunTooLarge, TooLarge
from perdure.engine.language.evaluate.sizes import measured, size_of

S = TypeVar("S", bound=CompiledState)


class ExecutionDraft(Draft[State]):
    """The events and effects of a decision so far, with the facts that it rests on."""

    __slots__ = ("_has_given_up", "_held", "_sizes", "_values", "effects", "facts")

    def __init__(self, state: State, facts: Facts, caused_by: int | None = None) -> None:
        super().__init__(state, evolve, facts.now, facts.actor, caused_by)
        self.facts = facts
        self.effects: list[Effect] = []
        self._has_given_up = False
        self._values: dict[Ref, Any] = {}  # one decision asks for the same few values again and again
        self._held = facts.payload_bytes  # at the most: what is live, and what was made here
        self._sizes: dict[int, int] = {}

    @property
    def clock(self) -> int:
        """The instant from which delays are counted: now, or when the clocks of a paused run were stopped."""
        pause = self.state.pause
        return self.facts.now if pause is None or pause.frozen_at is None else pause.frozen_at

    # --- definitions ---------------------------------------------------------------------------------------------

    def machine(self, scope: str) -> Machine:
        """The part of the definition that a scope runs: the whole, a branch, or what is done for each item."""
        if scope == TOP:
            return self.facts.machine
        # By way of the forks around it: a scope's name says which branch, and the fork's state which of the definition.
        seq, index = fork_and_index(scope)
        fork = self.state.forks[seq]
        state = self.machine(fork.scope).states[fork.state]
        if isinstance(state, ParallelState):
            return state.branches[index]
        if isinstance(state, MapState):
            return state.processor
        message = f"state {fork.state!r} has nothing below it: the log belongs to another definition"
        raise TypeError(message)

    def state_of(self, scope: str) -> CompiledState:
        """The state of the definition that a scope is in."""
        return self.machine(scope).states[self.state.frames[scope].state]

    def definition(self, scope: str, kind: type[S]) -> S:
        """The state of the definition that a scope is in, of this type. Raises `TypeError` if it is of another."""
        state = self.state_of(scope)
        if not isinstance(state, kind):
            message = f"state {state.name!r} is no {kind.type}: the log belongs to another definition"
            raise TypeError(message)
        return state

    # --- values --------------------------------------------------------------------------------------------------

    def value(self, reference: Ref) -> Any:
        """The value behind a reference, of this draft or of the stream. Raises `PayloadMissing` if it is not loaded."""
        values = self._values
        if reference not in values:
            values[reference] = resolve(reference, self.payloads, self.facts.payloads)
        return values[reference]

    def values(self, references: Iterable[Ref]) -> list[Any]:
        """The values behind references, in order. Raises `PayloadMissing` for all that are not loaded at once."""
        wanted = list(references)
        missing = self._missing(wanted)
        if missing:
            raise PayloadMissing(*sorted(missing))
        return [resolve(reference, self.payloads, self.facts.payloads) for reference in wanted]

    def values_within(self, scope: str, references: Iterable[Ref]) -> list[Any]:
        """The same for values that are to stand in one; `TooLarge` if those that are loaded are too large for that.

        The driver may load some at a time: of a gigabyte nobody needs more than the first of them.
        """
        wanted = list(references)
        missing = self._missing(wanted)
        if missing:
            left = self.facts.payload_max
            for value in self.values(reference for reference in wanted if seq_of(reference) not in missing):
                size = measured(value, left)
                if size is None:
                    raise TooLarge(self.state.frames[scope].state)
                left -= size
            raise PayloadMissing(*sorted(missing))
        return self.values(wanted)

    def _missing(self, references: Iterable[Ref]) -> set[int]:
        """Of what this draft has emitted itself the payloads are at hand; the rest is the driver's to load."""
        loaded = (self.payloads, self.facts.payloads)
        return {seq for seq in map(seq_of, references) if not any(seq in payloads for payloads in loaded)}

    def variable(self, scope: str, name: str) -> Ref | None:
        """The reference to a variable's value, of this scope or the nearest enclosing one that has it; null if none."""
        while True:
            found = self.state.frames[scope].variables.get(name)
            if found is not None or scope == TOP:
                return found
            scope = self.state.forks[fork_and_index(scope)[0]].scope

    def refer(self, value: Any, known: Ref, member: str, payload: dict[str, Any]) -> Ref:
        """A reference to `value` for the next event, which has this payload.

        It is `known`, or a member of the payload, if the value is the very object that stands there; if not, it becomes
        a new member. (So of two equal values either may be referred to: that saves space, and means nothing.)

        The reference is to `next_seq`: nothing else may be emitted before the event that has this payload.
        """
        if value is self.value(known):
            return known
        for name, other in payload.items():
            if value is other:
                member = name
                break
        payload[member] = value
        reference = ref(self.next_seq, member)
        self._values[reference] = value
        return reference

    def refer_all(self, values: Mapping[str, Any], known: Ref, payload: dict[str, Any]) -> dict[str, Ref]:
        """References to the values that variables are given by the next event."""
        if not values:
            return {}
        kept: dict[str, Any] = {}
        references = {}
        for name, value in values.items():
            if value is self.value(known):
                references[name] = known
            else:
                kept[name] = value
                references[name] = below(ref(self.next_seq, "assigned"), name)
        if kept:
            payload["assigned"] = kept
        return references

    def check_size(self, scope: str, *values: Any) -> None:
        """Raise `TooLarge` if one of these values, which the state of a scope has made, is larger than any may be.

        What the state was given is bounded already. It is `RunTooLarge` if the run would hold too much with them.
        """
        made = self._made(scope, values)
        if made:
            self._hold(scope, made, {})

    def _made(self, scope: str, values: Iterable[Any]) -> int:
        """How many bytes these values have that are not what the state of a scope was given. Raises `TooLarge`."""
        frame = self.state.frames[scope]
        given = self._values.get(frame.input)
        made = 0
        for value in values:
            if value is not given:
                size = measured(value, self.facts.payload_max)
                if size is None:
                    raise TooLarge(frame.state)
                made += size
        return made

    def _hold(self, scope: str, made: int, payload: Mapping[str, Any]) -> None:
        """Count what the next event brings: so much that was `made`, and what came from outside, in its `payload`.

        Raises `RunTooLarge`. What is not live any more is looked for only when the sum with that comes to the limit.
        """
        limit, seq = self.facts.run_payloads_max, self.next_seq
        size = made + sum(map(size_of, payload.values()))
        if self._held + size > limit:
            drafted, known = self._sizes, self.facts.payload_sizes
            self._held = sum(drafted.get(live) or known.get(live, 0) for live in live_seqs(self.state))
            if self._held + size > limit:
                raise RunTooLarge(self.state.frames[scope].state, limit)
        self._held += size
        self._sizes[seq] = self._sizes.get(seq, 0) + size

    def check_size_left(self, scope: str, left: Left, payload: Mapping[str, Any]) -> None:
        """Check what a state is left with, except values of the event's payload, which are checked already."""
        values = [] if any(left.output is each for each in payload.values()) else [left.output]
        if left.assigned:
            values.append(left.assigned)
        made = self._made(scope, values)
        if made or payload:
            self._hold(scope, made, payload)

    # --- the end -------------------------------------------------------------------------------------------------

    def give_up(self, scopes: Iterable[str]) -> None:
        """Cancel the steps and end the awaited children of scopes whose tasks end without them."""
        for scope in scopes:
            task = self.state.task(scope)
            if task is not None:
                self.give_up_task(task)

    def give_up_all(self) -> None:
        """Cancel all steps and end all awaited children, in the order in which they were called."""
        tasks = [frame.phase for frame in self.state.frames.values() if isinstance(frame.phase, InTask)]
        for task in sorted(tasks, key=lambda task: task.seq):
            self.give_up_task(task)

    def give_up_task(self, task: InTask) -> None:
        """Cancel a task's step, or end the child that it awaits."""
        self._has_given_up = True
        if task.child is None:
            self.effects.append(CancelTask(task.seq))
        elif task.is_awaited:
            self.effects.append(EndChild(task.child))

    def decision(self, answer: Any = None) -> Decision:
        """The decision. Effects whose reason is gone by now are left out."""
        # One decision may schedule a task and end it again (a branch fails while its sibling is being entered): calling
        # it then would do something outside that the log says is over. What is taken back (a step to be cancelled, a
        # child to be ended) stays, since it may have been begun by an earlier decision.
        effects: Iterable[Effect] = self.effects
        if effects and (self._has_given_up or self.state.is_over):
            effects = filter(self._is_due, self.effects)
        return Decision(tuple(self.steps), tuple(effects), answer)

    def _is_due(self, effect: Effect) -> bool:
        """Whether an effect still makes sense after all events of the decision.

        A later event may have undone its cause: a step that was to be called belongs to a branch that was cancelled.
        """
        if self.state.is_over:
            return isinstance(effect, AFTER_THE_END)
        if isinstance(effect, RunTask):
            return self._is_in_task(effect.scope, effect.seq)
        if isinstance(effect, StartChild):
            return self._is_in_task(effect.parent.scope, effect.parent.seq)
        return not isinstance(effect, HoldSuspect) or self.state.task(effect.scope) is not None

    def _is_in_task(self, scope: str, seq: int) -> bool:
        """Whether the scope is still in the very task that was scheduled at this seq."""
        task = self.state.task(scope)
        return task is not None and task.seq == seq
