"""The draft of a decision about an execution: events and effects, and the values that references point to."""

from __future__ import annotations

from typing import Any, TypeVar

from engine.core.decision import Decision, Facts
from engine.core.draft import Draft as BaseDraft
from engine.core.effects import Effect
from engine.core.evolve import evolve
from engine.core.refs import Ref, ref, resolve
from engine.core.state import State
from engine.language import State as Definition

D = TypeVar("D", bound=Definition)


class Draft(BaseDraft[State]):
    """What a decision says so far, with the facts that it rests on."""

    __slots__ = ("_values", "effects", "facts")

    def __init__(self, state: State, facts: Facts, caused_by: int | None = None) -> None:
        super().__init__(state, evolve, now=facts.now, actor=facts.actor, caused_by=caused_by)
        self.facts = facts
        self.effects: list[Effect] = []
        self._values: dict[Ref, Any] = {}  # one decision asks for the same few values again and again

    def definition(self, scope: str, kind: type[D]) -> D:
        """The state of the definition that a scope is in. Raises `TypeError` unless it is of this type."""
        name = self.state.frames[scope].state
        state = self.facts.machine.states[name]
        if not isinstance(state, kind):
            message = f"state {name!r} is no {kind.type}: the log belongs to another definition"
            raise TypeError(message)
        return state

    def value(self, reference: Ref) -> Any:
        """The value behind a reference, of this draft or of the stream. Raises `Missing` if it is not loaded."""
        if reference not in self._values:
            self._values[reference] = resolve(reference, self.payloads, self.facts.payloads)
        return self._values[reference]

    def refer(self, value: Any, known: Ref, member: str, payload: dict[str, Any]) -> Ref:
        """A reference to `value` for the next event, which has this payload.

        It is `known`, or a member of the payload, if the value is the very object that stands there; if not, it becomes
        a new member. (So of two equal values either may be referred to: that saves space, and means nothing.)
        """
        if value is self.value(known):
            return known
        for name, other in payload.items():
            if value is other:
                return ref(self.next_seq, name)
        payload[member] = value
        return ref(self.next_seq, member)

    def decision(self, answer: Any = None) -> Decision:
        """Everything said so far. Nothing is done any more for an execution that is over."""
        return Decision(tuple(self.steps), () if self.state.is_over else tuple(self.effects), answer)
