"""The benchmarks themselves work: a short run of each completes all its work."""

from __future__ import annotations

import pytest

from benchmarks import latency, loop, throughput
from store.memory import MemoryStore
from store.protocols import PLACES, WriterPlace


@pytest.mark.parametrize("writer", PLACES)
async def test_throughput_counts_completed_work(writer: WriterPlace) -> None:
    """A short run completes every workflow, and its log holds eight events for each."""
    found = await throughput.measure(total=40, in_flight=8, writer=writer)
    assert found.completed == 40
    assert found.events >= 40 * 8


async def test_latency_measures_both_ways() -> None:
    """A short run gives a time for each start and each resume."""
    started, resumed = await latency.measure(total=5)
    assert len(started) == len(resumed) == 5


@pytest.mark.parametrize("work", [loop.COUNT, loop.CALL])
async def test_a_loop_is_measured_in_tenths(work: dict[str, object]) -> None:
    """A short run gives a time for each tenth, and is read back both ways."""
    found = await loop.measure(MemoryStore(), work, transitions=20_000 if work is loop.COUNT else 400)
    assert all(min(found.us(number)) > 0 for number in (0, 5, 9))
    assert found.from_snapshot_ms > 0
    assert found.from_start_ms > 0
