"""Snapshots: what they save, what they must not change, and that nothing depends on them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from benchmarks.loop import CALL, COUNT, definition, registry
from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.core.commands import Refuse
from perdure.engine.core.snapshots import FORMAT, encode_state
from perdure.engine.core.state import State
from perdure.engine.log import snapshots
from perdure.engine.log.snapshots import EVERY, digest_of, due_after
from perdure.engine.runtime.processing.inbox import REQUESTS_AT_ONCE
from perdure.engine.runtime.streams.loader import Loader
from perdure.engine.steps import Registry
from perdure.store.records import Appended, ExecutionRow, Head, SnapshotRow, StoredEvent, StreamAppend

from .conftest import Bench, GatedStore

ROUNDS = 2 * EVERY
LOOP_THEN_ASK: dict[str, Any] = {
    "StartAt": "Keep",
    "States": {
        "Keep": {"Type": "Pass", "Assign": {"kept.$": "$.text"}, "Next": "Again"},
        "Again": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.n", "NumericLessThan": ROUNDS // 2, "Next": "Count"}],
            "Default": "Ask",
        },
        "Count": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "Next": "Again"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.first", "Next": "Ask again"},
        "Ask again": {"Type": "Task", "Resource": "wait_for_resume", "ResultPath": "$.answer", "Next": "Tell"},
        "Tell": {
            "Type": "Pass",
            "Parameters": {"n.$": "$.n", "answers.$": "States.Array($.first, $.answer)", "kept.$": "$kept"},
            "End": True,
        },
    },
}
TEXT = "what was given at first"


class CountingStore(GatedStore):
    """Counts the rows that are read of executions' events, and how often."""

    def __init__(self) -> None:
        super().__init__()
        self.rows_read: list[int] = []

    def _count(self, events: list[StoredEvent]) -> list[StoredEvent]:
        self.rows_read.append(len(events))
        return events

    async def events(self, stream_id: bytes, *, after: int = 0, limit: int | None = None) -> list[StoredEvent]:
        return self._count(await super().events(stream_id, after=after, limit=limit))

    async def events_at(self, stream_id: bytes, seqs: Sequence[int]) -> list[StoredEvent]:
        return self._count(await super().events_at(stream_id, seqs))


class Asked:
    """A long run that waits for an answer, and the means to read it."""

    def __init__(self, bench: Bench, engine: Engine, execution: bytes) -> None:
        self.bench, self.engine, self.execution = bench, engine, execution

    @property
    def snapshot(self) -> SnapshotRow:
        return self.bench.store._snapshots.rows[self.execution,]

    def replace(self, **changes: Any) -> None:
        """Tamper with the snapshot: with what it says, and where asked for with its digest too."""
        made = self.snapshot._replace(**changes)
        self.bench.store._snapshots.rows[self.execution,] = made

    async def load(self) -> Any:
        """The run as a decision would meet it."""
        node = self.engine.node
        loader = Loader(self.bench.store, node.definitions, node.metrics)
        loader.want(self.execution)
        return [found async for found in loader.load()][-1][self.execution]

    async def fold(self) -> State:
        """The run folded from its first event."""
        node = self.engine.node
        row = await self.bench.store.stream(self.execution)
        assert row is not None
        return (await Loader(self.bench.store, node.definitions, node.metrics).from_the_start(row)).state

    @property
    def rows_read(self) -> list[int]:
        return cast("CountingStore", self.bench.store).rows_read

    @property
    def refused(self) -> dict[str, int]:
        values = self.engine.node.metrics.snapshots_refused.values
        return {flaw: count for (flaw,), count in values.items() if count}


@pytest.fixture
async def asked(bench: Bench) -> Asked:
    bench.store.__class__ = CountingStore
    cast("CountingStore", bench.store).rows_read = []
    engine = await bench.start()
    workflow = await engine.create_workflow("loop", LOOP_THEN_ASK)
    execution = await engine.trigger(workflow.id, {"text": TEXT, "n": 0}, process_id="P")
    stream_id = ids.parse(execution.id)
    async for recorded in engine.events(execution.id, follow=True):
        if type(recorded.event).__name__ == "WaitOpened":
            break
    await engine.resume("P", "no")  # so that something follows the snapshot
    await engine.node.processor.settle()
    return Asked(bench, engine, stream_id)


# --- when ----------------------------------------------------------------------------------------------------


