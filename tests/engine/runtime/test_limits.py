"""Limits on a node: who goes on, in what order, and what a crash, a change of settings and an end mean."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.commands import Quarantine
from perdure.engine.core.events import ExecutionStarted
from perdure.engine.core.limit_events import ExecutionAdmitted
from perdure.engine.core.schedules import EditSchedules, RunNow
from perdure.engine.errors import Invalid
from perdure.engine.log.codec import EXECUTION
from perdure.engine.runtime.processing.requests import Accepted
from perdure.engine.services.access import SCOPES
from perdure.engine.services.principals import Principal
from perdure.engine.services.queries import PlaceInLine, QueuedFor
from perdure.engine.services.schedules import GivenSchedule
from perdure.engine.services.sending import send
from perdure.engine.steps import Registry

from .conftest import WAITING, Bench, eventually, rest

WORK: dict[str, Any] = {"StartAt": "Work", "States": {"Work": {"Type": "Task", "Resource": "work", "End": True}}}
ASK_THEN_WORK: dict[str, Any] = {
    "StartAt": "Ask",
    "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Work"}, **WORK["States"]},
}


class Works:
    """A step that is held until it is let go; what runs, and the most that ran at once, by key."""

    def __init__(self) -> None:
        self.steps = Registry()
        self.running: dict[Any, asyncio.Event] = {}
        self.keys: Counter[Any] = Counter()
        self.most: Counter[Any] = Counter()
        self.is_open = False
        self.steps.step("work")(self._work)

    async def _work(self, given: dict[str, Any]) -> Any:
        key = given.get("key")
        self.keys[key] += 1
        self.keys["all"] += 1
        for each in (key, "all"):
            self.most[each] = max(self.most[each], self.keys[each])
        self.running[given["n"]] = gate = asyncio.Event()
        try:
            if not self.is_open:
                await gate.wait()
        finally:
            del self.running[given["n"]]
            self.keys[key] -= 1
            self.keys["all"] -= 1
        return given

    async def let_go(self, engine: Engine, n: int) -> None:
        """Let a step end, and what that sets off come to rest."""
        self.running[n].set()
        await eventually(lambda: n not in self.running)
        await rests(engine)


async def rests(engine: Engine) -> None:
    """Wait until nothing is admitted any more, either."""
    for _ in range(4):
        await rest(engine)
        job = engine.node.admission._job
        if job is not None and not job.done():
            await asyncio.wait([job], timeout=1)


async def statuses(engine: Engine, ids_of: list[str]) -> list[str]:
    return [(await row_of(engine, each)).status for each in ids_of]


async def row_of(engine: Engine, execution_id: str) -> Any:
    row = await engine.store.execution(ids.parse(execution_id))
    assert row is not None
    return row


async def triggered(engine: Engine, workflow_id: str, count: int, **more: Any) -> list[str]:
    return [(await engine.trigger(workflow_id, {"n": n, **more})).id for n in range(count)]


async def cap(engine: Engine, limit: int | None) -> None:
    """Set the limit of the organization."""
    everything = Principal(await engine._caller(), frozenset(SCOPES))
    await engine.services.access.change_organization(everything, {"concurrencyLimit": limit})
    await rests(engine)


async def test_one_at_a_time_in_the_order_of_the_log(bench: Bench) -> None:
    """The next begins when the one before it has ended, and where each stands in line can be seen."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    runs = await triggered(engine, workflow.id, 3)
    await rests(engine)
    assert await statuses(engine, runs) == ["running", "pending", "pending"]
    queries = engine.services.queries
    shown = [await queries.queue(ids.parse(run)) for run in runs]
    assert shown == [None, *(PlaceInLine(number, [QueuedFor("workflow", 1)]) for number in (1, 2))]
    for n in range(3):
        assert list(works.running) == [n]
        await works.let_go(engine, n)
    assert await statuses(engine, runs) == ["completed"] * 3
    assert await queries.queue(ids.parse(runs[2])) is None


