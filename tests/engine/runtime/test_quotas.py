"""Quotas of a workflow and of an organization: which are in force, at once, and what reads them is never fooled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.errors import Conflict, Invalid, Unavailable
from perdure.engine.limits import Limits
from perdure.engine.runtime.processing import facts
from perdure.engine.runtime.processing.quotas import Ceiling, RunQuotas
from perdure.engine.services import quotas as service
from perdure.engine.services.access import SCOPES
from perdure.engine.services.principals import Principal
from perdure.engine.services.quotas import QuotasInForce
from perdure.store.errors import StoreUnavailable
from tests.engine.runtime.conftest import WAITING, Bench, eventually, rest
from tests.engine.runtime.test_caching import SLOW, Held
from tests.engine.runtime.test_children import parent_of
from tests.engine.runtime.test_pauses import ASKING, CHILD, LOOP, pause_of
from tests.engine.runtime.test_turns import names

SLEEPING: dict[str, Any] = {
    "StartAt": "Sleep",
    "States": {"Sleep": {"Type": "Wait", "Seconds": 60, "Next": "Done"}, "Done": {"Type": "Succeed"}},
}
OF_WORKFLOW = "quotas.{} of the workflow"
OF_ORGANIZATION = "quotas.{} of the organization"


async def organization_is(engine: Engine, **quotas: int | None) -> None:
    """Set quotas of the organization."""
    everything = Principal(await engine._caller(), frozenset(SCOPES))
    await engine.services.access.change_organization(everything, {"quotas": quotas})


async def workflow_is(engine: Engine, workflow_id: str, **quotas: int | None) -> None:
    """Set quotas of a workflow, by its next version."""
    caller = await engine._caller()
    await engine.services.workflows.change(caller, ids.parse(workflow_id), settings={"quotas": quotas})


async def made(engine: Engine, definition: dict[str, Any], name: str = "w", **quotas: int) -> str:
    settings = {"quotas": quotas} if quotas else None
    return (await engine.create_workflow(name, definition, settings=settings)).id


async def in_force(engine: Engine, workflow_id: str) -> RunQuotas:
    return await engine.node.parts.quotas.read(((await engine._caller()).organization_id, workflow_id))


async def reason_of(engine: Engine, run: str) -> str | None:
    await rest(engine)
    pause = await pause_of(engine, run)
    return None if pause is None else pause.reason


def used_up(events: int, name: str) -> str:
    return f"the run has {events:,} events: its quota ({name.format('events')}) is used up"


# --- which are in force -----------------------------------------------------------------------------------------------


async def test_the_workflows_own_hold_before_the_organizations_and_the_engines(bench: Bench) -> None:
    """Member by member; the reason names the setting, also where it is the more generous one."""
    engine = await bench.start(limits=Limits(run_events_max=400, workflow_open_runs_max=8))
    plain, own = await made(engine, LOOP, "plain"), await made(engine, LOOP, "own", events=300, childDepth=2)
    await organization_is(engine, events=200, bytes=50_000, openRuns=3, transitionsPerSecond=1000)
    runs = [(await engine.trigger(workflow)).id for workflow in (plain, own)]
    assert await reason_of(engine, runs[0]) == used_up(200, OF_ORGANIZATION)
    assert await reason_of(engine, runs[1]) == used_up(300, OF_WORKFLOW)
    found = await in_force(engine, own)
    assert (found.events_max, found.bytes_max, found.transitions_minute_max) == (300, 50_000, 60_000)
    assert found.open_runs == Ceiling(3, OF_ORGANIZATION.format("openRuns"))
    assert found.child_depth == Ceiling(2, OF_WORKFLOW.format("childDepth"))
    await organization_is(engine, events=None, bytes=None, openRuns=None, transitionsPerSecond=None)
    await workflow_is(engine, own, events=None)
    found = await in_force(engine, own)
    assert (found.events_max, found.names["events"]) == (400, "run_events_max")
    assert found.open_runs == Ceiling(8, "workflow_open_runs_max")


async def test_nothing_set_is_the_engines_own(bench: Bench) -> None:
    """Also of a workflow whose quotas were taken back one by one."""
    engine = await bench.start(limits=Limits(run_events_max=150))
    workflow = await made(engine, LOOP, events=120)
    await workflow_is(engine, workflow, events=None)
    assert await reason_of(engine, (await engine.trigger(workflow)).id) == used_up(150, "run_events_max")


async def test_an_engine_that_is_set_lower_has_the_last_word(bench: Bench) -> None:
    """What was accepted once cannot be had any more, and is not refused when something else is changed."""
    engine = await bench.start()
    workflow = await made(engine, LOOP, events=5000)
    await bench.stop(engine)
    engine = await bench.start(limits=Limits(run_events_max=250))
    assert await reason_of(engine, (await engine.trigger(workflow)).id) == used_up(250, "run_events_max")
    await workflow_is(engine, workflow, bytes=60_000)


@pytest.mark.parametrize(
    ("quotas", "says"),
    [
        ({"events": 501}, "settings.quotas.events: 501 is not accepted; it must be a whole number from 100 to 500, or"),
        ({"events": 501}, "more than the engine's own quota (run_events_max) is not to be had"),
        ({"events": 99}, "settings.quotas.events: 99 is not accepted"),
        ({"bytes": "many"}, "settings.quotas.bytes: 'many' is not accepted; it must be a whole number from 1,024 to"),
        ({"transitionsPerSecond": True}, "settings.quotas.transitionsPerSecond: true is not accepted"),
        ({"openRuns": 0}, "settings.quotas.openRuns: 0 is not accepted; it must be a whole number from 1 to 100,000"),
        ({"childDepth": 26}, "from 1 to 25, or null: more than the engine's own quota (child_depth_max) is not to be"),
        ({"event": 200}, "settings.quotas.event: there is no such setting; there are events, bytes"),
        (7, "settings.quotas: 7 is not accepted; it must be an object, or null"),
    ],
)
async def test_quotas_that_are_not_accepted_are_named(bench: Bench, quotas: Any, says: str) -> None:
    """Of a workflow and of an organization alike; nothing has changed."""
    engine = await bench.start(limits=Limits(run_events_max=500))
    everything = Principal(await engine._caller(), frozenset(SCOPES))
    with pytest.raises(Invalid) as refused:
        await engine.create_workflow("w", LOOP, settings={"quotas": quotas})
    assert says in refused.value.message
    with pytest.raises(Invalid) as refused:
        await engine.services.access.change_organization(everything, {"quotas": quotas})
    assert says in refused.value.message


# --- they hold at once ------------------------------------------------------------------------------------------------


async def test_the_first_decision_of_a_run_has_them(bench: Bench) -> None:
    """It would pass 256 states at once."""
    engine = await bench.start()
    run = await engine.trigger(await made(engine, LOOP, events=100))
    assert await reason_of(engine, run.id) == used_up(100, OF_WORKFLOW)
    assert len(await names(engine, run.id)) == 101


async def test_a_fork_has_them_from_its_first_event_on(bench: Bench) -> None:
    """Nothing is known of its workflow when it begins: a first event of another run says which it is."""
    engine = await bench.start()
    run = await engine.trigger(await made(engine, ASKING, events=120))
    for _ in range(30):
        await engine.resume(run.id, {}, hold=0)
    assert await reason_of(engine, run.id) is not None  # 120 events and more
    await bench.stop(engine)
    engine = await bench.start()
    fork = await engine.fork(run.id, 110)
    assert await reason_of(engine, fork.id) is None
    for _ in range(4):
        if await reason_of(engine, fork.id) is None:
            await engine.resume(fork.id, {}, hold=0)
    assert OF_WORKFLOW.format("events") in str(await reason_of(engine, fork.id))


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_raised_quota_lets_an_unpaused_run_go_on_under_it(bench: Bench, *, is_killed: bool) -> None:
    """As far as that goes, and not once more on top; with the version that it began with, over a crash too."""
    engine = await bench.start()
    workflow = await made(engine, LOOP, events=100)
    run = await engine.trigger(workflow)
    assert await reason_of(engine, run.id) == used_up(100, OF_WORKFLOW)
    await workflow_is(engine, workflow, events=150)
    if is_killed:
        await bench.crash(engine)
        engine = await bench.start()
    assert await engine.unpause(run.id) == "unpaused"
    assert await reason_of(engine, run.id) == used_up(150, OF_WORKFLOW)
    assert await engine.unpause(run.id) == "unpaused"  # nothing was raised: once more as much
    assert await reason_of(engine, run.id) in {used_up(count, OF_WORKFLOW) for count in range(300, 303)}


async def test_a_lowered_quota_stops_a_run_that_is_under_way(bench: Bench) -> None:
    """As soon as it would go on: what only waits is left in peace, and what is answered is recorded."""
    engine = await bench.start()
    run = await engine.trigger(await made(engine, ASKING))
    for _ in range(60):
        await engine.resume(run.id, {}, hold=0)
    assert await reason_of(engine, run.id) is None
    await organization_is(engine, events=100)
    assert await reason_of(engine, run.id) is None
    await engine.resume(run.id, {}, hold=0)
    reason = await reason_of(engine, run.id)
    assert reason is not None
    assert OF_ORGANIZATION.format("events") in reason


async def test_open_runs_of_a_workflow(bench: Bench) -> None:
    """Refused by the name of the setting, and admitted as soon as it is raised."""
    engine = await bench.start()
    workflow = await made(engine, WAITING, openRuns=2)
    for number in range(2):
        await engine.trigger(workflow, process_id=f"P{number}")
    with pytest.raises(Conflict, match=r"its quota \(quotas.openRuns of the workflow\) is 2") as refused:
        await engine.trigger(workflow)
    assert refused.value.details == {"limit": 2}
    parent = await engine.trigger(await made(engine, CHILD, "p"))
    assert "quotas.openRuns" in str((await engine.result(parent.id)).cause)
    await workflow_is(engine, workflow, openRuns=3)
    await engine.trigger(workflow)
    with pytest.raises(Conflict, match=r"is 3: end some of them, or raise it"):
        await engine.trigger(workflow)


async def test_children_are_nested_as_deep_as_the_workflow_that_calls_says(bench: Bench) -> None:
    """The task that would start one more fails, and says by which setting."""
    engine = await bench.start()
    workflow = await made(engine, parent_of("ouroboros", ".sync"), "ouroboros", childDepth=2)
    first = await engine.trigger(workflow)
    assert (await engine.result(first.id)).status == "failed"
    rows = (await engine.executions(workflow_id=workflow, limit=50)).items
    assert len(rows) == 3
    deepest = await engine.result(rows[0].id)
    assert deepest.cause == "Children are nested 2 deep at most (quotas.childDepth of the workflow)."


# --- how they are read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["latest_published", "organization"])
async def test_quotas_that_were_read_before_a_change_are_not_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A read that a change overtook is made again: else what it found would hold for ever."""
    engine = await bench.start()
    workflow = await made(engine, WAITING)
    held = Held(engine.store, method, monkeypatch)
    reading = asyncio.create_task(in_force(engine, workflow))
    await held.has_read.wait()
    await workflow_is(engine, workflow, events=123)
    await organization_is(engine, bytes=2048)
    held.go.set()
    assert ((await reading).events_max, (await in_force(engine, workflow)).bytes_max) == (123, 2048)


