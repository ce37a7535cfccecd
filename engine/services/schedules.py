"""Schedules: made, changed, paused, shown and run at once; and the pause of a whole workflow.

What a caller gives is turned into instants here: the core is told the first slot, and what has come of a schedule that
is changed or goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from perdure.engine import calendar
from perdure.engine.core import ids
from perdure.engine.core import schedules as s
from perdure.engine.errors import Conflict, Invalid, NotFound
from perdure.engine.runtime.callers import Caller, IdempotencyClaim, IdempotencyKey
from perdure.engine.runtime.node import NodeParts
from perdure.engine.runtime.processing.requests import Accepted, ClaimConflict, Rejected
from perdure.engine.services.idempotency import Answered, Idempotency
from perdure.engine.services.schedule_inputs import check_template
from perdure.engine.services.schedule_views import ScheduleView, schedules_of, views_of
from perdure.engine.services.scheduled_runs import ScheduledRuns
from perdure.engine.services.sending import ask, refused, send
from perdure.engine.services.slots import asked_process_id, next_slot, timing_of
from perdure.engine.services.workflows import Workflows
from perdure.store.records import ScheduleRow

TRIES: Final = 5

UNSET: Final = msgspec.UNSET


class GivenSchedule(NamedTuple):
    """A schedule as a caller gives it; what is not said (`UNSET`) is the default, or stays as it is.

    `interval` is a number and a unit. Instants are in milliseconds; null: no start, or no end.
    """

    cron: str | msgspec.UnsetType = UNSET
    interval: tuple[int, str] | msgspec.UnsetType = UNSET
    timezone: str | msgspec.UnsetType = UNSET
    start_at: int | msgspec.UnsetType | None = UNSET
    end_at: int | msgspec.UnsetType | None = UNSET
    overlap: s.Overlap | msgspec.UnsetType = UNSET
    catch_up: s.CatchUp | msgspec.UnsetType = UNSET
    is_enabled: bool | msgspec.UnsetType = UNSET
    input: Any = UNSET


class RunAsked(NamedTuple):
    """A run that was asked for."""

    execution_id: str
    process_id: str


class Schedules:
    """The schedules of workflows, limited to what a caller may see."""

    def __init__(self, node: NodeParts, workflows: Workflows, runs: ScheduledRuns, memory: Idempotency) -> None:
        self._node = node
        self._store = node.store
        self._workflows = workflows
        self._runs = runs
        self._idempotency = memory

    # --- finding -------------------------------------------------------------------------------------------------

    async def rows(self, caller: Caller, workflow_id: bytes) -> list[ScheduleRow]:
        """The schedules of a workflow of the caller's workspace. Raises `NotFound`."""
        await self._workflows.workflow(caller, workflow_id)
        return await self.rows_of([workflow_id])

    async def rows_of(self, workflow_ids: Sequence[bytes]) -> list[ScheduleRow]:
        """The schedules of workflows that the caller may see."""
        return await schedules_of(self._store, workflow_ids)

    async def views(self, caller: Caller, workflow_id: bytes) -> list[ScheduleView]:
        """The schedules of a workflow, each with its last decisions and the next slots. Raises `NotFound`."""
        return await views_of(self._store, await self.rows(caller, workflow_id), self._node.clock.now())

    async def view(self, caller: Caller, workflow_id: bytes, schedule_id: bytes) -> ScheduleView:
        """One schedule. Raises `NotFound`."""
        row = _named(await self.rows(caller, workflow_id), schedule_id)
        return (await views_of(self._store, [row], self._node.clock.now()))[0]

    # --- what is given -------------------------------------------------------------------------------------------

    def spec(self, given: GivenSchedule, *, field: str = "", is_main: bool = False) -> s.ScheduleSpec:
        """A schedule that is to be made. Raises `Invalid`; `field` is where it stands in the request."""
        return self._spec(given, _Before(None, None), field, is_main=is_main)

    def _spec(self, given: GivenSchedule, before: _Before, field: str, *, is_main: bool) -> s.ScheduleSpec:
        row, now = before.row, self._node.clock.now()
        timing = _timing(given, before.timing, field, now)
        due_at = next_slot(timing, now)
        has_changed = before.timing != timing
        if due_at is None and has_changed:
            name = f"{field}{'interval' if timing.end_at is None else 'end_at'}"
            raise Invalid(f"{name}: the schedule has no slot from now on and up to its end", {"field": name})
        if given.input is not UNSET and given.input is not None:
            check_template(given.input, f"{field}input")
        return s.ScheduleSpec(
            timing=timing,
            due_at=due_at,
            overlap=_or(given.overlap, "allow" if row is None else row.overlap),
            catch_up=_or(given.catch_up, "latest" if row is None else row.catch_up),
            is_enabled=_or(given.is_enabled, row is None or row.status == "active"),
            is_main=is_main,
            input=_or(given.input, None),
        )

    async def edit_of(self, row: ScheduleRow, given: GivenSchedule | None, *, field: str = "") -> s.ScheduleEdit:
        """The change of a schedule to what is given, or its removal (null). Raises `Invalid`."""
        due = await self._runs.due_of([row], self._node.clock.now())
        spec = None
        if given is not None:
            before = _Before(row, timing_of(row.timing))
            spec = self._spec(given, before, field, is_main=bool(row.is_main))
        return s.ScheduleEdit(
            schedule=ids.text(row.schedule_id),
            revision=row.revision,
            spec=spec,
            keeps_input=given is not None and given.input is UNSET,
            due=due.get(row.schedule_id),
        )

    # --- changing ------------------------------------------------------------------------------------------------

    async def add(self, caller: Caller, workflow_id: bytes, given: GivenSchedule) -> ScheduleView:
        """Add a schedule to a workflow. Raises `Invalid`, `NotFound`, `Conflict` (archived, or too many)."""
        await self._workflows.workflow(caller, workflow_id)
        command = s.EditSchedules(added=(self.spec(given),))
        reply = await self._send(caller, workflow_id, lambda _: command, [])
        return await self.view(caller, workflow_id, ids.parse(reply.answer[0]))

    async def change(
        self, caller: Caller, workflow_id: bytes, schedule_id: bytes, given: GivenSchedule
    ) -> ScheduleView:
        """Change what is given of a schedule. Raises `Invalid`, `NotFound`, `Conflict`."""
        await self._edit(caller, workflow_id, schedule_id, given)
        return await self.view(caller, workflow_id, schedule_id)

    async def remove(self, caller: Caller, workflow_id: bytes, schedule_id: bytes) -> None:
        """Remove a schedule; the runs that it has decided on start all the same. Raises `NotFound`, `Conflict`."""
        await self._edit(caller, workflow_id, schedule_id, None)

    async def _edit(self, caller: Caller, workflow_id: bytes, schedule_id: bytes, given: GivenSchedule | None) -> None:
        for attempt in range(TRIES):
            row = _named(await self.rows(caller, workflow_id), schedule_id)
            command = s.EditSchedules(edited=(await self.edit_of(row, given),))
            reply = await ask(self._node, caller, "workflow", workflow_id, command)
            if not _is_stale(reply):
                _raise(reply)
                return
            del attempt
        raise Conflict("the schedule changes too fast; repeat the call")

    async def switch(
        self, caller: Caller, workflow_id: bytes, *, is_enabled: bool, schedule_id: bytes | None = None
    ) -> None:
        """Pause or play a schedule, or all of the workflow's. Raises `NotFound`, or `Conflict` if it has none.

        The slots of a pause are recorded as skipped, and not made up for.
        """
        rows = await self.rows(caller, workflow_id)
        if schedule_id is not None:
            rows = [_named(rows, schedule_id)]
        if not rows:
            raise Conflict(f"workflow {ids.text(workflow_id)} has no schedule")
        names = [row.schedule_id for row in rows]
        shown = tuple(map(ids.text, names))

        def command(due: tuple[s.Due, ...]) -> s.ScheduleCommand:
            return s.SwitchSchedules(shown, is_enabled, due)

        await self._send(caller, workflow_id, command, names if is_enabled else [])

    async def pause(self, caller: Caller, workflow_id: bytes) -> None:
        """Let no run of a workflow start until it is resumed. Raises `NotFound`, `Conflict` if it is archived."""
        await self._workflows.workflow(caller, workflow_id)
        await self._send(caller, workflow_id, lambda _: s.PauseWorkflow(), [])

    async def resume(self, caller: Caller, workflow_id: bytes) -> None:
        """Let runs of a workflow start again; likewise. What its schedules skipped is recorded, and not made up for."""
        names = [row.schedule_id for row in await self.rows(caller, workflow_id)]
        await self._send(caller, workflow_id, s.ResumeWorkflow, names)

    async def run_now(
        self, caller: Caller, workflow_id: bytes, schedule_id: bytes, *, idempotency: IdempotencyKey | None = None
    ) -> RunAsked:
        """Start a run of a schedule now; told once it has started.

        Raises `NotFound`, or `Conflict` if the workflow's runs cannot start, or to a caller in a sandbox.
        """
        await self._workflows.workflow(caller, workflow_id)
        if caller.live_workspace_id is not None:
            raise Conflict("the runs of schedules are live, and this key is a test key: trigger the workflow instead")
        command = s.RunNow(ids.text(schedule_id))

        async def attempt(claim: IdempotencyClaim | None) -> Answered | None:
            _named(await self.rows(caller, workflow_id), schedule_id)
            await self._workflows.runnable(caller, workflow_id, None)
            reply = await send(self._node, caller, "workflow", workflow_id, command, remembered=claim)
            return None if isinstance(reply, ClaimConflict) else Answered(reply.answer, workflow_id, reply.position)

        run = str((await self._idempotency.run_once(caller, idempotency, attempt)).answer)
        with suppress(TimeoutError):
            await self._runs.started(run)
        return RunAsked(run, asked_process_id(command.schedule, run))

    async def _send(
        self,
        caller: Caller,
        workflow_id: bytes,
        command: Callable[[tuple[s.Due, ...]], s.ScheduleCommand],
        names: Iterable[bytes],
    ) -> Accepted:
        """Send a command with what is due of these schedules, again if one of them moves on meanwhile."""
        wanted = list(names)
        for _ in range(TRIES):
            rows = (await self._store.schedules_by_id(wanted)).values() if wanted else ()
            due = await self._runs.due_of(rows, self._node.clock.now())
            reply = await ask(self._node, caller, "workflow", workflow_id, command(tuple(due.values())))
            if not _is_stale(reply):
                return _raise(reply)
        raise Conflict("the schedules of the workflow change too fast; repeat the call")


