"""`previousEventId` of AWS's execution history: the event that each event follows.

Each branch and each iteration is a chain of its own, which begins at the start of its Parallel or Map state, and goes
over into the chain around it when it ends.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from perdure.engine.core.state import TOP, fork_and_index, scope_of
from perdure.engine.history.timeline import TimelineEntry, VisitFork, What

_FROM_OUTSIDE: Final[frozenset[What]] = frozenset({"started", "timed_out", "aborted"})
"""Entries that follow no event. (Also the first one after the start follows 0, and not the start.)"""

_LEAVES: Final[frozenset[What]] = frozenset({"queued", "fork_succeeded", "iteration_aborted", "state_aborted"})
"""Entries that no event follows: the next one follows the event before them."""

_ENDS: Final[frozenset[What]] = frozenset({"iteration_succeeded", "iteration_failed", "branch_ended"})


class Chain:
    """The last event of each chain, by scope; the first of each fork, and those that made room in it, by its seq."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._heads: dict[int, int] = {}
        self._room: dict[int, deque[int]] = {}
        self._entries: dict[str, tuple[int, int]] = {}

    def before(self, entry: TimelineEntry) -> int:
        """The number of the event that the one of this entry follows."""
        if entry.what in _FROM_OUTSIDE:
            return 0
        if entry.what == "iteration_started":
            return self._made_room(entry)
        if entry.what in {"iteration_aborted", "state_aborted"}:
            return self._at(_around(entry.fork))
        before = self._at(_scope(entry))
        if entry.what == "evaluation_failed":
            entered, before_entry = self._entries.get(_scope(entry), (0, 0))
            return before_entry if entered == before else before  # AWS's: it is not chained to the entry
        return before

    def _made_room(self, entry: TimelineEntry) -> int:
        """An iteration for which there was no room at first follows the end of the one that made some."""
        fork = entry.fork
        if fork is None:
            return 0
        room = self._room.get(fork.seq)
        is_first = not fork.concurrency or entry.at < fork.concurrency
        return self._heads.get(fork.seq, 0) if is_first or not room else room.popleft()

    def _at(self, scope: str) -> int:
        last = self._last.get(scope)
        if last is not None:
            return last
        return 0 if scope == TOP else self._heads.get(fork_and_index(scope)[0], 0)

    def add(self, entry: TimelineEntry, number: int, before: int) -> None:
        """Note the number of an entry's event, which follows the event `before`; without one, that is `before`."""
        what, fork = entry.what, entry.fork
        if what in _FROM_OUTSIDE or what in _LEAVES:
            return
        if what in _ENDS and fork is not None:
            # AWS's: what follows a Map state's iteration follows its MapIterationSucceeded, but not its …Failed.
            self._last[_around(fork)] = number if what == "iteration_succeeded" else before
            self._room.setdefault(fork.seq, deque()).append(before)
            return
        scope = _scope(entry)
        self._last[scope] = number
        if what == "entered":
            self._entries[scope] = number, before
        elif what == "fork_started" and fork is not None:
            self._heads[fork.seq] = number


def _scope(entry: TimelineEntry) -> str:
    if entry.visit is not None:
        return entry.visit.scope
    return TOP if entry.fork is None else scope_of(entry.fork.seq, entry.at)


def _around(fork: VisitFork | None) -> str:
    """The scope of a fork's state; of one whose beginning is lost, none that there is."""
    return "0.0" if fork is None or fork.visit is None else fork.visit.scope