async def test_another_workflows_change_is_no_reason_to_read_again(bench: Bench) -> None:
    """What is known of a workflow stays, until it or the settings of its organization change."""
    engine = await bench.start()
    first, second = await made(engine, WAITING, "first"), await made(engine, WAITING, "second")
    key = ((await engine._caller()).organization_id, first)
    quotas = engine.node.parts.quotas
    await quotas.read(key)
    await workflow_is(engine, second, events=123)
    await engine.services.access.make_key(await engine._caller(), "worker", ("runs.view",))
    assert quotas.known(key) is not None
    await organization_is(engine, events=200)
    assert quotas.known(key) is None


async def test_only_so_many_workflows_are_known(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were not asked about for longest are read again when they are needed."""
    monkeypatch.setattr(service, "KNOWN_MAX", 3)
    engine = await bench.start()
    organization_id = (await engine._caller()).organization_id
    workflows = [await made(engine, LOOP, f"w{number}", events=100 + number) for number in range(5)]
    quotas = QuotasInForce(engine.store, Limits())
    for workflow in workflows:
        await quotas.read((organization_id, workflow))
    known = [quotas.known((organization_id, workflow)) for workflow in workflows]
    assert [None if each is None else each.events_max for each in known] == [None, None, 102, 103, 104]


async def test_many_runs_of_a_workflow_ask_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that wait for its quotas are decided when those are read, in their order."""
    engine = await bench.start()
    workflow = await made(engine, WAITING)
    runs = [(await engine.trigger(workflow, {"n": number})).id for number in range(30)]
    await bench.stop(engine)
    engine = await bench.start()
    asked = 0
    original = engine.store.organization

    async def counted(organization_id: bytes) -> Any:
        nonlocal asked
        asked += 1
        return await original(organization_id)

    await rest(engine)
    monkeypatch.setattr(engine.store, "organization", counted)
    answers = await asyncio.gather(*(engine.resume(run, {"ok": True}, hold=0) for run in runs))
    assert len(answers) == 30
    assert asked <= 1
    assert {(await engine.result(run)).status for run in runs} == {"completed"}


class Failing:
    """A store that does not say what settings an organization has, until it is mended."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_mended = False
        self._original = engine.store.organization
        monkeypatch.setattr(engine.store, "organization", self._read)

    async def _read(self, organization_id: bytes) -> Any:
        if not self.is_mended:
            message = "the disk does not answer"
            raise StoreUnavailable(message)
        return await self._original(organization_id)


async def test_a_store_that_does_not_serve_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is outside is told to come again, inside it is tried again by itself, and nothing is set aside."""
    engine = await bench.start()
    asks = await engine.trigger(await made(engine, WAITING, "asks"))
    sleeps = await engine.trigger(await made(engine, SLEEPING, "sleeps"))
    await rest(engine)
    await organization_is(engine, events=5000)
    store = Failing(engine, monkeypatch)
    with pytest.raises(Unavailable, match="did not serve the request; repeat the call later"):
        await engine.resume(asks.id, {}, hold=0)
    await bench.push(engine, 60_000)  # the timer is due
    store.is_mended = True
    await engine.resume(asks.id, {}, hold=0)
    await bench.push(engine, 2000)
    assert [(await engine.result(run.id)).status for run in (asks, sleeps)] == ["completed"] * 2


@pytest.mark.parametrize("is_served", [True, False])
async def test_a_change_while_a_decision_waits_for_the_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_served: bool
) -> None:
    """It is made by what is in force then, which is read first; if that fails the caller hears of it."""
    monkeypatch.setattr(facts, "DECISION_TIME_S", 0.0001)
    engine = await bench.start()
    workflow = await made(engine, SLOW)
    key = ((await engine._caller()).organization_id, workflow)
    deferred = engine.node.processor._deferred
    async with deferred._turns.held_by("somebody else"):
        triggering = asyncio.create_task(engine.trigger(workflow))
        await eventually(lambda: deferred._deciding)
        await organization_is(engine, events=5000)
        assert engine.node.parts.quotas.known(key) is None
        if not is_served:
            Failing(engine, monkeypatch)
    if not is_served:
        with pytest.raises(Unavailable):
            await triggering
        return
    assert (await engine.result((await triggering).id)).status == "completed"
    found = engine.node.parts.quotas.known(key)
    assert found is not None
    assert found.events_max == 5000
