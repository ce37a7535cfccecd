"""Quotas of one run: its events, the bytes of its log, its transitions a second. One that is used up pauses the run.

It is paused, not ended: what it has done is kept, and somebody decides. An unpause grants once more what is used up, a
termination ends it, and where a quota was raised an unpause goes on under that. Clocks stand still: nothing is to time
out while nobody has looked.

They are asked before each move, and only if there is one: what waits is no runaway. So results, answers and time limits
are recorded beyond them, as in any paused run, and one decision may go beyond by what it brings itself.
"""

from __future__ import annotations

from typing import NamedTuple

from perdure.engine.core.decide.draft import ExecutionDraft
from perdure.engine.core.decision import Facts
from perdure.engine.core.effects import Withhold
from perdure.engine.core.pause_events import ExecutionPaused, Quota
from perdure.engine.core.pausing import WINDOW_MS
from perdure.engine.core.refs import ref
from perdure.engine.core.state import State


class UsedUp(NamedTuple):
    """A quota that a run has used up, and that in words."""

    quota: Quota
    reason: str


class QuotaGrant(NamedTuple):
    """Quotas of a run, lifted up to here; 0: as they are set."""

    events_until: int
    bytes_until: int


def stops(draft: ExecutionDraft) -> bool:
    """Whether a run enters nothing more now: nothing is ready, it is over or paused, or is paused here by a quota."""
    state = draft.state
    if state.pause is not None or not (state.ready or state.actionable_forks):  # nothing is ready after the end
        return True
    return pauses(draft)


def pauses(draft: ExecutionDraft) -> bool:
    """Pause a run that has used up a quota; whether it has."""
    used_up = _used_up(draft.state, draft.facts)
    if used_up is None or draft.state.pause is not None:
        return False
    stop(draft, used_up.quota, used_up.reason, draft.facts.now)
    return True


def stop(draft: ExecutionDraft, quota: Quota | None, reason: str, frozen_at: int | None) -> None:
    """Pause a run: what is called goes on, and what only waits to be called is not."""
    event = ExecutionPaused(ref(draft.next_seq, "reason"), frozen_at, quota)
    draft.emit(event, {"reason": reason}, actor=None if quota is None else draft.facts.engine)
    if draft.state.active > len(draft.state.ready):  # some step is called, or waits to be
        draft.effects.append(Withhold())


def granted(state: State, facts: Facts) -> QuotaGrant:
    """What an unpause grants: of each quota that is used up as much as it is, from where the run stands."""
    is_over_events = state.seq >= max(facts.events_max, state.events_until)
    is_over_bytes = state.log_bytes >= max(facts.log_bytes_max, state.bytes_until)
    return QuotaGrant(
        state.seq + facts.events_max if is_over_events else state.events_until,
        state.log_bytes + facts.log_bytes_max if is_over_bytes else state.bytes_until,
    )


def _used_up(state: State, facts: Facts) -> UsedUp | None:
    """The first quota that is used up."""
    names = facts.quota_names
    if state.seq >= facts.events_max and state.seq >= state.events_until:
        return UsedUp("events", f"the run has {state.seq:,} events: its quota ({names['events']}) is used up")
    if state.log_bytes >= facts.log_bytes_max and state.log_bytes >= state.bytes_until:
        size = f"{state.log_bytes:,} bytes of events"
        return UsedUp("bytes", f"the run has {size}: its quota ({names['bytes']}) is used up")
    if state.transitions >= facts.transitions_minute_max and state.recorded_at - state.transitions_since < WINDOW_MS:
        count = f"{state.transitions:,} transitions within a minute"
        return UsedUp("transitions", f"the run made {count}: its quota ({names['transitions']}) is used up")
    return None
