"""A run whose events an earlier release wrote goes on: the loader brings each up to the version of today."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from perdure.engine.core import events as e
from perdure.engine.core import ids
from perdure.engine.core.upcast import EARLIER
from perdure.engine.core.vocabulary import EXECUTION_EVENTS
from perdure.engine.steps import Registry
from perdure.store.records import Appended, NewEvent, StreamAppend
from tests.engine.runtime.conftest import Bench

OLD = EARLIER.keys() & {each.__name__ for each in EXECUTION_EVENTS}
"""The events of a run that have a version before the one of today."""

SINCE_THEN = {"WaitOpened": "heartbeat_due_at", "BranchesStarted": "visit", "MapStarted": "visit"}
"""The member that version 2 brought, by event; TaskScheduled lost one, which stood in a log only if it was not 0."""

ASK = {"Type": "Task", "Resource": "charge.waitForResume", "TimeoutSeconds": 600, "HeartbeatSeconds": 60, "End": True}
EACH = {"StartAt": "Ask", "States": {"Ask": ASK}}
MACHINE: dict[str, Any] = {
    "StartAt": "Both",
    "States": {
        "Both": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": EACH, "End": True}}},
                {"StartAt": "Booked", "States": {"Booked": {"Type": "Pass", "Result": "booked", "End": True}}},
            ],
            "End": True,
        }
    },
}


def first_version(event: NewEvent) -> NewEvent:
    """An event as the first release wrote it, where that wrote another form."""
    if event.type not in OLD:
        return event
    members = json.loads(event.data)
    members.pop(SINCE_THEN.get(event.type), None)
    return event._replace(version=1, data=json.dumps(members, separators=(",", ":"), ensure_ascii=False))


async def test_a_run_of_an_earlier_release_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded anew after a restart, its four events of version 1 mean what they meant, and its answer ends it."""
    steps = Registry()

    @steps.step("charge")
    def charge(_: Any) -> None:
        """Somebody answers later."""

    append = bench.store.append

    async def append_old(batch: Sequence[StreamAppend]) -> Appended:
        return await append([part._replace(events=tuple(map(first_version, part.events))) for part in batch])

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "append", append_old)
        earlier = await bench.start(steps)
        workflow = await earlier.create_workflow("w", MACHINE)
        run = await earlier.trigger(workflow.id, [7])
        async for recorded in earlier.events(run.id, follow=True):
            if isinstance(recorded.event, e.TaskSubmitted):
                break
        opened_at = bench.clock.now()
        await bench.crash(earlier)
    stored = {item.row.type: item.row for item in (await bench.store.events_of([ids.parse(run.id)]))[ids.parse(run.id)]}
    assert {name for name, row in stored.items() if row.version == 1} >= OLD
    assert not any(member in json.loads(stored[name].data) for name, member in SINCE_THEN.items())

    engine = await bench.start(steps)
    (wait,) = await engine.waits()
    assert wait.due_at == opened_at + 60_000
    events = {type(item.event): item.event async for item in engine.events(run.id)}
    opened, forked, mapped = (events[kind] for kind in (e.WaitOpened, e.BranchesStarted, e.MapStarted))
    assert isinstance(opened, e.WaitOpened)
    assert isinstance(forked, e.BranchesStarted)
    assert isinstance(mapped, e.MapStarted)
    assert opened.heartbeat_due_at == opened_at + 60_000
    assert (forked.visit, mapped.visit) == (stored["BranchesStarted"].seq, stored["MapStarted"].seq)
    await engine.resume(run.id, {"paid": True}, wait_id=wait.id)
    assert (await engine.result(run.id, timeout=10)).output == [[{"paid": True}], "booked"]
