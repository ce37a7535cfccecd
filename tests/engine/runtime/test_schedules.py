"""Schedules in a running engine: slots fire in virtual time, over outages, crashes and clocks that are set."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any, Final

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.schedules import ScheduledRunRefused, SlotDecided
from perdure.engine.errors import Conflict, Invalid, NotFound
from perdure.engine.runtime.callers import IdempotencyKey
from perdure.engine.services.documents import GivenDocument
from perdure.engine.services.schedule_views import ScheduleView
from perdure.engine.services.schedules import GivenSchedule
from perdure.engine.services.slots import utc
from perdure.store.records import ExecutionRow
from tests.engine.runtime.conftest import WAITING, Bench, rest

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
YEAR: Final = 365 * 24 * HOUR
ENDING: Final[dict[str, Any]] = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
EACH_MINUTE: Final = GivenSchedule(cron="* * * * *")


class Scheduled:
    """A workflow with a schedule, on an engine that may be started anew."""

    def __init__(self, bench: Bench, engine: Engine, workflow_id: bytes) -> None:
        self.bench, self.engine, self.workflow_id = bench, engine, workflow_id

    @classmethod
    async def made(
        cls, bench: Bench, *given: GivenSchedule, definition: Any = ENDING, now: int | None = None
    ) -> Scheduled:
        if now is None:  # at a whole minute, so that slots are so many minutes away
            bench.clock.push(MINUTE - bench.clock.now() % MINUTE)
        engine = await bench.start()
        workflow = await engine.create_workflow("scheduled", definition)
        found = cls(bench, engine, ids.parse(workflow.id))
        for each in given:
            await engine.services.schedules.add(await engine._caller(), found.workflow_id, each)
        return found

    async def push(self, ms: int, *, by: int = 0) -> None:
        """Let time pass, in steps of so many milliseconds."""
        for _ in range(ms // by if by else 1):
            await self.bench.push(self.engine, by or ms)
            await rest(self.engine)

    async def call(self, name: str, *args: Any, **more: Any) -> Any:
        """Ask the service of schedules for something about this workflow."""
        method = getattr(self.engine.services.schedules, name)
        answer = await method(await self.engine._caller(), self.workflow_id, *args, **more)
        await rest(self.engine)
        return answer

    async def views(self) -> list[ScheduleView]:
        found: list[ScheduleView] = await self.call("views")
        return found

    async def decided(self, index: int = 0) -> list[tuple[str, int]]:
        """The last decisions of a schedule, the latest last: their outcomes and how many slots each is about."""
        view = (await self.views())[index]
        events = [each.event for each in reversed(view.decisions)]
        return [(each.outcome, each.count) for each in events if isinstance(each, SlotDecided)]

    async def runs(self) -> list[ExecutionRow]:
        """The runs, the oldest first."""
        row = await self.bench.store.workflow(self.workflow_id)
        assert row is not None
        of = {"workflow_id": self.workflow_id, "workspace_id": row.workspace_id}
        return (await self.bench.store.execution_page(**of, limit=5000))[::-1]

    async def restart(self, away: int) -> float:
        """Nobody serves the store for a while; the seconds of work that the next start then takes, till it rests."""
        await self.bench.stop(self.engine)
        self.bench.clock.push(away)
        began = time.process_time()
        self.engine = await self.bench.start()
        for _ in range(40):
            await rest(self.engine)
        return time.process_time() - began


async def test_a_slot_starts_a_run(bench: Bench) -> None:
    """With trigger type, actor, process id and input of the slot; once each minute, and never early."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE)
    await scheduled.push(MINUTE - 1)
    assert await scheduled.runs() == []
    await scheduled.push(1)
    (run,) = await scheduled.runs()
    (view,) = await scheduled.views()
    assert (run.trigger_type, run.status, run.created_at) == ("SCHEDULE", "completed", bench.clock.now())
    assert run.execution_id == view.row.last_run_id
    shown = await scheduled.engine.services.queries.execution(await scheduled.engine._caller(), run.execution_id)
    name = ids.text(view.row.schedule_id)
    assert shown.process_id == f"schedule:{name}@2025-06-15T15:08:00Z"
    local = {"slot": "2025-06-15T15:08:00Z", "slot_local": "2025-06-15T15:08:00+00:00", "timezone": "UTC"}
    assert shown.input == {"schedule_id": name, **local}
    started = (await bench.store.events_at(run.execution_id, [1]))[0].row
    assert started.actor == f"schedule:{name}"
    await scheduled.push(3 * MINUTE, by=MINUTE)
    assert len(await scheduled.runs()) == 4
    assert (await scheduled.views())[0].row.starting == 0