async def test_a_limit_by_key_counts_each_key_for_itself(bench: Bench) -> None:
    """And its value stands nowhere but in the input."""
    works = Works()
    engine = await bench.start(works.steps)
    settings = {"concurrencyLimit": 2, "concurrencyKey": "$.key"}
    workflow = await engine.create_workflow("w", WORK, settings=settings)
    for n, key in enumerate("aaabbc"):
        await engine.trigger(workflow.id, {"n": n, "key": f"customer-{key}"})
    await rests(engine)
    assert sorted(works.running) == [0, 1, 3, 4, 5]
    await works.let_go(engine, 3)
    assert sorted(works.running) == [0, 1, 4, 5]
    await works.let_go(engine, 0)
    assert sorted(works.running) == [1, 2, 4, 5]
    told = [stored.row for stored in bench.store._log if "customer" in stored.row.data]
    assert told == []
    for n in (1, 2, 4, 5):
        await works.let_go(engine, n)
    assert bench.store._slots.rows == {}


@pytest.mark.parametrize(
    ("key", "given", "says"),
    [
        ("$.key", {}, "gives no key: Invalid path '$.key' : No results"),
        ("$.key", {"key": None}, "gives null; a key is a text"),
        ("$.key", {"key": {"a": 1}}, "gives an object; a key is a text"),
        ("$.key", {"key": ""}, "gives ''; a key is a text"),
        ("{% $states.input.key %}", {}, "gives no key: "),
        ("{% $sum([1..10000000]) %}", {}, "gives no key: "),
    ],
)
async def test_an_input_without_a_key_is_refused(bench: Bench, key: str, given: Any, says: str) -> None:
    """By a trigger that starts nothing."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING, settings={"concurrencyLimit": 1, "concurrencyKey": key})
    with pytest.raises(Invalid) as refused:
        await engine.trigger(workflow.id, given)
    assert refused.value.message.startswith("input: settings.concurrencyKey of the workflow")
    assert says in refused.value.message
    assert bench.store._executions.rows == {}


async def test_keys_are_told_apart_as_json_tells_them(bench: Bench) -> None:
    """A number and a text are two; 1 and 1.0 are one."""
    engine = await bench.start()
    settings = {"concurrencyLimit": 1, "concurrencyKey": "{% $states.input.key %}"}
    workflow = await engine.create_workflow("w", WAITING, settings=settings)
    runs = [(await engine.trigger(workflow.id, {"key": key})).id for key in (1, "1", True, 1.0)]
    await rests(engine)
    assert await statuses(engine, runs) == ["waiting", "waiting", "waiting", "pending"]


@pytest.mark.parametrize("key", ["customer", "$$.Execution.Id", "$variable.a", "$.a[", "{% $states.input. %}"])
async def test_an_expression_that_cannot_be_a_key_is_refused(bench: Bench, key: str) -> None:
    """When it is set, and not when a run begins."""
    engine = await bench.start()
    with pytest.raises(Invalid, match=r"^settings\.concurrencyKey: "):
        await engine.create_workflow("w", WAITING, settings={"concurrencyLimit": 1, "concurrencyKey": key})


async def test_a_cap_of_the_organization_is_over_all_workflows(bench: Bench) -> None:
    """A run whose own line is free waits for it; a full line of another workflow does not hold it up."""
    works = Works()
    engine = await bench.start(works.steps)
    await cap(engine, 2)
    one = await engine.create_workflow("one", WORK, settings={"concurrencyLimit": 1})
    any_of = await engine.create_workflow("any", WORK)
    first = await triggered(engine, one.id, 3)
    others = [(await engine.trigger(any_of.id, {"n": n})).id for n in (10, 11)]
    await rests(engine)
    assert sorted(works.running) == [0, 10]
    assert await statuses(engine, [*first, *others]) == ["running", "pending", "pending", "running", "pending"]
    place = await engine.services.queries.queue(ids.parse(first[1]))
    assert place is not None
    assert place.limits == [QueuedFor("workflow", 1), QueuedFor("organization", 2)]
    await works.let_go(engine, 10)  # its place goes to the one that can use it: `one` is full
    assert sorted(works.running) == [0, 11]
    await works.let_go(engine, 0)
    assert sorted(works.running) == [1, 11]
    await works.let_go(engine, 1)
    await works.let_go(engine, 11)
    await works.let_go(engine, 2)
    assert bench.store._slots.rows == {}


async def test_nobody_is_passed_in_the_cap_by_who_came_later(bench: Bench) -> None:
    """Of those that only lack a place in it the one who has queued longest is next, whoever gave a place back."""
    works = Works()
    engine = await bench.start(works.steps)
    await cap(engine, 1)
    flows = [await engine.create_workflow(f"w{n}", WORK, settings={"concurrencyLimit": 1}) for n in range(3)]
    busy = await engine.trigger(flows[0].id, {"n": 0})
    await rests(engine)
    for n, flow in ((1, 1), (2, 0), (3, 2), (4, 0)):
        await engine.trigger(flows[flow].id, {"n": n})
    await rests(engine)
    assert (await row_of(engine, busy.id)).status == "running"
    for n in range(5):
        assert list(works.running) == [n]
        await works.let_go(engine, n)


async def test_a_limit_that_is_raised_holds_at_once_and_one_that_is_lowered_throws_nobody_out(bench: Bench) -> None:
    """Without either all that queue are let go."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})

    async def limit(wanted: int | None) -> None:
        caller, workflow_id = await engine._caller(), ids.parse(workflow.id)
        await engine.services.workflows.change(caller, workflow_id, settings={"concurrencyLimit": wanted})
        await rests(engine)

    await triggered(engine, workflow.id, 8)
    await limit(3)
    assert sorted(works.running) == [0, 1, 2]
    await limit(2)
    await works.let_go(engine, 0)
    assert sorted(works.running) == [1, 2]
    await works.let_go(engine, 1)
    assert sorted(works.running) == [2, 3]
    await limit(None)
    assert sorted(works.running) == [2, 3, 4, 5, 6, 7]
    for n in sorted(works.running):
        await works.let_go(engine, n)


