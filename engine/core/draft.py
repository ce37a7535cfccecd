"""The draft of a decision: the events so far, and the state after them. Shared by all stream types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from perdure.engine.core.events import Event, Recorded


class Folded(Protocol):
    """The fields that the state of every stream type has."""

    seq: int
    recorded_at: int


S = TypeVar("S", bound=Folded)


class DraftedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a decision, and the state after it."""

    recorded: Recorded
    state: Any


class Draft(Generic[S]):
    """Collects the events of a decision. Callers compute before they emit, so an error leaves nothing half done."""

    __slots__ = ("_actor", "_evolve", "at", "caused_by", "payloads", "state", "steps")

    def __init__(
        self,
        state: S,
        evolve: Callable[[S, Recorded], S],
        now: int,
        actor: str,
        caused_by: int | None = None,
    ) -> None:
        self.state = state
        self.at = max(now, state.recorded_at)
        """The instant (ms) of its events: it never falls within a stream, whatever the clock does.

        Nothing else is counted from it: a clock that was ahead for a moment must not put off a deadline.
        """
        self.caused_by = caused_by
        self.steps: list[DraftedEvent] = []
        self.payloads: dict[int, Any] = {}
        self._evolve = evolve
        self._actor = actor

    @property
    def next_seq(self) -> int:
        """The seq of the event that is emitted next, for references to its own payload."""
        return self.state.seq + 1

    def emit(self, event: Event, payload: Mapping[str, Any] | None = None, *, actor: str | None = None) -> None:
        """Append an event to the draft, and fold it into the draft's state. `actor`: not of who sent the command."""
        # Folded at once: the rest of the decision sees the state as it will be read back, and nothing else. Each event
        # is caused by the one before it, but for the first, and where the decision says otherwise.
        state = self.state
        seq = state.seq + 1
        recorded = Recorded(seq, self.at, actor or self._actor, self.caused_by, event, payload or None)
        self.state = state = self._evolve(state, recorded)
        self.steps.append(DraftedEvent(recorded, state))
        self.caused_by = seq
        if payload:
            self.payloads[seq] = payload
