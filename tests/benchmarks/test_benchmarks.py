"""The benchmarks themselves work: a short run of each completes all its work."""

from __future__ import annotations

import cProfile
from pathlib import Path

import pytest

from benchmarks import cli, dialects, latency, loop, over_http, records, throughput, timers, wide
from perdure.engine.database import open_store
from perdure.store.memory import MemoryStore
from perdure.store.protocols import PLACES, Store, WriterPlace


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


@pytest.mark.parametrize("of", wide.EACH)
async def test_what_a_wide_run_costs_others_is_measured(of: str) -> None:
    """A short run says for each part of the work how long others waited."""
    found = await wide.wide(of, 300, "thread")
    assert [each.what for each in found][-2:] == ["terminated", "after that"]
    assert all(each.p99_ms > 0 for each in found)


async def test_what_endless_loops_cost_others_is_measured() -> None:
    """A short run says how long others waited."""
    assert (await wide.loops(3, 0.2, "thread")).p99_ms > 0


async def test_requests_over_http_are_measured_beside_the_server_alone() -> None:
    """Cold resumes are all answered as they should be, and cost more than answers without any work."""
    resumes = await over_http.resumes(total=50, connections=10)
    assert [answer["message"] for answer in resumes.ours.answers] == ["restarted"] * 50
    assert resumes.ours.cpu_seconds > resumes.alone.cpu_seconds
    assert len(resumes.ours.times) == len(resumes.alone.answers) == 50


def test_commands_are_measured_beside_python_alone() -> None:
    """A command is started, and takes longer than an interpreter that does nothing."""
    found = cli.measure(1, [["history"]])
    alone = found.pop("python alone")
    assert found["perdure history"].cpu_ms > alone.cpu_ms
    assert alone.ms > 0


async def test_timers_cost_beside_many_what_they_cost_beside_few(tmp_path: Path) -> None:
    """To start with them, to add and to fire one; what is allowed above a third more is the noise of a short run."""

    async def opened(name: str) -> Store:
        return await open_store(f"sqlite:///{tmp_path / name}.db")

    found = await timers.measure(opened, many=2000, few=100, rounds=2, at_once=100)
    assert [each.what for each in found] == ["starting", "adding", "firing", "firing when all are due at once"]
    assert {each.what: each.ratio for each in found if each.ratio > 2} == {}


async def test_firing_calls_no_more_beside_many(tmp_path: Path) -> None:
    """Of functions, which no noise can change: for each of thousands that are due at once what it does of hundreds."""

    async def calls_for_each(pending: int, count: int) -> float:
        async def opened() -> Store:
            return await open_store(f"sqlite:///{tmp_path / str(pending)}.db")

        await timers.fill(opened, pending)
        measured = timers.Pending(await opened(), pending)
        await measured.start()
        profile = cProfile.Profile()
        profile.enable()
        try:
            await measured.fire_of_all(count)
        finally:
            profile.disable()
        await measured.close()
        return sum(entry.callcount for entry in profile.getstats()) / count

    assert await calls_for_each(2000, 1500) <= 1.3 * await calls_for_each(300, 300)


async def test_reading_a_run_by_its_steps_is_measured() -> None:
    """A short run gives a time for each part of it."""
    found = await records.measure(20)
    assert all(cost.ms > 0 for cost in found.values())
    assert found["all: RunRecords.of"].ms > found["put together to steps"].ms


async def test_dialects_are_measured_beside_each_other() -> None:
    """A short run starts runs through each of them in each round, and reads one through each."""
    started = await dialects.starts(total=10, rounds=2, connections=5)
    assert started.keys() == dialects.STARTS.keys()
    assert all(len(each.answers) == 10 for rounds in started.values() for each in rounds.own)
    assert all(rounds.ratio > 0 for rounds in started.values())
    read = await dialects.reads(steps=20, times=2)
    assert len(read["runs"].answers[0]["data"]["steps"]) == 20
    assert len(read["service"].answers[0]["data"]["steps"]) == 20
