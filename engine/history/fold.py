"""The fold from events to a timeline: open visits and forks, and how a gap in the events is handled.

Everything is done once for each event, or once for each branch and iteration, so that a Map of many iterations costs
what its events cost.
"""

from __future__ import annotations

from typing import Final

from perdure.engine.core.events import Recorded
from perdure.engine.core.refs import Ref
from perdure.engine.core.state import TOP, fork_and_index, scope_of
from perdure.engine.history.timeline import Timeline, TimelineEntry, Visit, VisitFailure, VisitFork, What

_HAS_ABORTED: Final = frozenset({"Task", "Wait", "Parallel", "Map"})
"""The types of states that take time; of the others AWS has no word for being aborted."""


class Fallen:
    """Visits that failed or were cut short, by scope, and those that a redrive let go on and that have not yet."""

    def __init__(self) -> None:
        self.visits: dict[str, Visit] = {}
        self.again: dict[str, Visit] = {}

    def forget(self, visit: Visit) -> None:
        """Forget a visit that has ended well, with what it had begun."""
        self.visits.pop(visit.scope, None)
        visit.fallen_fork = None


class HistoryFold:
    """The state of the fold: by scope the open visit, and the input of the one that begins next.

    `forks` are those that are open, by seq. The events of a fork up to `copied_until` were recorded later than they
    happened.
    """

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.open: dict[str, Visit] = {}
        self.arrivals: dict[str, Ref] = {}
        self.forks: dict[int, VisitFork] = {}
        self.is_paused = False
        self.copied_until = 0
        self._starts: list[tuple[TimelineEntry, int]] = []
        self._seq = 0
        self._now = 0
        self._lost = range(0)
        self._fallen = Fallen()

    # --- the log --------------------------------------------------------------------------------------------------

    def take(self, recorded: Recorded) -> None:
        """Advance to an event. After a gap nothing is known of what was about to begin, nor what still runs."""
        if recorded.seq != self._seq + 1:
            self.start_all()
            self._lost = range(self._seq + 1, recorded.seq)
            self.arrivals.clear()
            for fork in self.forks.values():
                fork.live.clear()
            self.timeline.is_whole = False
        self._seq, self._now = recorded.seq, recorded.recorded_at
        if recorded.payload is not None:
            self.timeline.payloads[recorded.seq] = recorded.payload

    def note(self, what: What, visit: Visit | None = None, value: Ref | None = None) -> None:
        self.add(TimelineEntry(what, visit, value))

    def add(self, entry: TimelineEntry, at: int | None = None) -> None:
        self.timeline.entries.append(entry)
        self.timeline.times.append(self._now if at is None else at)

    def start_later(self, *entries: TimelineEntry) -> None:
        """Keep entries until all tasks that are scheduled in one batch have been added: AWS starts them after that."""
        self._starts += [(entry, self._now) for entry in entries]

    def start_all(self) -> None:
        """Add the entries that were kept, except those of visits that have ended since."""
        for entry, at in self._starts:
            if entry.visit is not None and entry.visit.exited_at is None:
                self.begin(entry, at)
        self._starts.clear()

    def begin(self, entry: TimelineEntry, at: int | None = None) -> None:
        """Add the entry that a step was called, or a following one; `at` is its instant, if not now."""
        if entry.visit is not None and entry.what == "begun":
            entry.visit.begun = len(self.timeline.entries)
        self.add(entry, at)

    def queue(self, visit: Visit) -> None:
        """Replace the entry that a step was called by one that it was queued."""
        if visit.begun is not None:
            self.timeline.entries[visit.begun] = TimelineEntry("queued", visit)
            visit.begun = None

    # --- visits ---------------------------------------------------------------------------------------------------

    def enter(self, recorded: Recorded, scope: str, state: str, kind: str) -> Visit:
        """Begin a visit: this event is the first one of it, unless a redrive has brought the visit back."""
        again = self._fallen.again.pop(scope, None)
        if again is not None and again.state == state:
            return self.inside(recorded, scope, state, kind)
        visit = self._begin(scope, state, kind)
        visit.entered_at, visit.input = recorded.recorded_at, self.arrivals.pop(scope, None)
        self.note("entered", visit, visit.input)
        return visit

    def inside(self, recorded: Recorded, scope: str, state: str, kind: str) -> Visit:
        """The open visit that an event belongs to.

        What it goes on with is the event that caused it. If that is lost, and nothing else was seen of the visit
        since, so is its beginning; the visit that is open here ended somewhere in the gap.
        """
        visit = self.open.get(scope)
        if visit is None or visit.state != state:
            return self._begin(scope, state, kind)
        if recorded.caused_by in self._lost and not self.is_sure(visit):
            return self._begin(scope, state, kind)
        visit.seen = self._seq
        self._see(scope)
        return visit

    def is_sure(self, visit: Visit) -> bool:
        """Whether an event of the visit was seen since the last gap."""
        return visit.seen >= self._lost.stop

    def _begin(self, scope: str, state: str, kind: str) -> Visit:
        visit = Visit(scope, state, kind, self._seq)
        visit.begun_seq, visit.within = self._seq, self._see(scope)
        if scope != TOP:
            visit.around = self.forks.get(fork_and_index(scope)[0])
        self.timeline.visits.append(visit)
        self.open[scope] = visit
        return visit

    def _see(self, scope: str) -> tuple[tuple[str, int], ...]:
        """Note that a branch or iteration runs, and so all around it; gives their names."""
        if scope == TOP:
            return ()
        seq, index = fork_and_index(scope)
        fork = self.forks.get(seq)
        if fork is None:
            return ()
        fork.live[index] = None
        here = (fork.state, index)
        if fork.visit is None:
            return (here,)
        if fork.visit.seen < self._seq:
            fork.visit.seen = self._seq
            self._see(fork.visit.scope)
        return (*fork.visit.within, here)

    def leave(self, recorded: Recorded, visit: Visit, output: Ref | None, following: str | None) -> None:
        """End a visit with its output, and the scope if no state follows; with no output, a failure is to end it."""
        visit.due_at = None
        if output is None:
            return
        visit.output, visit.following = output, following
        if visit.calls and visit.calls[-1].ended_at is None:
            visit.calls[-1].ended_at = recorded.recorded_at
        self._close(recorded, visit)
        self._fallen.forget(visit)
        self.note("exited", visit, output)
        if following is not None:
            self.arrivals[visit.scope] = output
        elif visit.scope != TOP:
            self._end_scope(visit.scope, "iteration_succeeded")

    def _close(self, recorded: Recorded, visit: Visit) -> None:
        visit.exited_at, visit.due_at = recorded.recorded_at, None
        self.open.pop(visit.scope, None)
        self._fallen.visits[visit.scope] = visit
        self._fallen.again.pop(visit.scope, None)  # of a fork that was brought back: its state was not entered since

    def _cancel(self, recorded: Recorded, visit: Visit) -> None:
        """End a visit with what is around it, unless it is its own failure that does so."""
        visit.is_cancelled = visit.failure is None
        if visit.calls and visit.calls[-1].ended_at is None:
            visit.calls[-1].ended_at = recorded.recorded_at
        self._close(recorded, visit)

    # --- branches and iterations ----------------------------------------------------------------------------------

    def begin_fork(self, fork: VisitFork, visit: Visit) -> None:
        """Begin the branches or iterations of a visit."""
        fork.visit, visit.fork = visit, fork
        self.forks[fork.seq] = fork
        self.add(TimelineEntry("fork_started", visit, fork=fork))

    def begin_scope(self, fork: VisitFork, index: int, value: Ref) -> None:
        """Begin a branch or an iteration, with its input."""
        fork.live[index] = None
        self.arrivals[scope_of(fork.seq, index)] = value

    def begin_iteration(self, scope: str, state: str, value: Ref) -> None:
        """Begin an iteration, with its input; also one of a Map state of whose beginning the log is lost."""
        seq, index = fork_and_index(scope)
        fork = self.forks.setdefault(seq, VisitFork(seq, state, "Map"))
        self.begin_scope(fork, index, value)
        self._see(scope)
        self.add(TimelineEntry("iteration_started", fork=fork, at=index))

    def end_fork(self, visit: Visit) -> None:
        """End the fork of a visit: nothing of it runs, though a redrive may bring some of it back."""
        if visit.fork is not None:
            self.forks.pop(visit.fork.seq, None)
            visit.fallen_fork, visit.fork = visit.fork, None

    def _end_scope(self, scope: str, what: What) -> VisitFork | None:
        """End a branch or an iteration; gives its fork, if that is known."""
        seq, index = fork_and_index(scope)
        fork = self.forks.get(seq)
        if fork is None:
            return None
        fork.live.pop(index, None)
        if what == "iteration_succeeded":
            fork.done.add(index)
        self.add(TimelineEntry(what if fork.type == "Map" else "branch_ended", fork=fork, at=index))
        return fork

    def fail_scope(self, recorded: Recorded, visit: Visit, timed_out_at: int | None) -> None:
        """End a branch or an iteration by the failure of the state that it was in.

        What runs beside it and came due at the same instant has timed out as well, as AWS tells it; our log has the
        first one only if the others are given up by it.
        """
        self._close(recorded, visit)
        fork = self.forks.get(fork_and_index(visit.scope)[0])
        if fork is None:
            return
        fork.failures += 1
        is_settled = fork.failures > fork.tolerated
        if timed_out_at is not None and is_settled and not self.is_paused:  # if it is, each tells of itself
            self._time_out_beside(fork, timed_out_at, visit)
        self._end_scope(visit.scope, "iteration_failed")
        if visit.type in ("Task", "Wait"):  # of a Parallel or Map state it was told that it failed
            self.add(TimelineEntry("state_aborted", visit, fork=fork))

    def _time_out_beside(self, fork: VisitFork, at: int, first: Visit) -> None:
        for index in fork.live:
            visit = self.open.get(scope_of(fork.seq, index))
            if visit is None or visit is first or not self.is_sure(visit):
                continue
            if visit.due_at is not None and visit.due_at <= at:
                self.add(TimelineEntry("task_timed_out", visit, failure=VisitFailure("States.Timeout")))

    def abort_below(self, recorded: Recorded, visit: Visit) -> None:
        """Abort what runs below a failed visit: each iteration, and then the state that it is in."""
        fork = visit.fork
        if fork is None:
            return
        self.end_fork(visit)
        for index in fork.live:
            if fork.type == "Map":
                self.add(TimelineEntry("iteration_aborted", fork=fork, at=index))
            scope = scope_of(fork.seq, index)
            inner = self.open.get(scope)
            if inner is not None and self.is_sure(inner):
                self._cancel(recorded, inner)
                if inner.type in _HAS_ABORTED:
                    self.add(TimelineEntry("state_aborted", inner, fork=fork))
                self.abort_below(recorded, inner)

    def stop(self, recorded: Recorded) -> None:
        """End the execution, and with it all visits that are known to be open."""
        self.start_all()
        for visit in list(self.open.values()):
            if self.is_sure(visit):
                self._cancel(recorded, visit)
                self.end_fork(visit)
        self.open.clear()

    # --- redrives -------------------------------------------------------------------------------------------------

    def bring_back(self, scope: str) -> None:
        """Go on with the visit of a scope that failed or was cut short; its state is not told to be entered again."""
        visit = self._fallen.visits.pop(scope, None)
        if visit is None:
            return
        if visit.type not in _HAS_ABORTED:  # it is told to be entered again
            if visit.input is not None:
                self.arrivals[scope] = visit.input
            return
        visit.exited_at = visit.failure = None
        visit.is_cancelled = False
        visit.seen = self._seq
        self.open[scope] = self._fallen.again[scope] = visit
        fork, visit.fallen_fork = visit.fallen_fork, None
        if fork is None:
            return
        visit.fork = self.forks[fork.seq] = fork
        fork.failures = 0
        fork.live.clear()
        for index in range(fork.count or 0):
            if fork.type == "Parallel" and index not in fork.done:
                fork.live[index] = None
                self.bring_back(scope_of(fork.seq, index))

    def bring_back_iteration(self, scope: str) -> None:
        """Go on with an iteration of a Map state."""
        seq, index = fork_and_index(scope)
        if seq in self.forks:
            self.forks[seq].live[index] = None
            self._see(scope)
        self.bring_back(scope)

    def enter_anew(self, scope: str, value: Ref | None) -> None:
        """Let all visits that are open begin anew, the one of a scope with another input if one is given."""
        for visit in list(self.open.values()):
            if visit.fallen_fork is not None and visit.fork is None:  # it was failing
                self._fallen.visits[visit.scope] = visit
                self.bring_back(visit.scope)
            elif visit.fork is not None and visit.fork.failures > visit.fork.tolerated and visit.scope in self.open:
                self._set_back(visit)
                self.bring_back(visit.scope)
            elif visit.fork is None and self.open.get(visit.scope) is visit:
                self._fallen.again[visit.scope] = visit
                visit.due_at = None
        if value is not None:
            self.arrivals[scope] = value
            given = self.open.get(scope) or self._fallen.visits.get(scope)
            if given is not None:
                given.input = value

    def _set_back(self, visit: Visit) -> None:
        """Set a visit whose fork has failed aside, with all that runs below: it is about to go on from the start."""
        fork = visit.fork
        self.open.pop(visit.scope, None)
        self._fallen.visits[visit.scope] = visit
        self.end_fork(visit)
        for index in [] if fork is None else fork.live:
            inner = self.open.get(scope_of(visit.fallen_fork.seq, index)) if visit.fallen_fork else None
            if inner is not None:
                self._set_back(inner)

    # --- the end --------------------------------------------------------------------------------------------------

    def finish(self) -> Timeline:
        """The timeline of all events that were taken."""
        self.start_all()
        self.timeline.current = [visit for visit in self.open.values() if self.is_sure(visit)]
        return self.timeline