async def test_a_long_run_has_a_snapshot_that_is_not_old(asked: Asked) -> None:
    """It is of our form, is chained to the log, and is no further behind than the spacing and one decision."""
    head = (await asked.fold()).seq
    snapshot = asked.snapshot

    assert head > ROUNDS
    assert snapshot.format == FORMAT
    assert 0 < head - snapshot.seq < EVERY
    assert snapshot.digest == digest_of(snapshot)
    ((_, event),) = await asked.bench.store.events_at(asked.execution, [snapshot.seq])
    assert event.hash == snapshot.hash
    assert TEXT not in snapshot.data


async def test_a_short_run_has_none(bench: Bench) -> None:
    """What ends within the spacing neither makes a snapshot nor asks for one."""
    engine = await bench.start(registry())
    workflow = await engine.create_workflow("short", definition(COUNT, EVERY - 10))
    execution = await engine.trigger(workflow.id, {"n": 0})

    assert (await engine.result(execution.id, timeout=60)).status == "completed"
    assert bench.store._snapshots.rows == {}


def test_a_large_state_is_not_written_often() -> None:
    """The next snapshot waits for so many events that the bytes written are few for each."""
    small = snapshots.take(bytes(16), Head(100, bytes(32), 0), State(seq=100))
    large = small._replace(data="x" * 10_000_000)

    assert due_after(small) == 100 + EVERY
    assert due_after(large) == 100 + 10_000_000 // snapshots.BYTES_AN_EVENT


async def test_rows_of_the_state_show_what_is_committed_with_them(bench: Bench) -> None:
    """While a batch waits for its turn the next is decided, and is not shown in the rows of the first."""
    steps, answer = Registry(), asyncio.Event()

    @steps.step("count")
    async def count(value: Any) -> Any:
        await answer.wait()
        return value

    engine = await bench.start(steps)
    workflow = await engine.create_workflow("steps", definition(CALL, 2))
    runs = [ids.parse((await engine.trigger(workflow.id, {"n": 0})).id) for _ in range(REQUESTS_AT_ONCE)]
    bench.store.attempts.clear()
    replies = [engine.node.send(run, Refuse("trigger", "again")) for run in (*runs, runs[0])]
    await asyncio.gather(*replies)

    first, second = bench.store.attempts
    assert [len(first), len(second)] == [REQUESTS_AT_ONCE, 1]
    for part in (*first, *second):
        assert [row.seq for row in part.puts if isinstance(row, ExecutionRow)] == [part.expected.seq + len(part.events)]


# --- reading -------------------------------------------------------------------------------------------------


async def test_only_what_follows_the_snapshot_is_read(asked: Asked) -> None:
    """The state is that of a full fold, and so are the payloads that a decision may look at, read in one go."""
    asked.rows_read.clear()
    hot = await asked.load()

    after = hot.state.seq - asked.snapshot.seq
    live = hot.kind.live_seqs(hot.state)
    assert sum(asked.rows_read) <= 1 + after + len(live)
    assert len(asked.rows_read) == 3
    assert hot.state == await asked.fold()
    assert hot.payloads.keys() == live
    assert asked.refused == {}


