"""A decision that takes the process down at each start is found out and set aside, and the others go on."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.api.dialects.health import why_not_ready
from perdure.engine import Engine
from perdure.engine.core.commands import FireTimer, Recover
from perdure.engine.errors import Unavailable
from perdure.engine.runtime.streams.execution import ExecutionStreamType
from perdure.engine.runtime.streams.stream import HotStream
from perdure.engine.runtime.workers.crash_loop import CALM_MS, CRASHES_MAX, GROUP, CrashLoop
from perdure.store.errors import StoreUnavailable
from perdure.store.memory import MemoryStore
from perdure.store.records import NodeRow
from tests.engine.runtime.conftest import Bench, eventually, rest

SLEEPING = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 30, "End": True}}}


class Death(BaseException):
    """What ends a process, as far as a test can have it: the request is lost, and nothing goes on."""


async def names(engine: Engine, execution_id: str) -> list[str]:
    return [type(recorded.event).__name__ async for recorded in engine.events(execution_id)]


class Poison:
    """Decisions about one execution end the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.execution = ""
        self.deaths = 0
        decide = ExecutionStreamType.decide

        def deadly(kind: ExecutionStreamType, hot: HotStream, command: Any, facts: Any) -> Any:
            is_aside = hot.state.is_quarantined  # then nothing of it is decided
            if hot.text == self.execution and not is_aside and isinstance(command, FireTimer | Recover):
                self.deaths += 1
                raise Death
            return decide(kind, hot, command, facts)

        monkeypatch.setattr(ExecutionStreamType, "decide", deadly)


async def restarted(bench: Bench) -> Engine:
    engine = await Engine.start(bench.store, clock=bench.clock)
    bench.engines.append(engine)
    return engine


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_what_kills_at_each_start_is_set_aside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three deaths in a row starts are careful: two more, and it is known which execution it is."""
    poison = Poison(monkeypatch)
    engine = await bench.start()
    workflow = await engine.create_workflow("w", SLEEPING)
    runs = [await engine.trigger(workflow.id, {"n": n}) for n in range(GROUP + 10)]
    poison.execution = runs[7].id
    await bench.crash(engine)
    bench.clock.push(60_000)  # all timers are due
    told: list[str | None] = []
    for _ in range(10):
        before = poison.deaths
        engine = await restarted(bench)
        node = engine.node
        is_careful = node.crash_loop is not None and node.crash_loop.is_careful
        # Only a careful start takes up who sleeps, before it is done; else its timer fires a moment later.
        await eventually(lambda: poison.deaths > before or (is_careful and node.recovery.is_done.is_set()))  # noqa: B023
        if poison.deaths == before:
            break
        told.append(why_not_ready(engine))
        await bench.crash(engine)
    assert poison.deaths == CRASHES_MAX + 1
    assert told[-2:] == [f"takes up what was under way bit by bit, after {n} deaths in a row" for n in (3, 4)]
    assert why_not_ready(engine) is None
    await rest(engine)
    assert (await names(engine, poison.execution))[-1] == "ExecutionQuarantined"
    for run in runs:
        if run.id != poison.execution:
            assert (await engine.result(run.id)).status == "completed"


async def test_a_node_that_lives_is_in_no_crash_loop(bench: Bench) -> None:
    """Deaths count that follow one another shortly: the one that comes after a while counts from one again."""
    for _ in range(CRASHES_MAX + 1):
        engine = await bench.start()
        bench.clock.push(CALM_MS)
        await rest(engine)
        await bench.crash(engine)
    engine = await bench.start()
    assert engine.node.crash_loop is not None
    assert engine.node.crash_loop.crashes == 1


async def test_a_clean_stop_ends_the_count(bench: Bench) -> None:
    """What stopped did not die."""
    for _ in range(CRASHES_MAX):
        await bench.crash(await bench.start())
    await bench.stop(await bench.start())
    engine = await bench.start()
    assert engine.node.crash_loop is not None
    assert engine.node.crash_loop.crashes == 0


def loop_after(crashes: int, alone_with: bytes) -> CrashLoop:
    """What a node knows after one died that had noted this."""
    dead = NodeRow(b"d" * 16, "dead", 1, 1, None, crashes - 1, alone_with)
    return CrashLoop(MemoryStore(), NodeRow(b"n" * 16, "new", 2, 2, None), [dead])


def test_groups_get_smaller_until_one_is_left() -> None:
    """All in groups; then those of the last one each for itself; then one is guilty, and has no turn at all."""
    streams = [bytes([number]) * 16 for number in range(GROUP + 2)]
    assert list(loop_after(CRASHES_MAX, b"").groups(streams)) == [streams[:GROUP], streams[GROUP:]]
    several = loop_after(CRASHES_MAX, b"".join(streams[3:5]))
    assert several.guilty is None
    assert list(several.groups(streams))[:2] == [[streams[3]], [streams[4]]]
    alone = loop_after(CRASHES_MAX, streams[3])
    assert alone.guilty == streams[3]
    assert streams[3] not in [each for group in alone.groups(streams) for each in group]
    assert loop_after(CRASHES_MAX - 1, streams[3]).guilty is None


async def test_a_careful_start_that_takes_long_is_not_yet_calm(bench: Bench) -> None:
    """The count stays until all have had their turns: a death after a minute of them is one in a row."""
    node = NodeRow(b"n" * 16, "new", 2, 2, None)
    loop = CrashLoop(bench.store, node, [NodeRow(b"d" * 16, "dead", 1, 1, None, CRASHES_MAX - 1, b"")])
    await loop.begin(bench.clock)
    await loop.alone_with([b"a" * 16])
    bench.clock.push(2 * CALM_MS)
    assert loop.crashes == CRASHES_MAX
    await loop.alone_with([])
    bench.clock.push(CALM_MS)
    assert loop.crashes == 0
    loop.close()


async def test_a_careful_start_does_without_timers_that_cannot_be_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was under way is taken up all the same, and the timers are fired when the store serves again."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", SLEEPING)
    run = await engine.trigger(workflow.id)
    for _ in range(CRASHES_MAX):
        await bench.crash(engine)
        engine = await bench.start()
    await bench.crash(engine)
    bench.clock.push(30_000)

    async def failing(*_: Any, **__: Any) -> Any:
        message = "the disk does not answer"
        raise StoreUnavailable(message)

    with monkeypatch.context() as broken:
        broken.setattr(bench.store, "due_timers", failing)
        broken.setattr(bench.store, "timers_of", failing)
        engine = await restarted(bench)
        await eventually(engine.node.recovery.is_done.is_set)
        await rest(engine)
    await bench.push(engine, 2_000)
    assert (await engine.result(run.id, timeout=5)).status == "completed"


async def test_nobody_begins_anything_while_others_are_alone(bench: Bench) -> None:
    """Or who is alone would be blamed for a death by what a caller began meanwhile. Workflows may be changed."""
    engine = await bench.start()
    workflow = await engine.create_workflow("w", SLEEPING)
    runs = [await engine.trigger(workflow.id) for _ in range(3)]
    for _ in range(CRASHES_MAX):
        await bench.crash(engine)
        engine = await restarted(bench)
        if not engine.node.processor.is_careful:
            await eventually(engine.node.recovery.is_done.is_set)
    assert not engine.node.recovery.is_done.is_set()
    with pytest.raises(Unavailable, match="takes up what was under way bit by bit"):
        await engine.trigger(workflow.id)
    await engine.create_workflow("v", SLEEPING)
    await eventually(engine.node.recovery.is_done.is_set)
    assert (await engine.trigger(workflow.id)).id > runs[-1].id
