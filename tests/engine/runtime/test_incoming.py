"""What an embedding caller gives is a JSON value of the run's own from then on; what is none is the caller's error."""

from __future__ import annotations

import asyncio
import json
from collections import UserDict
from typing import Any

import pytest

from perdure.engine.core import decide as decide_module
from perdure.engine.core import ids
from perdure.engine.core.commands import FireTimer, Resume
from perdure.engine.errors import Invalid, NotFound, Unavailable
from perdure.engine.runtime.streams.loader import Loader
from perdure.engine.steps import Registry

from .conftest import WAITING, Bench, rest

HALF = "\ud800"
BAD: dict[str, tuple[Any, str]] = {
    "an object": (object(), "a value of type object"),
    "half a pair": (f"a{HALF}", "half of a surrogate pair"),
    "half a pair as a key": ({HALF: 1}, "half of a surrogate pair"),
    "a set": ({1, 2}, "a value of type set"),
    "not a number": (float("nan"), "the number nan"),
    "a key that is no text": ({1: 2}, "a key that is no text"),
    "a mapping": (UserDict(a=1), "a value of type UserDict"),
    "too deep": (json.loads("[" * 70 + "]" * 70), "64 levels"),
    "too large": ("x" * 1_048_577, "more than 1,048,576 bytes"),
}
TOKEN = {
    "StartAt": "Ask",
    "States": {
        "Ask": {"Type": "Task", "Resource": "ask.waitForTaskToken", "Parameters": {"t.$": "$$.Task.Token"}, "End": True}
    },
}
LATER: dict[str, Any] = {
    "StartAt": "Wait",
    "States": {
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Copy"},
        "Copy": {"Type": "Pass", "Parameters": {"amount.$": "$.amounts[0]"}, "End": True},
    },
}


def asking() -> tuple[Registry, list[str]]:
    """Give a registry whose step is told task tokens, and the list of them."""
    steps, tokens = Registry(), list[str]()

    @steps.step("ask")
    async def ask(value: Any) -> None:
        tokens.append(value["t"])

    return steps, tokens


@pytest.mark.parametrize("name", BAD)
async def test_a_value_that_is_no_json_is_refused(bench: Bench, name: str) -> None:
    """As input, payload or output: it is said what is wrong, nothing is recorded, and a good one is taken then."""
    value, problem = BAD[name]
    steps, tokens = asking()
    engine = await bench.start(steps)
    workflow = await engine.create_workflow("ask", WAITING)
    waits = await engine.create_workflow("token", TOKEN)
    with pytest.raises(Invalid, match=f"run_input: .*{problem}"):
        await engine.trigger(workflow.id, value)
    execution = await engine.trigger(workflow.id, {}, process_id="P")
    with pytest.raises(Invalid, match=f"payload: .*{problem}"):
        await engine.resume("P", value)
    assert await engine.resume("P", {"ok": 1}) == "restarted"
    assert (await engine.result(execution.id)).output == {"answer": {"ok": 1}}
    asked = await engine.trigger(waits.id)
    await rest(engine)
    with pytest.raises(Invalid, match=f"output: .*{problem}"):
        await engine.complete_task(tokens[0], value)
    await engine.complete_task(tokens[0], [1])
    assert (await engine.result(asked.id)).output == [1]
    if name != "too large":
        bad = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": value, "End": True}}}
        with pytest.raises(Invalid, match=f"definition: .*{problem}"):
            await engine.create_workflow("bad", bad)


async def test_a_text_that_cannot_be_written_is_refused(bench: Bench) -> None:
    """Whichever argument it is; the run is as it was."""
    steps, tokens = asking()
    engine = await bench.start(steps)
    workflow = await engine.create_workflow("ask", WAITING)
    waits = await engine.create_workflow("token", TOKEN)
    await engine.trigger(waits.id)
    await engine.trigger(workflow.id, process_id="P")
    await rest(engine)
    calls = [
        lambda: engine.create_workflow(HALF, WAITING),
        lambda: engine.create_workflow("a", WAITING, description=HALF),
        lambda: engine.create_workflow("a", f'{{"Comment": "{HALF}"}}'),
        lambda: engine.trigger(workflow.id, process_id=HALF),
        lambda: engine.trigger(workflow.id, idempotency_key=HALF),
        lambda: engine.resume(HALF, {}),
        lambda: engine.resume("P", {}, state=HALF),
        lambda: engine.resume("P", {}, wait_id=HALF),
        lambda: engine.resume("P", {}, idempotency_key=HALF),
        lambda: engine.terminate("P", HALF),
        lambda: engine.terminate("P", idempotency_key=HALF),
        lambda: engine.complete_task(tokens[0], 1, idempotency_key=HALF),
        lambda: engine.fail_task(tokens[0], HALF),
        lambda: engine.fail_task(tokens[0], "E", HALF),
        lambda: engine.terminate("P", 5),  # type: ignore[arg-type]  # no text at all
    ]
    for call in calls:
        with pytest.raises(Invalid):
            await call()
    with pytest.raises(NotFound):
        await engine.heartbeat(f"{tokens[0]}{HALF}")
    assert await engine.resume("P", {}) == "restarted"
    await engine.fail_task(tokens[0], "E")