async def test_a_commit_that_changes_no_setting_has_nobody_look_at_the_lines(bench: Bench) -> None:
    """Slots of schedules and pins of the log are recorded all the time; what is known of the limits stays known."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING, settings={"concurrencyLimit": 1})
    await engine.trigger(workflow.id)
    await rest(engine)
    changes = engine.node.admission._changes
    caller = await engine._caller()
    spec = engine.services.schedules.spec(GivenSchedule(interval=(1, "days")))
    added = await send(engine.node.parts, caller, "workflow", ids.parse(workflow.id), EditSchedules(added=(spec,)))
    assert isinstance(added, Accepted)
    assert engine.node.admission._changes == changes + 1
    await send(engine.node.parts, caller, "workflow", ids.parse(workflow.id), RunNow(added.answer[0]))
    await engine.node.pins.pin()
    await rest(engine)
    assert engine.node.admission._changes == changes + 1


async def test_a_pinned_older_version_has_the_limit_of_today(bench: Bench) -> None:
    """A limit is the workflow's, whichever version runs."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    caller = await engine._caller()
    await engine.services.workflows.change(caller, ids.parse(workflow.id), settings={"concurrencyLimit": 1})
    runs = [
        (await engine.services.runs.trigger(caller, ids.parse(workflow.id), {}, version=version)).execution_id
        for version in (1, 2)
    ]
    await rests(engine)
    assert await statuses(engine, [ids.text(run) for run in runs]) == ["waiting", "pending"]


async def test_runs_that_wait_let_others_have_their_place_if_the_settings_say_so(bench: Bench) -> None:
    """They queue again when they are answered, at the end of the line."""
    works = Works()
    engine = await bench.start(works.steps)
    settings = {"concurrencyLimit": 1, "concurrencyCounts": "active"}
    workflow = await engine.create_workflow("w", ASK_THEN_WORK, settings=settings)
    runs = await triggered(engine, workflow.id, 3)
    await rests(engine)
    assert await statuses(engine, runs) == ["waiting"] * 3
    for n in (2, 0, 1):
        await engine.resume(runs[n], {"n": n})
    await rests(engine)
    assert await statuses(engine, runs) == ["pending", "pending", "running"]
    for n in (2, 0, 1):
        assert list(works.running) == [n]
        await works.let_go(engine, n)
    assert await statuses(engine, runs) == ["completed"] * 3


async def test_a_queued_run_is_terminated_and_the_next_one_moves_up(bench: Bench) -> None:
    """It is in no line any more."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    runs = await triggered(engine, workflow.id, 3)
    await rests(engine)
    await engine.terminate(runs[1])
    await works.let_go(engine, 0)
    assert list(works.running) == [2]
    await works.let_go(engine, 2)


async def test_a_run_that_is_set_aside_does_not_hold_up_its_line(bench: Bench) -> None:
    """It is passed over; released, it is the first again."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    runs = await triggered(engine, workflow.id, 4)
    await rests(engine)
    await engine.node.send(ids.parse(runs[1]), Quarantine("Resume", "KeyError"))
    await works.let_go(engine, 0)
    assert list(works.running) == [2]
    await engine.services.runs.release(await engine._caller(), runs[1])
    await rests(engine)
    await works.let_go(engine, 2)
    assert list(works.running) == [1]
    await works.let_go(engine, 1)
    await works.let_go(engine, 3)