async def test_a_run_goes_on_from_its_snapshot(asked: Asked) -> None:
    """After a crash, with values from before the snapshot; nothing is asked for by one decision after another."""
    await asked.bench.crash(asked.engine)
    asked.engine = engine = await asked.bench.start()
    asked.rows_read.clear()
    await engine.resume("P", "yes")
    result = await engine.result(ids.text(asked.execution), timeout=60)

    assert result.output == {"n": ROUNDS // 2, "answers": ["no", "yes"], "kept": TEXT}
    assert len(asked.rows_read) == 4  # the last of them to tell the result
    assert asked.refused == {}


FLAWED: dict[str, tuple[str, Any]] = {
    "another stream": ("digest", lambda row: {"stream_id": bytes(16)}),
    "another seq": ("digest", lambda row: {"seq": row.seq - 1}),
    "a seq that is none": ("digest", lambda row: {"seq": "1"}),
    "a negative seq": ("digest", lambda row: {"seq": -1}),
    "another hash": ("digest", lambda row: {"hash": bytes(32)}),
    "no hash": ("digest", lambda row: {"hash": None}),
    "another form": ("format", lambda row: {"format": FORMAT + 1}),
    "other data": ("digest", lambda row: {"data": row.data + " "}),
    "data of another type": ("digest", lambda row: {"data": None}),
    "another digest": ("digest", lambda row: {"digest": bytes(32)}),
    "another seq, signed": ("chain", lambda row: signed(row, seq=row.seq - 1)),
    "a seq beyond the end, signed": ("chain", lambda row: signed(row, seq=10**6)),
    "another hash, signed": ("chain", lambda row: signed(row, hash=bytes(32))),
    "no JSON, signed": ("content", lambda row: signed(row, data=row.data[:-1])),
    "another type, signed": ("content", lambda row: signed(row, data=row.data.replace('"seq":', '"seq":"",'))),
    "an older state, signed": ("content", lambda row: signed(row, data=encode_state(State(seq=1)).decode())),
}


def signed(row: SnapshotRow, **changes: Any) -> dict[str, Any]:
    """Changes with a digest that fits them."""
    return {**changes, "digest": digest_of(row._replace(**changes))}


@pytest.mark.parametrize("name", FLAWED)
async def test_a_snapshot_that_does_not_hold_is_not_used(asked: Asked, name: str) -> None:
    """Whatever is wrong with it, the state is that of a full fold, and a log line and a number say so."""
    flaw, change = FLAWED[name]
    sound = asked.snapshot
    asked.replace(**change(sound))
    with capture_logs() as logs:
        hot = await asked.load()

    assert hot.state == await asked.fold()
    assert asked.refused == {flaw: 1}
    (line,) = [line for line in logs if line["event"] == "snapshot_refused"]
    assert (line["flaw"], line["log_level"]) == (flaw, "info" if flaw == "format" else "warning")
    asked.bench.store._snapshots.rows[asked.execution,] = sound  # as the bench wants it at the end


async def test_a_snapshot_may_be_gone(asked: Asked) -> None:
    """Without it the run is folded as a whole, and its next commit brings one of what was on disk before."""
    asked.bench.store._snapshots.rows.clear()
    before = (await asked.fold()).seq
    await asked.bench.crash(asked.engine)
    engine = await asked.bench.start()
    await engine.resume("P", "yes")

    assert (await engine.result(ids.text(asked.execution), timeout=60)).status == "completed"
    assert asked.snapshot.seq == before


async def test_a_full_fold_holds_few_events_at_a_time(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is read in pages, also where its end is a page's end, and of earlier payloads only live ones stay."""
    whole = await asked.fold()
    for size in (1, 7, whole.seq - 1, whole.seq, whole.seq + 1):
        monkeypatch.setattr("perdure.engine.runtime.streams.fold.EVENTS_AT_ONCE", size)
        asked.rows_read.clear()
        assert await asked.fold() == whole
        assert max(asked.rows_read) <= size


# --- the loop ------------------------------------------------------------------------------------------------


class Work:
    """What the engine does for each append: calls of functions, and rows written."""

    def __init__(self, store: GatedStore) -> None:
        self._append, store.append = store.append, self._noting  # type: ignore[method-assign]
        self._calls = 0
        self._rows = 0
        self.points: list[tuple[int, int, int]] = []

    async def _noting(self, batch: Sequence[StreamAppend]) -> Appended:
        self._rows += sum(len(part.events) + len(part.puts) + len(part.deletes) for part in batch)
        appended = await self._append(batch)
        self.points.append((appended.position, self._calls, self._rows))
        return appended

    def count(self, _frame: Any, event: str, _argument: Any) -> None:
        self._calls += event in {"call", "c_call"}

    def ratio(self, column: int) -> float:
        """The last tenth's work for each event, over the first tenth's."""
        many = max(2, len(self.points) // 10)
        tenths = self.points[:many], self.points[-many:]
        rates = [(some[-1][column] - some[0][column]) / (some[-1][0] - some[0][0]) for some in tenths]
        return rates[1] / rates[0]


@pytest.mark.parametrize("work", [COUNT, CALL], ids=["Pass", "Task"])
async def test_a_loop_costs_the_same_all_along(bench: Bench, work: dict[str, Any]) -> None:
    """The last of 5,000 transitions take as many calls and rows as the first, and memory does not keep payloads."""
    engine = await bench.start(registry())
    workflow = await engine.create_workflow("loop", definition(work, 5000))
    counted = Work(bench.store)
    sys.setprofile(counted.count)
    try:
        execution = await engine.trigger(workflow.id, {"n": 0})
        result = await engine.result(execution.id, timeout=60)
    finally:
        sys.setprofile(None)

    assert result.output == {"n": 2500}
    assert counted.ratio(1) < 1.2
    assert counted.ratio(2) < 1.2