async def test_the_input_is_made_from_a_template(bench: Bench) -> None:
    """Paths read the slot, in the schedule's own time; what cannot be made is refused when it is given."""
    template = {"at.$": "$.slot_local", "text.$": "States.Format('{} {}', $.slot, $$.Schedule.timezone)", "n": 1}
    berlin = EACH_MINUTE._replace(timezone="Europe/Berlin", input=template)
    scheduled = await Scheduled.made(bench, berlin)
    await scheduled.push(MINUTE)
    (run,) = await scheduled.runs()
    shown = await scheduled.engine.services.queries.execution(await scheduled.engine._caller(), run.execution_id)
    assert shown.input == {"at": "2025-06-15T17:08:00+02:00", "text": "2025-06-15T15:08:00Z Europe/Berlin", "n": 1}
    for wrong in ({"a.$": "$.nowhere"}, {"a.$": "slot"}, {"a.$": "States.Nothing()"}):
        with pytest.raises(Invalid, match="input: "):
            await scheduled.call("add", EACH_MINUTE._replace(input=wrong))


@pytest.mark.parametrize(
    ("catch_up", "decided", "runs"),
    [
        ("none", [("missed", 525_599), ("fired", 1)], 1),
        ("latest", [("missed", 525_599), ("fired", 1)], 1),
        ("all", [("caught_up", 1), ("fired", 1)], 1000),
    ],
)
async def test_a_year_without_anybody(bench: Bench, catch_up: Any, decided: Any, runs: int) -> None:
    """A minutely schedule is decided as its policy says when somebody is there again, in less than a second of work."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE._replace(catch_up=catch_up))
    seconds = await scheduled.restart(YEAR)
    assert (await scheduled.decided())[-2:] == decided
    assert len(await scheduled.runs()) == runs
    assert {run.status for run in await scheduled.runs()} == {"completed"}
    assert seconds < (1 if catch_up != "all" else 5), f"{seconds:.2f} s"  # a thousand runs are more than the restart


async def test_a_slot_that_was_missed_by_less_than_a_minute_is_on_time(bench: Bench) -> None:
    """A restart over a daily slot does not leave it out; a long one leaves it to `catch_up`."""
    daily = GivenSchedule(cron="0 16 * * *", catch_up="none")
    scheduled = await Scheduled.made(bench, daily)
    until = HOUR - bench.clock.now() % HOUR
    await scheduled.restart(until + 59_000)
    assert await scheduled.decided() == [("fired", 1)]
    await scheduled.restart(24 * HOUR + 1000)
    assert await scheduled.decided() == [("fired", 1), ("missed", 1)]
    await scheduled.call("change", (await scheduled.views())[0].row.schedule_id, GivenSchedule(catch_up="latest"))
    await scheduled.restart(72 * HOUR)
    assert (await scheduled.decided())[2:] == [("missed", 2), ("caught_up", 1)]


async def test_a_crash_between_the_decision_and_the_start(bench: Bench) -> None:
    """The run that was decided on is started by the next process, and once."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE)
    runner: Any = scheduled.engine.node.scheduled
    runner.start = lambda *_: None  # the process is gone before it is begun
    await scheduled.push(MINUTE)
    assert (await scheduled.views())[0].row.starting == 1
    await bench.crash(scheduled.engine)
    scheduled.engine = await bench.start()
    await scheduled.push(1)
    assert [run.execution_id for run in await scheduled.runs()] == [(await scheduled.views())[0].row.last_run_id]
    assert (await scheduled.views())[0].row.starting == 0


