"""Snapshots against the fold: at every seq of any run they come to the same, and an audit finds those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.engine import Engine
from perdure.engine.audit.rebuild import rebuild
from perdure.engine.audit.store_audit import compare_projections, verify
from perdure.engine.core import commands as c
from perdure.engine.core import ids, persistent
from perdure.engine.core.evolve import evolve, replay
from perdure.engine.core.persistent import PersistentMap
from perdure.engine.core.snapshots import FORMAT, decode_state, encode_state
from perdure.engine.core.state import InFork, InRetry, InTask, InTimer, State, Timer, initial_state
from perdure.engine.errors import Conflict
from perdure.engine.log.snapshots import EVERY, digest_of, take
from perdure.engine.testing import ManualClock, Scenario
from perdure.store.memory import MemoryStore
from perdure.store.records import Head, SnapshotRow, StoredEvent
from perdure.store.sqlite import open_sqlite
from tests.engine.core import generated
from tests.engine.core.checked import wait_id

# --- any run -------------------------------------------------------------------------------------------------


class Run(Scenario):
    """A scenario with what `generated` asks of a run."""

    def wait_id(self, number: int) -> str:
        return wait_id(number)

    @property
    def wait(self) -> str:
        return self.wait_id(self._waits)


def due_command(run: Run) -> c.Command | None:
    """What a driver and an outside world that do their duty send next; null if nothing is left to do."""
    state = run.state
    if not state.is_idle and not any(isinstance(frame.phase, InTask) for frame in state.frames.values()):
        return c.Advance()
    for scope in state.scopes():
        frame, task = state.frames[scope], state.task(scope)
        if task is not None and task.child is None:
            visit, outcome = frame.visits[frame.state], c.TaskSuccess({"a": {"b": 1}, "b": 0})
            return c.CompleteTask(scope, frame.state, task.seq, task.attempt, visit, outcome)
    for wait in state.waits:
        return c.Resume({"b": 1}, wait)
    for name, timer in state.timers.items():
        run.now = max(run.now, timer.due_at)
        return c.FireTimer(name)
    return None


def check_every_seq(run: Scenario) -> None:
    """A snapshot at any seq, and the events after it, come to the state that all events come to."""
    state = initial_state()
    for recorded in run.events:
        state = evolve(state, recorded)
        text = encode_state(state)
        restored = decode_state(text)
        assert restored == state
        assert encode_state(restored) == text
        after = replay(run.events[state.seq :], restored)
        assert after == run.state
        assert encode_state(after) == encode_state(run.state)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_snapshot_and_what_follows_are_the_fold(data: st.DataObject) -> None:
    """At every seq of a run that nobody would write, by commands that nobody would send."""

    def pick(options: Any) -> Any:
        return data.draw(st.sampled_from(options))

    with patch.object(Run, "transitions_max", 6):
        run = Run(generated.definition(pick), generated.run_input(pick), None)
        for _ in range(pick(range(12))):
            command = generated.command(pick, run) if pick((False, False, True)) else due_command(run)  # type: ignore[arg-type]
            if command is not None:
                run.when(command)
    check_every_seq(run)


NESTED = {
    "StartAt": "Each",
    "States": {
        "Each": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ToleratedFailureCount": 2,
            "ItemProcessor": {
                "StartAt": "Both",
                "States": {
                    "Both": {
                        "Type": "Parallel",
                        "Branches": [
                            {
                                "StartAt": "Ask",
                                "States": {
                                    "Ask": {
                                        "Type": "Task",
                                        "Resource": "notify.waitForResume",
                                        "TimeoutSeconds": 60,
                                        "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}],
                                        "End": True,
                                    }
                                },
                            },
                            {
                                "StartAt": "Nap",
                                "States": {"Nap": {"Type": "Wait", "Seconds": 1, "End": True}},
                            },
                        ],
                        "End": True,
                    }
                },
            },
            "End": True,
        }
    },
}


def test_a_snapshot_of_nested_scopes_is_the_fold() -> None:
    """Forks, iterations, retries, time limits, waits: more of each than one shard of a mapping takes."""
    run = Run(NESTED, {"items": list(range(40))}, None)
    for _ in range(100):
        command = due_command(run)
        assert command is not None
        if isinstance(command, c.CompleteTask) and command.attempt == 0 and command.seq % 3 == 0:
            command = replace(command, outcome=c.TaskFailure("Oops", None))
        run.when(command)

    assert len(run.state.frames) > persistent.SMALL_MAX
    assert {type(frame.phase) for frame in run.state.frames.values()} >= {InFork, InTimer, InRetry}
    check_every_seq(run)


# --- the audit -----------------------------------------------------------------------------------------------

LOOP: dict[str, Any] = {
    "StartAt": "Again",
    "States": {
        "Again": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.n", "NumericLessThan": EVERY, "Next": "Count"}],
            "Default": "Ask",
        },
        "Count": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "Next": "Again"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}


async def fill(store: Any) -> bytes:
    """Fill a store with a run that loops, asks, and has a snapshot of that; the store is left open."""
    engine = await Engine.start(store, clock=ManualClock())
    workflow = await engine.create_workflow("loop", LOOP)
    execution = await engine.trigger(workflow.id, {"n": 0}, process_id="P")
    async for recorded in engine.events(execution.id, follow=True):
        if type(recorded.event).__name__ == "WaitOpened":
            break
    with pytest.raises(Conflict):  # a commit after it: that brings the snapshot
        await engine.trigger(workflow.id, {"n": 1}, process_id="P")
    await engine.node.drain(0)
    await engine._http.close()
    return ids.parse(execution.id)


@pytest.fixture
async def stored() -> tuple[MemoryStore, bytes]:
    store = MemoryStore()
    return store, await fill(store)


def tamper(store: MemoryStore, execution: bytes, **changes: Any) -> None:
    row = store._snapshots.rows[execution,]._replace(**changes)
    store._snapshots.rows[execution,] = row._replace(digest=changes.get("digest", digest_of(row)))


async def flaw(store: MemoryStore, execution: bytes) -> str | None:
    """What the audit says of the snapshot; both its parts say the same."""
    report, differences = await verify(store), await compare_projections(store)
    seq = store._snapshots.rows[execution,].seq
    if not report.breaks:
        assert not differences
        return None
    ((stream, at, reason),) = report.breaks
    assert (stream, at) == (execution, seq)
    said = reason.removeprefix("the snapshot: ")
    assert differences == [f"execution {ids.text(execution)}, snapshot at seq {seq}: {said}"]
    return said


async def test_a_sound_snapshot_is_found_sound(stored: tuple[MemoryStore, bytes]) -> None:
    """A run as it was written, with a snapshot, has no flaw."""
    store, execution = stored
    assert await store.snapshot(execution) is not None
    assert await flaw(store, execution) is None


async def test_a_snapshot_that_is_not_the_fold_is_named(stored: tuple[MemoryStore, bytes]) -> None:
    """Execution, seq and the first field that differs."""
    store, execution = stored
    sound = store._snapshots.rows[execution,]
    state = decode_state(sound.data.encode())
    others = {"status": "running", "output": "1/other", "active": 1, "timers": PersistentMap({9: Timer("", 1)})}
    for name, other in others.items():
        changed = replace(state, **{name: other})
        tamper(store, execution, data=encode_state(changed).decode())
        assert await flaw(store, execution) == f"its {name} is not the fold's"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"digest": bytes(32)}, "it does not match its digest"),
        ({"hash": bytes(32)}, "the stream has another event at its seq, or none"),
        ({"seq": 10**6}, "the stream has another event at its seq, or none"),
        ({"seq": 0}, "the stream has another event at its seq, or none"),
        ({"data": "{"}, "it does not read as a state: Input data was truncated"),
    ],
)
async def test_a_snapshot_that_cannot_be_one_is_named(
    stored: tuple[MemoryStore, bytes], changes: dict[str, Any], said: str
) -> None:
    """Whatever it says of itself must hold."""
    store, execution = stored
    tamper(store, execution, **changes)
    assert await flaw(store, execution) == said


async def test_a_snapshot_of_another_form_is_nobody_s_fault(stored: tuple[MemoryStore, bytes]) -> None:
    """Another version of the program wrote it, and this one makes its own."""
    store, execution = stored
    tamper(store, execution, format=FORMAT + 1, data="anything")
    assert await flaw(store, execution) is None


async def test_a_snapshot_of_nothing_is_named(stored: tuple[MemoryStore, bytes]) -> None:
    """One of a stream that is not there, or that has none."""
    store, _ = stored
    others = [bytes(16), *(row.stream_id for row in await store.streams(kind="organization"))]
    for other in others:
        store._snapshots.rows[other,] = take(other, Head(1, bytes(32), 0), State(seq=1))
        assert await flaw(store, other) == "there is no such execution or workflow"
        del store._snapshots.rows[other,]


async def test_a_run_that_cannot_be_folded_says_so(stored: tuple[MemoryStore, bytes]) -> None:
    """Its snapshot cannot be compared, and the chain says why."""
    store, execution = stored
    position, row = store._events[execution][5]
    store._events[execution][5] = StoredEvent(position, row._replace(data="{"))
    reasons = [each.reason for each in (await verify(store)).breaks]
    assert reasons[0] == "the hash does not match the event and the one before it"
    assert reasons[1].startswith("the snapshot: the events up to it cannot be folded")


async def test_an_organization_s_snapshots_alone(stored: tuple[MemoryStore, bytes]) -> None:
    """Those of others are not judged."""
    store, execution = stored
    tamper(store, execution, hash=bytes(32))
    (organization,) = await store.organizations()
    assert len((await verify(store, organization_id=organization.organization_id)).breaks) == 1
    assert (await verify(store, organization_id=bytes(16))).breaks == []


async def test_snapshots_beyond_a_page_are_looked_at(stored: tuple[MemoryStore, bytes]) -> None:
    """They are read in pages; a fault of the last is found."""
    store, _ = stored
    row: SnapshotRow = next(iter(store._snapshots.rows.values()))
    for number in range(40):
        stream = bytes(15) + bytes([number])
        store._snapshots.rows[stream,] = row._replace(stream_id=stream)
    assert len((await verify(store)).breaks) == 40


async def test_a_rebuild_drops_snapshots_and_the_run_goes_on(tmp_path: Path) -> None:
    """On SQLite: a wrong one goes, nothing is lost, and the next commit makes one that holds."""
    path = tmp_path / "runs.db"
    store = await open_sqlite(path)
    execution = await fill(store)
    await rebuild(store)
    assert await store.snapshot(execution) is None
    assert (await verify(store)).breaks == []
    before = await store.execution(execution)
    async with Engine.open(store) as engine:
        await engine.resume("P", {"ok": True})
        assert (await engine.result(ids.text(execution), timeout=60)).output == {"ok": True}
    store = await open_sqlite(path, read_only=True)
    snapshot = await store.snapshot(execution)
    assert snapshot is not None
    assert before is not None
    assert snapshot.seq == before.seq
    assert await compare_projections(store) == []
    await store.close()
