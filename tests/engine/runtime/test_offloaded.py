"""Expressions that take long: they meet their limit, and hold nobody up meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core import ids
from perdure.engine.runtime.processing import facts

BACKTRACKING = '{% $match("' + "a" * 40 + 'b", /^(a+)+$/) %}'
HEAVY = "{% $sum([1..40000].($ * 2)) %}"


def computing(expression: str, **handlers: Any) -> dict[str, Any]:
    """A definition whose one state computes this."""
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Compute",
        "States": {"Compute": {"Type": "Pass", "Output": expression, "End": True, **handlers}},
    }


QUICK = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}


@pytest.fixture
async def engine(bench: Any) -> Engine:
    return await bench.start()


async def test_a_hostile_expression_ends_in_its_error_while_others_go_on(engine: Engine) -> None:
    """A pattern that backtracks for ever fails its own execution; the loop is never held up for long meanwhile."""
    hostile = await engine.create_workflow("hostile", computing(BACKTRACKING))
    quick = await engine.create_workflow("quick", QUICK)
    started = asyncio.ensure_future(engine.trigger(hostile.id, {}))
    ended, longest = 0, 0.0
    while not started.done():
        before = time.perf_counter()
        execution = await engine.trigger(quick.id, {})
        longest = max(longest, time.perf_counter() - before)
        assert (await engine.result(execution.id)).status == "completed"
        ended += 1
    result = await engine.result(started.result().id)
    assert (result.status, result.error) == ("failed", "States.QueryEvaluationError")
    assert ended > 3
    assert longest < 0.9  # decided on the loop it would hold up everybody for the whole second


async def test_a_decision_apart_is_made_again_if_the_stream_has_moved(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decided in a thread from a state that is no more is thrown away, and decided again."""
    monkeypatch.setattr(facts, "DECISION_TIME_S", 0.0001)
    definition = {
        "StartAt": "Ask",
        "States": {
            "Ask": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Compute"},
            "Compute": {"Type": "Pass", "QueryLanguage": "JSONata", "Output": HEAVY, "End": True},
        },
    }
    workflow = await engine.create_workflow("both", definition)
    execution = await engine.trigger(workflow.id, {}, process_id="P-1")
    answers = await asyncio.gather(*(_said(partial(engine.resume, "P-1", {"n": n})) for n in range(8)))
    assert sorted(answers) == ["already restarted"] * 7 + ["restarted"]
    result = await engine.result(execution.id)
    assert (result.status, result.output) == ("completed", 1600040000)
    events = [event async for event in engine.events(execution.id)]
    assert [type(event.event).__name__ for event in events].count("WaitResumed") == 1


async def _said(call: Callable[[], Awaitable[str]]) -> str:
    return await call()


ENDLESS = {
    "StartAt": "There",
    "States": {
        "There": {"Type": "Pass", "Next": "Back"},
        "Back": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.never", "IsPresent": True, "Next": "End"}],
            "Default": "There",
        },
        "End": {"Type": "Succeed"},
    },
}


@pytest.mark.parametrize(
    "definition",
    [ENDLESS, {**computing(f"{{% ({BACKTRACKING[2:-2]}; 1) %}}"), "TimeoutSeconds": 600}],
    ids=["quick", "slow"],
)
async def test_a_run_without_an_end_does_not_keep_a_node_from_stopping(bench: Any, definition: dict[str, Any]) -> None:
    """It stops where it is, alive: the next node's recovery lets it go on."""
    engine = await bench.start()
    workflow = await engine.create_workflow("endless", definition)
    execution = await engine.trigger(workflow.id, {})
    started = time.perf_counter()
    async with asyncio.timeout(8):
        await bench.stop(engine)
    assert time.perf_counter() - started < 8
    row = await bench.store.execution(ids.parse(execution.id))
    assert row.status in ("running", "failed")  # the slow one may meet its limit meanwhile


async def test_many_expressions_of_a_few_milliseconds_hold_nobody_up(engine: Engine) -> None:
    """A decision has so much time together: it stops between two states, and goes on when others had their turn."""
    middling = "{% $count($map([1..4000], function($v){$v*2+1})) %}"
    state = {"Type": "Pass", "Output": middling, "End": True}
    mapping = {
        "QueryLanguage": "JSONata",
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "Items": "{% [1..60] %}",
                "MaxConcurrency": 1,
                "End": True,
                "ItemProcessor": {"StartAt": "Compute", "States": {"Compute": state}},
            }
        },
    }
    workflow = await engine.create_workflow("many", mapping)
    turns: list[float] = []

    async def beat() -> None:
        while True:
            turns.append(time.thread_time())
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    execution = await engine.trigger(workflow.id, {})
    assert (await engine.result(execution.id)).output == [4000] * 60
    beating.cancel()
    longest = max(after - before for before, after in itertools.pairwise(turns))
    assert longest < (turns[-1] - turns[0]) / 3
