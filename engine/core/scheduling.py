"""Decisions about schedules (`schedules`): what each slot comes to, and what is asked for because of it.

The order of a slot's decision: a pause first (it is skipped), then the time (one of an outage is caught up or missed),
then the run before it (`overlap`). Whatever starts a run is one event with the run's id; all else that comes to the
same, one after the other, is one event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from perdure.engine.core import effects as fx
from perdure.engine.core import schedules as s
from perdure.engine.core.decision import Decision, Rejection
from perdure.engine.core.dispatch import Dispatch
from perdure.engine.core.draft import Draft
from perdure.engine.core.refs import ref

W = TypeVar("W", bound=s.Scheduled)

STALE: Final = Rejection("STALE", "the schedule has moved on; look at it again")


class _Plan(NamedTuple):
    """What is to become of a slot, or of a `number` of them that come to the same; that after them is `due_at`."""

    outcome: s.SlotOutcome
    first: int
    last: int
    number: int
    due_at: int | None


class Turn(Generic[W]):
    """A decision about a workflow's schedules in the making: its draft, and what is to be done after it."""

    __slots__ = ("answer", "draft", "effects", "new_id", "now")

    def __init__(self, draft: Draft[W], now: int, new_id: Callable[[], str]) -> None:
        self.draft = draft
        self.now = now
        self.new_id = new_id
        self.effects: list[fx.Effect] = []
        self.answer: Any = None

    def decided(self) -> Decision:
        """The decision, with what is known of each schedule that will come due."""
        return Decision(tuple(self.draft.steps), tuple(self.effects), self.answer)

    def schedule(self, name: str) -> s.Schedule | None:
        """A schedule of the workflow, as it is by now; null if there is none, or it was removed."""
        found = self.draft.state.schedules.get(name)
        return None if found is None or found.is_removed else found

    def arm(self, name: str) -> None:
        """See to it that a schedule's next slot is looked for."""
        found = self.draft.state.schedules.get(name)
        if found is not None and found.next_at is not None and s.is_active(self.draft.state, found):
            self.effects.append(fx.SetSchedule(found.next_at))

    def start(self, name: str, run: str) -> None:
        """Ask for a run that the schedule has decided on."""
        found = self.draft.state.schedules[name]
        intent = found.starting[run]
        zone = found.timing.timezone
        self.effects.append(fx.StartScheduled(name, run, intent.at, zone, intent.input, intent.is_asked_for))


# --- slots -------------------------------------------------------------------------------------------------------


def decide_slots(turn: Turn[W], command: s.DecideSlots) -> Rejection | None:
    """Decide the slots of active schedules that have come; what has moved on keeps the others from nothing."""
    stale: list[str] = []
    for due in command.due:
        found = turn.schedule(due.schedule)
        if found is None or not s.is_active(turn.draft.state, found) or not _take(turn, due):
            stale.append(due.schedule)
        else:
            turn.arm(due.schedule)
    turn.answer = tuple(stale)
    return STALE if len(stale) == len(command.due) else None


def _take(turn: Turn[W], due: s.Due) -> bool:
    """Decide slots that have come; whether what is said of them agrees with the state."""
    found = turn.schedule(due.schedule)
    if found is None or (found.next_at, found.revision) != (due.first, due.revision) or due.slots[-1] > turn.now:
        return False
    if not s.is_active(turn.draft.state, found):
        _emit(turn, due.schedule, _Plan("skipped_paused", due.first, due.slots[-1], due.count, due.due_at))
        return True
    if found.overlap != "allow" and found.last_run not in {None, due.run}:
        return False
    held: _Plan | None = None  # slots that are skipped, one after the other, because of one run
    is_free = due.is_over
    for plan in _merged(_planned(found.catch_up, due, turn.now)):
        is_run = plan.outcome != "missed"
        if is_run and _is_in_the_way(turn, due.schedule, is_free=is_free):
            held = plan._replace(outcome="skipped_overlap") if held is None else _joined(held, plan)
            continue
        _skip(turn, due.schedule, held)
        held = None
        if is_run:
            _run(turn, due.schedule, plan, is_free=is_free)
            is_free = False
        else:
            _emit(turn, due.schedule, plan)
    _skip(turn, due.schedule, held)
    return True