async def test_a_crash_before_the_start_is_acknowledged(bench: Bench) -> None:
    """The run is there; asked for again it is not started again."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE)
    runner: Any = scheduled.engine.node.scheduled
    told = runner._tell

    def tell(workflow_id: bytes, command: Any) -> Any:
        if type(command).__name__ == "AcknowledgeRuns":
            raise RuntimeError("gone")
        return told(workflow_id, command)

    runner._tell = tell
    await scheduled.push(MINUTE)
    assert [len(await scheduled.runs()), (await scheduled.views())[0].row.starting] == [1, 1]
    await bench.crash(scheduled.engine)
    scheduled.engine = await bench.start()
    await scheduled.push(1)
    assert [len(await scheduled.runs()), (await scheduled.views())[0].row.starting] == [1, 0]


async def test_runs_do_not_overlap(bench: Bench) -> None:
    """`skip` leaves slots out while a run goes on; `buffer_one` starts one when it ends, also after a crash."""
    skip, buffer_one = EACH_MINUTE._replace(overlap="skip"), EACH_MINUTE._replace(overlap="buffer_one")
    scheduled = await Scheduled.made(bench, skip, buffer_one, definition=WAITING)
    await scheduled.push(3 * MINUTE, by=MINUTE)
    assert await scheduled.decided(0) == [("fired", 1), ("skipped_overlap", 1), ("skipped_overlap", 1)]
    assert await scheduled.decided(1) == [("fired", 1), ("skipped_overlap", 1)]
    await bench.crash(scheduled.engine)
    scheduled.engine = await bench.start()
    for view in await scheduled.views():
        assert view.row.last_run_id is not None
        shown = await scheduled.engine.services.queries.execution(
            await scheduled.engine._caller(), view.row.last_run_id
        )
        await scheduled.engine.terminate(shown.process_id)
    await scheduled.push(1)
    assert (await scheduled.decided(1))[-1] == ("fired", 1)
    assert (await scheduled.views())[1].row.buffered_at is None
    assert (await scheduled.decided(0))[-1] == ("skipped_overlap", 1)
    await scheduled.push(MINUTE)
    assert (await scheduled.decided(0))[-1] == ("fired", 1)
    assert (await scheduled.decided(1))[-1] == ("fired", 1)  # its buffered one goes on


async def test_a_pause_is_recorded_and_not_made_up_for(bench: Bench) -> None:
    """Of the schedule, and of its workflow, which refuses all other triggers too."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE._replace(catch_up="all"))
    await scheduled.call("switch", is_enabled=False)
    await scheduled.push(5 * MINUTE + 1)
    assert await scheduled.decided() == []
    await scheduled.call("switch", is_enabled=True)
    assert await scheduled.decided() == [("skipped_paused", 5)]
    await scheduled.call("pause")
    workflow = ids.text(scheduled.workflow_id)
    with pytest.raises(Conflict, match="is paused: no run of it starts until it is resumed"):
        await scheduled.engine.trigger(workflow)
    with pytest.raises(Conflict, match="is paused"):
        await scheduled.call("run_now", (await scheduled.views())[0].row.schedule_id)
    await scheduled.push(3 * MINUTE)
    await scheduled.call("resume")
    assert await scheduled.decided() == [("skipped_paused", 5), ("skipped_paused", 3)]
    await scheduled.push(MINUTE)
    assert (await scheduled.decided())[-1] == ("fired", 1)
    await scheduled.engine.trigger(workflow)
    assert len(await scheduled.runs()) == 2


async def test_a_run_that_cannot_start_is_refused_with_its_reason(bench: Bench) -> None:
    """The slot is decided, and the schedule goes on; a draft has nothing to run."""
    scheduled = await Scheduled.made(bench)
    caller, services = await scheduled.engine._caller(), scheduled.engine.services
    spec = services.schedules.spec(EACH_MINUTE, is_main=True)
    saved = await services.workflows.create(caller, "draft", ENDING, is_published=False, schedules=[spec])
    scheduled.workflow_id = saved.workflow.workflow_id
    await scheduled.push(MINUTE)
    (view,) = await scheduled.views()
    refused = view.decisions[0]
    assert isinstance(refused.event, ScheduledRunRefused)
    assert (refused.event.code, "is a draft" in (refused.payload or {})["reason"]) == ("CONFLICT", True)
    assert (view.row.starting, view.row.last_run_id) == (0, None)


async def test_a_run_whose_input_does_not_fit_is_refused_with_its_reason(bench: Bench) -> None:
    """No run is started; the schedule goes on, and its input is looked at again at each slot."""
    scheduled = await Scheduled.made(bench)
    caller, services = await scheduled.engine._caller(), scheduled.engine.services
    fits = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    steps = [{"id": "nap", "type": "wait", "config": {"duration": 1}}]
    document = GivenDocument("steps", {"name": "fits", "steps": steps, "inputSchema": fits})
    specs = [services.schedules.spec(EACH_MINUTE._replace(input=given)) for given in ({"n": "many"}, {"n": 7})]
    saved = await services.workflows.create(caller, "fits", document, schedules=specs)
    scheduled.workflow_id = saved.workflow.workflow_id
    await scheduled.push(2 * MINUTE, by=MINUTE)
    refused = [
        (decision.event.code, "input/n" in (decision.payload or {})["reason"])
        for view in await scheduled.views()
        for decision in view.decisions
        if isinstance(decision.event, ScheduledRunRefused)
    ]
    assert refused == [("VALIDATION_ERROR", True)] * 2
    assert len(await scheduled.runs()) == 2
    assert [view.row.starting for view in await scheduled.views()] == [0, 0]