async def test_children_queue_too(bench: Bench) -> None:
    """Their parents wait for them meanwhile."""
    works = Works()
    engine = await bench.start(works.steps)
    child = await engine.create_workflow("child", WORK, settings={"concurrencyLimit": 1})
    call = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": child.id, "Input.$": "$"},
        "End": True,
    }
    parent = await engine.create_workflow("parent", {"StartAt": "Call", "States": {"Call": call}})
    runs = await triggered(engine, parent.id, 2)
    await rests(engine)
    assert len(works.running) == 1
    await works.let_go(engine, next(iter(works.running)))
    await works.let_go(engine, next(iter(works.running)))
    await rests(engine)
    assert await statuses(engine, runs) == ["completed"] * 2


async def test_after_a_crash_the_lines_are_looked_at(bench: Bench) -> None:
    """Whatever was lost with the process: a look that was asked for, or one that was under way."""
    works = Works()
    engine = await bench.start(works.steps)
    workflow = await engine.create_workflow("w", WORK, settings={"concurrencyLimit": 1})
    engine.node.admission.halt()
    runs = await triggered(engine, workflow.id, 3)
    await rests(engine)
    assert await statuses(engine, runs) == ["pending"] * 3
    await bench.crash(engine)

    works.is_open = True
    engine = await bench.start(works.steps)
    await rests(engine)
    await eventually(lambda: not bench.store._queue.rows and not bench.store._slots.rows)
    assert await statuses(engine, runs) == ["completed"] * 3
    assert works.most["all"] == 1


async def test_two_that_claim_one_place_are_told_apart_by_the_append(bench: Bench) -> None:
    """Another node may have read the same: the one that comes second looks again."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING, settings={"concurrencyLimit": 1})
    engine.node.admission.halt()
    runs = await triggered(engine, workflow.id, 2)
    await rests(engine)
    rows = [bench.store._queue.rows[ids.parse(run),] for run in runs]
    outcomes = await asyncio.gather(*(engine.node.admission._admit(row, [(row.limit_key, 1)]) for row in rows))
    assert sorted(outcomes) == ["admitted", "gone"]
    assert sorted(await statuses(engine, runs)) == ["pending", "waiting"]


async def test_a_crowd_over_fifty_keys_keeps_every_limit_and_its_order() -> None:
    """Three of each key at the most, in the order of their triggers, and none is lost."""
    works = Works()
    works.is_open = True
    bench = Bench()
    engine = await bench.start(works.steps)
    settings = {"concurrencyLimit": 3, "concurrencyKey": "$.key"}
    workflow = await engine.create_workflow("w", WORK, settings=settings)
    triggers = [engine.trigger(workflow.id, {"n": n, "key": n % 50}) for n in range(300)]
    await asyncio.gather(*triggers)
    await eventually(lambda: not bench.store._queue.rows and not bench.store._slots.rows, seconds=30)
    await rests(engine)
    assert max(works.most[key] for key in range(50)) <= 3
    check_order(bench)
    assert {row.status for row in bench.store._executions.rows.values()} == {"completed"}
    await bench.stop(engine)


def check_order(bench: Bench) -> None:
    """In each line those are admitted first that have queued longest."""
    lines: dict[bytes, dict[str, list[bytes]]] = {}
    key_of: dict[bytes, Any] = {}
    for stored in bench.store._log:
        if stored.row.type not in (ExecutionStarted.__name__, ExecutionAdmitted.__name__):
            continue
        event = EXECUTION.read(stored.row).event
        if isinstance(event, ExecutionStarted):
            key_of[stored.row.stream_id] = event.limits[0].key
        line = lines.setdefault(key_of[stored.row.stream_id], {"ExecutionStarted": [], "ExecutionAdmitted": []})
        line[stored.row.type].append(stored.row.stream_id)
    assert len(lines) == 50
    for line in lines.values():
        assert line["ExecutionStarted"] == line["ExecutionAdmitted"]