async def test_what_a_caller_does_with_its_own_value_changes_no_run(bench: Bench) -> None:
    """Not the input, nor a payload, nor the definition."""
    engine = await bench.start()
    definition = {**LATER}
    workflow = await engine.create_workflow("later", definition)
    definition.clear()
    given: dict[str, Any] = {"amounts": [1]}
    execution = await engine.trigger(workflow.id, given)
    given["amounts"][0] = 999
    await bench.push(engine, 1000)
    assert (await engine.result(execution.id)).output == {"amount": 1}

    resting = {**LATER["States"]["Wait"], "Next": "Done"}
    states = {"Ask": {**WAITING["States"]["Ask"], "Next": "Rest"}, "Rest": resting, "Done": {"Type": "Succeed"}}
    ask = await engine.create_workflow("ask", {"StartAt": "Ask", "States": states})
    answered = await engine.trigger(ask.id, process_id="P")
    payload = {"n": [1]}
    await engine.resume("P", payload)
    payload["n"][0] = 999
    await bench.push(engine, 1000)
    assert (await engine.result(answered.id)).output == {"answer": {"n": [1]}}


async def test_a_result_is_a_copy(bench: Bench) -> None:
    """Two who wait for one run get the same value, whatever the first one does with its own."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    execution = await engine.trigger(workflow.id, process_id="P")
    both = [asyncio.create_task(engine.result(execution.id)) for _ in range(2)]
    await asyncio.sleep(0)
    await engine.resume("P", {"n": [1]})
    first, second = await asyncio.gather(*both)
    first.output["answer"]["n"].append(2)
    assert second.output == {"answer": {"n": [1]}}


async def test_a_command_that_cannot_be_written_sets_nothing_aside(bench: Bench) -> None:
    """Whoever sends one past the engine is told that it is wrong; the run goes on, and a new one has not begun."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    execution = await engine.trigger(workflow.id, process_id="P")
    for value in (object(), {"x": [HALF]}):
        for call in (engine.services.runs.resume, engine.services.runs.trigger):
            target: Any = "P" if call == engine.services.runs.resume else ids.parse(workflow.id)
            with pytest.raises(Invalid, match="cannot be written as JSON"):
                await call(await engine._caller(), target, value)
    assert len((await engine.executions()).items) == 1
    assert await engine.resume("P", {}) == "restarted"
    assert (await engine.result(execution.id)).status == "completed"


async def test_a_lack_of_memory_sets_nothing_aside(bench: Bench, monkeypatch: Any) -> None:
    """It is nobody's defect: a caller is told to come again, and a timer is fired a second later."""
    engine = await bench.start()
    workflow = await engine.create_workflow("ask", WAITING)
    later = await engine.create_workflow("later", LATER)
    await engine.trigger(workflow.id, process_id="P")
    sleeping = await engine.trigger(later.id, {"amounts": [1]})
    real = dict(decide_module._DECIDE)

    def short(*_: Any) -> Any:
        raise MemoryError

    for command in (Resume, FireTimer):
        monkeypatch.setitem(decide_module._DECIDE, command, short)
    with pytest.raises(Unavailable, match="not enough memory"):
        await engine.resume("P", {})
    await bench.push(engine, 1000)
    for command in (Resume, FireTimer):
        monkeypatch.setitem(decide_module._DECIDE, command, real[command])
    await bench.push(engine, 1000)
    assert (await engine.result(sleeping.id)).output == {"amount": 1}
    assert await engine.resume("P", {}) == "restarted"
    assert engine.node.metrics.quarantined.values == {(): 0}


async def test_a_lack_of_memory_while_a_run_is_read_puts_off_work_from_inside(bench: Bench, monkeypatch: Any) -> None:
    """The timer is not given up until the next start."""
    engine = await bench.start()
    workflow = await engine.create_workflow("later", LATER)
    sleeping = await engine.trigger(workflow.id, {"amounts": [1]})
    real = Loader._load

    async def short(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Loader, "_load", short)
    await bench.push(engine, 1000)
    monkeypatch.setattr(Loader, "_load", real)
    await bench.push(engine, 1000)
    assert (await engine.result(sleeping.id)).output == {"amount": 1}