def _joined(held: _Plan, plan: _Plan) -> _Plan:
    """Slots taken together with those behind them."""
    return held._replace(last=plan.last, number=held.number + plan.number, due_at=plan.due_at)


def _planned(catch_up: s.CatchUp, due: s.Due, now: int) -> Iterable[_Plan]:
    """What time makes of each slot, in their order."""
    slots = due.slots
    if due.older is not None:
        yield _Plan("missed", due.first, due.older, due.count - len(slots), slots[0])
    is_late = [now - slot >= s.LATE_MS for slot in slots]
    for index, slot in enumerate(slots):
        is_last = index == len(slots) - 1
        outcome: s.SlotOutcome = "fired"
        if is_late[index]:
            is_made_up_for = catch_up == "all" or (catch_up == "latest" and is_last)
            outcome = "caught_up" if is_made_up_for else "missed"
        yield _Plan(outcome, slot, slot, 1, due.due_at if is_last else slots[index + 1])


def _merged(plans: Iterable[_Plan]) -> Iterable[_Plan]:
    """The same, with neighbours that are missed taken together."""
    held: _Plan | None = None
    for plan in plans:
        if held is not None and plan.outcome == "missed":
            held = _joined(held, plan)
            continue
        if held is not None:
            yield held
        held = plan if plan.outcome == "missed" else None
        if held is None:
            yield plan
    if held is not None:
        yield held


def _is_in_the_way(turn: Turn[W], name: str, *, is_free: bool) -> bool:
    """Whether a slot has to be skipped, since the run before it goes on; `is_free`: that has ended."""
    found = turn.draft.state.schedules[name]
    if found.overlap == "allow" or found.last_run is None:
        return False
    return found.buffered is not None or (found.overlap == "skip" and not is_free)


def _run(turn: Turn[W], name: str, plan: _Plan, *, is_free: bool) -> None:
    """Start the run of a slot, or let the slot wait for the end of the run before it."""
    found = turn.draft.state.schedules[name]
    if found.overlap != "buffer_one" or found.last_run is None or is_free:
        _start(turn, name, plan)
        return
    turn.draft.emit(s.SlotBuffered(name, plan.first, plan.due_at))
    turn.effects.append(fx.FollowScheduled(name, plan.first, found.last_run))


def _start(turn: Turn[W], name: str, plan: _Plan) -> None:
    """Decide on a run."""
    run = turn.new_id()
    _emit(turn, name, plan, run=run, reference=turn.draft.state.schedules[name].input)
    turn.start(name, run)


def _skip(turn: Turn[W], name: str, held: _Plan | None) -> None:
    """Skip slots, if there are any, since the last run goes on."""
    if held is not None:
        _emit(turn, name, held, run=turn.draft.state.schedules[name].last_run)


def _emit(turn: Turn[W], name: str, plan: _Plan, run: str | None = None, reference: str | None = None) -> None:
    turn.draft.emit(s.SlotDecided(name, *plan, run, reference))


def take_buffered(turn: Turn[W], command: s.TakeBuffered) -> Rejection | None:
    """Decide the slot that waited for the end of a run."""
    found = turn.schedule(command.schedule)
    if found is None or found.buffered != command.slot:
        return STALE
    if found.last_run not in {None, command.run}:  # another has started meanwhile: its end is waited for
        turn.effects.append(fx.FollowScheduled(command.schedule, command.slot, found.last_run or ""))
    else:
        _let_go(turn, command.schedule, command.slot)
    return None


def _let_go(turn: Turn[W], name: str, slot: int) -> None:
    """Decide a buffered slot: nothing is in its way any more but a pause."""
    found = turn.draft.state.schedules[name]
    plan = _Plan("fired", slot, slot, 1, found.next_at)
    if s.is_active(turn.draft.state, found):
        _start(turn, name, plan)
    else:
        _emit(turn, name, plan._replace(outcome="skipped_paused"))