class _Before(NamedTuple):
    """A schedule before a change; nulls if it is made."""

    row: ScheduleRow | None
    timing: s.Timing | None


def _named(rows: Iterable[ScheduleRow], schedule_id: bytes) -> ScheduleRow:
    found = next((row for row in rows if row.schedule_id == schedule_id), None)
    if found is None:
        raise NotFound(f"the workflow has no schedule {ids.text(schedule_id)}")
    return found


def _or(value: Any, default: Any) -> Any:
    return default if value is UNSET else value


def _is_stale(reply: Accepted | Rejected | ClaimConflict) -> bool:
    return isinstance(reply, Rejected) and reply.rejection.code == "STALE"


def _raise(reply: Accepted | Rejected | ClaimConflict) -> Accepted:
    if isinstance(reply, Rejected):
        raise refused(reply.rejection, reply.position)
    if isinstance(reply, ClaimConflict):
        raise TypeError("a command about schedules claims nothing")
    return reply


def _timing(given: GivenSchedule, before: s.Timing | None, field: str, now: int) -> s.Timing:
    """The calendar that is given, or what a change leaves of the one before. Raises `Invalid`."""
    zone = _or(given.timezone, "UTC" if before is None else before.timezone)
    _said(f"{field}timezone", lambda: calendar.parse_zone(zone))
    start_at = _or(given.start_at, None if before is None else before.start_at)
    end_at = _or(given.end_at, None if before is None else before.end_at)
    if start_at is not None and end_at is not None and end_at < start_at:
        raise Invalid(
            f"{field}end_at: it is before start_at; it must not be earlier than that, or null", {"field": "end_at"}
        )
    if given.cron is not UNSET and given.interval is not UNSET:
        raise Invalid(f"{field}interval: a schedule has either cron_expression or interval", {"field": "interval"})
    is_interval = given.interval is not UNSET or (given.cron is UNSET and before is not None and before.cron is None)
    if is_interval:
        return _interval(given, before, (zone, start_at, end_at), field, now)
    cron = _or(given.cron, None if before is None else before.cron)
    if cron is None:
        raise Invalid(f"{field}cron_expression: it is needed, or interval", {"field": "cron_expression"})
    found = _said(f"{field}cron_expression", lambda: calendar.parse_cron(cron, zone, now=now))
    return s.Timing(cron=found.text, timezone=zone, start_at=start_at, end_at=end_at)


def _interval(
    given: GivenSchedule, before: s.Timing | None, around: tuple[str, int | None, int | None], field: str, now: int
) -> s.Timing:
    """An interval: from its start on, or from now if it has none; one that stays as it is goes on counting."""
    zone, start_at, end_at = around
    old = None if before is None or before.every is None else (before.every, before.unit)
    value, unit = _or(given.interval, old)
    anchor = now if before is None else before.anchor
    if before is None or old != (value, unit) or start_at != before.start_at:
        found = _said(f"{field}interval.", lambda: calendar.parse_interval(value, unit, now))
        anchor = now if start_at is None else start_at - found.length
    return s.Timing(timezone=zone, every=value, unit=unit, anchor=anchor, start_at=start_at, end_at=end_at)


def _said(field: str, parse: Callable[[], Any]) -> Any:
    """The result of parsing a field. Raises `Invalid`, which names it."""
    try:
        return parse()
    except calendar.BadCalendar as problem:
        name = field.removesuffix(".")
        message = f"{field}{problem}" if field.endswith(".") else f"{field}: {problem}"
        raise Invalid(message, {"field": name}) from None
