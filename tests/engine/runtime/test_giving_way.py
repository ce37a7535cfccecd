"""Large work gives way: runs that go on by themselves, however many, make nobody else wait for all of them."""

from __future__ import annotations

from typing import Any

from perdure.engine.core import commands as c
from perdure.engine.runtime.processing.inbox import ADVANCE_EVENTS_MAX
from perdure.engine.runtime.streams.stream_types import ExecutionStreamType
from perdure.engine.steps import Registry
from tests.engine.runtime.conftest import Bench
from tests.engine.runtime.test_places import calling

LOOP: dict[str, Any] = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Choice", "Choices": [{"Variable": "$.stop", "IsPresent": True, "Next": "End"}], "Default": "B"},
        "B": {"Type": "Pass", "Next": "A"},
        "End": {"Type": "Succeed"},
    },
}
LOOPS = 12


async def test_endless_loops_have_one_turn_between_the_turns_of_others(bench: Bench, monkeypatch: Any) -> None:
    """A run with a step needs a few turns; each waits for one loop, not for all of them."""
    steps = Registry()

    @steps.step("quick")
    async def quick(_: Any) -> str:
        return "done"

    engine = await bench.start(steps)
    looping = await engine.create_workflow("loop", LOOP)
    quick_one = await engine.create_workflow("quick", calling("quick"))
    turns: list[str] = []
    real = ExecutionStreamType.decide

    def counted(self: ExecutionStreamType, hot: Any, command: Any, facts: Any) -> Any:
        if isinstance(command, c.Advance):
            turns.append(hot.text)
        return real(self, hot, command, facts)

    monkeypatch.setattr(ExecutionStreamType, "decide", counted)
    loops = [(await engine.trigger(looping.id)).id for _ in range(LOOPS)]
    turns.clear()
    bench.store.attempts.clear()
    run = await engine.trigger(quick_one.id)
    assert (await engine.result(run.id)).status == "completed"
    assert 0 < len(turns) < LOOPS
    assert len(set(turns)) == len(turns), "no loop has a second turn before all have had one"
    assert max(sum(len(part.events) for part in batch) for batch in bench.store.attempts) < 2 * ADVANCE_EVENTS_MAX
    for loop in loops:
        await engine.terminate(loop)