# --- runs --------------------------------------------------------------------------------------------------------


def run_now(turn: Turn[W], command: s.RunNow) -> Rejection | None:
    """Start a run beside the slots."""
    found = turn.schedule(command.schedule)
    if found is None:
        return _missing(command.schedule)
    if turn.draft.state.is_archived or turn.draft.state.is_paused:
        how = "archived" if turn.draft.state.is_archived else "paused"
        return Rejection("CONFLICT", f"the workflow is {how}: no run of it starts")
    run = turn.answer = turn.new_id()
    turn.draft.emit(s.ScheduleRunRequested(command.schedule, run, turn.now, found.input))
    turn.start(command.schedule, run)
    return None


def acknowledge(turn: Turn[W], command: s.AcknowledgeRuns) -> Rejection | None:
    """Note what became of runs; what is known already is a no-op."""
    for runs in command.runs:
        _acknowledge(turn, runs)
    return None


def _acknowledge(turn: Turn[W], runs: s.RunsOf) -> None:
    """Note what became of one schedule's runs."""
    name = runs.schedule
    found = turn.draft.state.schedules.get(name)
    if found is None:
        return
    started = tuple(run for run in runs.started if run in found.starting)
    if started:
        turn.draft.emit(s.ScheduledRunsStarted(name, started))
    for refusal in runs.refused:
        if refusal.run in found.starting:
            where = ref(turn.draft.next_seq, "reason")
            event = s.ScheduledRunRefused(name, refusal.run, refusal.code, where)
            turn.draft.emit(event, {"reason": refusal.reason})
    left = turn.draft.state.schedules.get(name)
    if left is not None and left.buffered is not None and left.last_run is None:
        _let_go(turn, name, left.buffered)  # what it waited for never began


def recover(turn: Turn[W], _: s.RecoverSchedules) -> Rejection | None:
    """Ask again for all that a crash may have cut off."""
    for name, found in turn.draft.state.schedules.items():
        for run in found.starting:
            turn.start(name, run)
        if found.buffered is not None and found.last_run is not None:
            turn.effects.append(fx.FollowScheduled(name, found.buffered, found.last_run))
    return None


# --- what there is -----------------------------------------------------------------------------------------------


def edit(turn: Turn[W], command: s.EditSchedules) -> Rejection | None:
    """Add, change and remove schedules."""
    if turn.draft.state.is_archived:
        return Rejection("CONFLICT", "the workflow is archived and can no longer be changed")
    for each in command.edited:
        refused = _edit(turn, each)
        if refused is not None:
            return refused
    turn.answer = tuple(add(turn, spec) for spec in command.added)
    count = sum(1 for each in turn.draft.state.schedules.values() if not each.is_removed)
    if count > s.SCHEDULES_MAX:
        return Rejection("CONFLICT", f"a workflow has {s.SCHEDULES_MAX} schedules at most")
    return None


def add(turn: Turn[W], spec: s.ScheduleSpec) -> str:
    """Add a schedule; gives its id."""
    name = turn.new_id()
    assert spec.due_at is not None  # noqa: S101 what is never due is refused before
    payload = None if spec.input is None else {"input": spec.input}
    event = s.ScheduleAdded(
        *(name, spec.timing, spec.due_at, spec.overlap, spec.catch_up, spec.is_enabled, spec.is_main),
        input=None if payload is None else ref(turn.draft.next_seq, "input"),
    )
    turn.draft.emit(event, payload)
    turn.arm(name)
    return name