async def test_a_schedule_begins_and_ends(bench: Bench) -> None:
    """No slot before its start, none after its end; an interval counts from its start."""
    now = bench.clock.now() + MINUTE - bench.clock.now() % MINUTE
    given = GivenSchedule(interval=(2, "minutes"), start_at=now + 5 * MINUTE, end_at=now + 9 * MINUTE)
    scheduled = await Scheduled.made(bench, given)
    await scheduled.push(20 * MINUTE, by=MINUTE)
    assert [(run.created_at - now) // MINUTE for run in await scheduled.runs()] == [5, 7, 9]
    (view,) = await scheduled.views()
    assert (view.row.next_at, view.slots, view.in_words) == (None, [], "Every 2 minutes")
    for wrong, said in (
        (GivenSchedule(cron="0 0 30 2 *"), "cron_expression: '0 0 30 2 .' is never due"),
        (GivenSchedule(cron="* * *"), "cron_expression: it must have five fields"),
        (GivenSchedule(cron="* * * * *", timezone="Europe/Berln"), "timezone: there is no time zone"),
        (GivenSchedule(cron="* * * * *", end_at=now), "end_at: the schedule has no slot"),
        (GivenSchedule(cron="* * * * *", start_at=now + 1, end_at=now), "end_at: it is before start_at"),
        (GivenSchedule(cron="* * * * *", interval=(1, "days")), "a schedule has either"),
        (GivenSchedule(interval=(0, "days")), "interval.value: it must be an integer from 1"),
        (GivenSchedule(interval=(1, "months")), "interval.unit: it must be one of"),
        (GivenSchedule(), "cron_expression: it is needed"),
    ):
        with pytest.raises(Invalid, match=said):
            await scheduled.call("add", wrong)


@pytest.mark.parametrize(
    ("now", "fixed", "hourly"),
    [
        (1_761_433_200_000, ["00:30"], ["23:30", "00:30", "01:30", "02:30"]),  # clocks go back: 02:30 comes twice
        (1_774_742_400_000, ["01:00"], ["00:30", "01:30", "02:30", "03:30"]),  # clocks go ahead: 02:30 never comes
    ],
)
async def test_an_hour_that_comes_twice_or_not_at_all(
    bench: Bench, now: int, fixed: list[str], hourly: list[str]
) -> None:
    """A fixed hour fires once on both nights, and a schedule for all hours in every real one."""
    bench.clock.push(now - bench.clock.now())
    berlin = GivenSchedule(timezone="Europe/Berlin")
    both = (berlin._replace(cron="30 2 * * *"), berlin._replace(cron="30 * * * *"))
    scheduled = await Scheduled.made(bench, *both, now=now)
    await scheduled.push(4 * HOUR, by=30 * MINUTE)
    for view, expected in zip(await scheduled.views(), (fixed, hourly), strict=True):
        slots = [utc(e.event.first) for e in view.decisions[::-1] if isinstance(e.event, SlotDecided)]
        assert [slot[11:16] for slot in slots] == expected


@pytest.mark.parametrize("step", [-HOUR, HOUR, 10 * YEAR])
async def test_a_clock_that_is_set(bench: Bench, step: int) -> None:
    """Nothing fires while the step is not accepted, early or twice; once it is, slots left out are one decision."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE)
    await scheduled.push(MINUTE)
    bench.clock.set_wall(step)
    await rest(scheduled.engine)
    await scheduled.push(3 * MINUTE, by=MINUTE)
    assert len(await scheduled.runs()) == 1
    await scheduled.engine.services.clock.accept(await scheduled.engine._caller())
    for _ in range(5):
        await rest(scheduled.engine)
    if step > 0:
        (missed, late), (fired, _) = (await scheduled.decided())[-2:]
        assert (missed, fired) == ("missed", "fired")
        assert late == step // MINUTE + 2
        assert len(await scheduled.runs()) == 2
    else:
        await scheduled.push(57 * MINUTE, by=19 * MINUTE)  # until the clock is where it was, nothing is due
        assert len(await scheduled.runs()) == 1
        await scheduled.push(MINUTE)
        assert len(await scheduled.runs()) == 2
    slots = [e.event for e in (await scheduled.views())[0].decisions if isinstance(e.event, SlotDecided)]
    assert all(earlier.first > later.last for earlier, later in pairwise(slots))


async def test_a_long_stream_is_read_from_its_snapshot(bench: Bench) -> None:
    """A workflow that has fired for hours is not folded from its first event for each slot."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE._replace(input={"n": 1}))
    await scheduled.push(70 * MINUTE, by=MINUTE)
    snapshot = await bench.store.snapshot(scheduled.workflow_id)
    assert snapshot is not None
    assert snapshot.seq >= 100
    await scheduled.restart(30 * MINUTE)
    assert (await scheduled.decided())[-2:] == [("missed", 29), ("fired", 1)]
    workflow = await scheduled.engine.services.workflows.workflow(
        await scheduled.engine._caller(), scheduled.workflow_id
    )
    assert (workflow.name, workflow.modified_by) == ("scheduled", workflow.created_by)


async def test_a_schedule_is_changed_and_removed(bench: Bench) -> None:
    """What has come before is decided first; another calendar counts from now on."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE, GivenSchedule(interval=(1, "hours")))
    await scheduled.push(MINUTE)
    first, second = (view.row.schedule_id for view in await scheduled.views())
    await scheduled.call("change", first, GivenSchedule(interval=(10, "minutes"), is_enabled=False))
    view = (await scheduled.views())[0]
    assert (view.timing.cron, view.timing.every, view.row.status) == (None, 10, "paused")
    await scheduled.push(30 * MINUTE)
    await scheduled.call("change", first, GivenSchedule(is_enabled=True, overlap="skip"))
    assert (await scheduled.decided())[-1] == ("skipped_paused", 3)
    await scheduled.call("remove", first)
    assert [view.row.schedule_id for view in await scheduled.views()] == [second]
    assert await bench.store.schedule(first) is None
    await scheduled.push(30 * MINUTE, by=MINUTE)
    assert len(await scheduled.runs()) == 2


async def test_a_run_is_started_now(bench: Bench) -> None:
    """Beside the slots, also of a paused schedule; each time another one."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE._replace(is_enabled=False))
    (view,) = await scheduled.views()
    asked = [await scheduled.call("run_now", view.row.schedule_id) for _ in range(2)]
    runs = await scheduled.runs()
    assert [each.execution_id for each in asked] == [ids.text(run.execution_id) for run in runs]
    assert [run.trigger_type for run in runs] == ["SCHEDULE", "SCHEDULE"]
    name = ids.text(view.row.schedule_id)
    assert asked[0].process_id == f"schedule:{name}@{asked[0].execution_id}"


async def test_a_process_id_that_somebody_else_has(bench: Bench) -> None:
    """The slot's run is refused, and says so: one process id has one run."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE)
    (view,) = await scheduled.views()
    taken = f"schedule:{ids.text(view.row.schedule_id)}@2025-06-15T15:08:00Z"
    await scheduled.engine.trigger(ids.text(scheduled.workflow_id), process_id=taken)
    await scheduled.push(MINUTE)
    assert len(await scheduled.runs()) == 1
    (view,) = await scheduled.views()
    assert "belongs to another execution" in (view.decisions[0].payload or {})["reason"]


async def test_a_run_is_started_once_for_an_idempotency_key(bench: Bench) -> None:
    """However many ask at once, and once the schedule is gone; another key starts another run."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE._replace(is_enabled=False))
    (view,) = await scheduled.views()
    name = view.row.schedule_id

    async def ask(key: str) -> str:
        asked = await scheduled.call("run_now", name, idempotency=IdempotencyKey(key, ["POST", "run-now"]))
        return str(asked.execution_id)

    first = await asyncio.gather(*(ask("a") for _ in range(16)))
    other = await ask("b")
    assert {ids.text(run.execution_id) for run in await scheduled.runs()} == {*first, other}
    assert len({*first, other}) == 2
    await scheduled.call("remove", name)
    assert await ask("a") == first[0]
    with pytest.raises(NotFound):
        await ask("c")


async def test_the_schedules_of_an_archived_workflow_have_ended(bench: Bench) -> None:
    """No slot is shown that nothing will come of."""
    scheduled = await Scheduled.made(bench, EACH_MINUTE)
    await scheduled.engine.services.workflows.archive(await scheduled.engine._caller(), scheduled.workflow_id)
    (view,) = await scheduled.views()
    assert (view.row.due_at, view.row.next_at, view.slots) == (None, None, [])
