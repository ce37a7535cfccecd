"""Look-ups that are wanted at once are made together, and each sees what was there when it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from perdure.engine.runtime.streams import loader as loading
from perdure.engine.services.batched_lookups import BatchedLookups, BatchedReads
from perdure.store.records import IdempotencyRow, ProcessIdRow, StoredEvent, StreamRow
from tests.engine.runtime.conftest import WAITING, Bench, GatedStore, eventually


class Counting:
    """A dict that is read, each time when the gate lets it."""

    def __init__(self) -> None:
        self.rows = {"a": 1, "b": 2}
        self.reads: list[list[str]] = []
        self.gate = asyncio.Event()
        self.together = BatchedReads(self.read)

    async def read(self, keys: list[str]) -> dict[str, int]:
        self.reads.append(keys)
        found = {key: self.rows[key] for key in keys if key in self.rows}
        await self.gate.wait()
        if "broken" in keys:
            raise OSError(*keys)
        return found


async def test_what_is_asked_at_once_is_read_at_once() -> None:
    """Many look-ups of few keys are one read; what is not there is null."""
    counting = Counting()
    counting.gate.set()

    assert await asyncio.gather(*map(counting.together.get, "abcab")) == [1, 2, None, 1, 2]
    assert counting.reads == [["a", "b", "c"]]


async def test_a_look_up_is_not_answered_by_a_read_that_began_before_it() -> None:
    """Else who was told that something is on disk might not find it."""
    counting = Counting()
    first = asyncio.create_task(counting.together.get("c"))
    await eventually(lambda: counting.reads)
    counting.rows["c"] = 3
    second = asyncio.create_task(counting.together.get("c"))
    await asyncio.sleep(0)
    counting.gate.set()

    assert (await first, await second) == (None, 3)


async def test_an_error_is_told_to_those_who_asked_and_the_next_are_served() -> None:
    """A caller that went away meanwhile concerns nobody."""
    counting = Counting()
    asked = [asyncio.create_task(counting.together.get(key)) for key in ("a", "broken", "b")]
    await eventually(lambda: counting.reads)
    asked[0].cancel()
    later = asyncio.create_task(counting.together.get("b"))
    await asyncio.sleep(0)
    counting.gate.set()

    for task, error in zip(asked, (asyncio.CancelledError, OSError, OSError), strict=True):
        with pytest.raises(error):
            await task
    assert await later == 2
    assert counting.reads == [["a", "broken", "b"], ["b"]]


async def test_names_of_several_workspaces_are_told_apart() -> None:
    """What is wanted in different workspaces at once is read for each of them, and never answered from another's."""
    reads: list[tuple[bytes, bytes, list[str]]] = []

    async def read(organization_id: bytes, workspace_id: bytes, names: list[str]) -> dict[str, bytes]:
        reads.append((organization_id, workspace_id, names))
        return {name: workspace_id for name in names if name != "nobody"}

    together = BatchedLookups(read)
    asked = [(b"O", b"V", "a"), (b"O", b"W", "a"), (b"O", b"V", "b"), (b"O", b"W", "nobody")]

    assert await asyncio.gather(*map(together.get, asked)) == [b"V", b"W", b"V", None]
    assert reads == [(b"O", b"V", ["a", "b"]), (b"O", b"W", ["a", "nobody"])]


LONG: dict[str, Any] = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Pass", "Next": "Ask"},
        "Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": True},
    },
}


class Asked(GatedStore):
    """A store that counts what a cold resume asks of it, and takes a few turns to answer, as one with a file does."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def _note(self, what: str) -> None:
        self.asked.append(what)
        for _ in range(3):
            await asyncio.sleep(0)

    async def process_id(self, organization_id: bytes, workspace_id: bytes, process_id: str) -> ProcessIdRow | None:
        await self._note("names")
        return await super().process_id(organization_id, workspace_id, process_id)

    async def process_ids_named(
        self, organization_id: bytes, workspace_id: bytes, process_ids: Sequence[str]
    ) -> dict[str, ProcessIdRow]:
        await self._note("names")
        return await super().process_ids_named(organization_id, workspace_id, process_ids)

    async def idempotency_of(
        self, organization_id: bytes, workspace_id: bytes, keys: Sequence[str]
    ) -> dict[str, IdempotencyRow]:
        await self._note("keys")
        return await super().idempotency_of(organization_id, workspace_id, keys)

    async def streams_of(self, stream_ids: Sequence[bytes]) -> dict[bytes, StreamRow]:
        await self._note("streams")
        return await super().streams_of(stream_ids)


async def test_fifty_cold_resumes_take_a_few_reads() -> None:
    """Runs that are not in memory are found and read together, however their resumes come in."""
    bench = Bench()
    bench.store = store = Asked()
    engine = await bench.start()
    workflow = await engine.create_workflow("w", WAITING)
    names = [f"P-{number}" for number in range(50)]
    await asyncio.gather(*(engine.trigger(workflow.id, {}, process_id=name) for name in names))
    store.asked.clear()

    async def resume(turns: int, name: str) -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await engine.resume(name, {"ok": True}, idempotency_key=f"key of {name}")

    assert set(await asyncio.gather(*map(resume, range(50), names))) == {"restarted"}
    assert 0 < store.asked.count("names") <= 20
    assert 0 < store.asked.count("keys") <= 20
    assert 0 < store.asked.count("streams") <= 20
    await bench.stop(engine)


async def test_a_short_run_does_not_wait_for_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two cold runs that are resumed at once the short one goes on while the long one is still being read."""
    monkeypatch.setattr(loading, "EVERY", 4)
    bench = Bench()
    bench.store = store = Asked()
    engine = await bench.start()
    long = await engine.trigger((await engine.create_workflow("long", LONG)).id, {}, process_id="long")
    await engine.trigger((await engine.create_workflow("short", WAITING)).id, {}, process_id="short")
    await engine.node.processor.settle()
    gate = asyncio.Event()
    real = store.events

    async def events(stream_id: bytes, **more: Any) -> list[StoredEvent]:
        await gate.wait()
        return await real(stream_id, **more)

    monkeypatch.setattr(store, "events", events)
    resuming = asyncio.create_task(engine.resume("long", {}))
    async with asyncio.timeout(5):
        assert await engine.resume("short", {}) == "restarted"
    assert not resuming.done()
    gate.set()
    assert await resuming == "restarted"
    assert (await engine.result(long.id)).status == "completed"
    await bench.stop(engine)
