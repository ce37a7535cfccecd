"""The draft of a decision about an execution: events and effects, and the values that references point to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core.decision import Decision, Facts
from engine.core.draft import Draft as BaseDraft
from engine.core.effects import Effect
from engine.core.evolve import evolve
from engine.core.refs import Ref, ref, resolve, seq_of
from engine.core.state import State


class Draft(BaseDraft[State]):
    """What a decision says so far, with the facts that it rests on."""

    __slots__ = ("effects", "facts")

    def __init__(self, state: State, facts: Facts, caused_by: int | None = None) -> None:
        super().__init__(state, evolve, now=facts.now, actor=facts.actor, caused_by=caused_by)
        self.facts = facts
        self.effects: list[Effect] = []

    def value(self, reference: Ref) -> Any:
        """The value behind a reference, of this draft or of the stream. Raises `Missing` if it is not loaded."""
        in_draft = seq_of(reference) in self.payloads
        return resolve(reference, self.payloads if in_draft else self.facts.payloads)

    def refer(self, value: Any, known: Mapping[Ref, Any], member: str, payload: dict[str, Any]) -> Ref:
        """A reference to `value`: an earlier one if it is the very same object, else a new payload member."""
        for reference, other in known.items():
            if value is other:
                return reference
        payload[member] = value
        return ref(self.next_seq, member)

    def decision(self, answer: Any = None) -> Decision:
        """Everything said so far."""
        return Decision(tuple(self.steps), tuple(self.effects), answer)
