"""The benchmarks themselves work: a short run of each completes all its work."""

from __future__ import annotations

from benchmarks import latency, throughput


async def test_throughput_counts_completed_work() -> None:
    """A short run completes every workflow, and its log holds eight events for each."""
    found = await throughput.measure(total=40, in_flight=8)
    assert found.completed == 40
    assert found.events >= 40 * 8


async def test_latency_measures_both_ways() -> None:
    """A short run gives a time for each start and each resume."""
    started, resumed = await latency.measure(total=5)
    assert len(started) == len(resumed) == 5