def _edit(turn: Turn[W], change: s.ScheduleEdit) -> Rejection | None:
    """Change a schedule or remove it, once what has come before is decided."""
    name, spec = change.schedule, change.spec
    found = turn.schedule(name)
    if found is None:
        return _missing(name)
    if found.revision != change.revision:
        return STALE
    is_behind = found.next_at is not None and found.next_at <= turn.now
    if is_behind and (change.due is None or not _take(turn, change.due)):
        return STALE
    if spec is None:
        _remove(turn, name)
        return None
    found = turn.draft.state.schedules[name]
    reference, payload = found.input, None
    if not change.keeps_input:
        payload = None if spec.input is None else {"input": spec.input}
        reference = None if payload is None else ref(turn.draft.next_seq, "input")
    due_at = found.next_at if spec.timing == found.timing else spec.due_at
    is_other = (spec.timing, spec.overlap, spec.catch_up) != (found.timing, found.overlap, found.catch_up)
    if is_other or reference != found.input:
        event = s.ScheduleChanged(name, spec.timing, spec.overlap, spec.catch_up, due_at, reference)
        turn.draft.emit(event, payload)
    if spec.is_enabled != found.is_enabled:
        turn.draft.emit(s.SchedulePlayed(name) if spec.is_enabled else s.SchedulePaused(name))
    turn.arm(name)
    return None


def _remove(turn: Turn[W], name: str) -> None:
    """Remove a schedule; a slot that is buffered will not have its run."""
    found = turn.draft.state.schedules[name]
    if found.buffered is not None:
        slot = found.buffered
        plan = _Plan("skipped_overlap", slot, slot, 1, found.next_at)
        _emit(turn, name, plan, run=found.last_run)
    turn.draft.emit(s.ScheduleRemoved(name))


def switch(turn: Turn[W], command: s.SwitchSchedules) -> Rejection | None:
    """Pause or play some schedules; those that are so already stay as they are."""
    if turn.draft.state.is_archived:
        return Rejection("CONFLICT", "the workflow is archived: its schedules have ended")
    due = {each.schedule: each for each in command.due}
    for name in command.schedules:
        found = turn.schedule(name)
        if found is None:
            return _missing(name)
        if found.is_enabled == command.is_enabled:
            continue
        if command.is_enabled:
            if not _caught_up_with(turn, name, due):
                return STALE
            turn.draft.emit(s.SchedulePlayed(name))
            turn.arm(name)
        else:
            turn.draft.emit(s.SchedulePaused(name))
    return None


def _caught_up_with(turn: Turn[W], name: str, due: dict[str, s.Due]) -> bool:
    """Whether all slots of a paused schedule that have come are decided: those that were not are, as skipped."""
    found = turn.draft.state.schedules[name]
    if found.next_at is None or found.next_at > turn.now:
        return True
    return name in due and _take(turn, due[name])


def pause(turn: Turn[W], _: s.PauseWorkflow) -> Rejection | None:
    """Pause a workflow; of one that is paused it is a no-op."""
    if turn.draft.state.is_archived:
        return Rejection("CONFLICT", "the workflow is archived: no run of it starts anyway")
    if not turn.draft.state.is_paused:
        turn.draft.emit(s.WorkflowPaused())
    return None


def resume(turn: Turn[W], command: s.ResumeWorkflow) -> Rejection | None:
    """Resume a workflow, once what its schedules have skipped is decided."""
    if turn.draft.state.is_archived:
        return Rejection("CONFLICT", "the workflow is archived: no run of it starts any more")
    if not turn.draft.state.is_paused:
        return None
    due = {each.schedule: each for each in command.due}
    going_on = [name for name, each in turn.draft.state.schedules.items() if each.is_enabled and not each.is_removed]
    if not all(_caught_up_with(turn, name, due) for name in going_on):
        return STALE
    turn.draft.emit(s.WorkflowResumed())
    for name in going_on:
        turn.arm(name)
    return None


def _missing(name: str) -> Rejection:
    return Rejection("NOT_FOUND", f"the workflow has no schedule {name}")


DECIDE: Final = (
    Dispatch[Turn[Any], [], Rejection | None](__name__)
    .on(s.DecideSlots, decide_slots)
    .on(s.TakeBuffered, take_buffered)
    .on(s.RunNow, run_now)
    .on(s.AcknowledgeRuns, acknowledge)
    .on(s.RecoverSchedules, recover)
    .on(s.EditSchedules, edit)
    .on(s.SwitchSchedules, switch)
    .on(s.PauseWorkflow, pause)
    .on(s.ResumeWorkflow, resume)
    .over(s.ScheduleCommand)
)
