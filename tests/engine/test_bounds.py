"""What a run may make has a bound: in size, however much of it is shared, and in depth."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import Engine
from perdure.engine.core.commands import Resume
from perdure.engine.errors import Invalid
from perdure.engine.language.evaluate.sizes import LEVELS_MAX, exceeds
from perdure.engine.limits import Limits
from perdure.engine.steps import Registry
from perdure.engine.testing import Succeeded, Unanswered, simulate
from perdure.engine.testing import test_state as try_state
from perdure.store.memory import MemoryStore
from tests.engine.core.checked import given
from tests.engine.runtime.conftest import eventually

ROOT = Path(__file__).parents[2]
DOUBLE = {"a.$": "$", "b.$": "$"}
MIB = 1024 * 1024


def one(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A machine of one state."""
    return {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True, **state}}, **more}


def chain(parameters: dict[str, Any], count: int) -> dict[str, Any]:
    """So many Pass states in a row."""
    states = {
        f"S{number}": {"Type": "Pass", "Parameters": parameters, "Next": f"S{number + 1}"} for number in range(count)
    }
    return {"StartAt": "S0", "States": {**states, f"S{count}": {"Type": "Succeed"}}}


LOOP: dict[str, Any] = {
    "StartAt": "A",
    "States": {"A": {"Type": "Pass", "Parameters": DOUBLE, "Next": "B"}, "B": {"Type": "Choice"}},
}
LOOP["States"]["B"] |= {"Choices": [{"Variable": "$.never", "IsPresent": True, "Next": "Z"}], "Default": "A"}
LOOP["States"]["Z"] = {"Type": "Succeed"}
ARRAYS = {"l.$": "States.Array($.l, $.l, $.l, $.l)"}
PROCESSOR = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
BOMBS: dict[str, tuple[dict[str, Any], Any]] = {
    "a loop that doubles": (LOOP, {}),
    "28 states that double": (chain(DOUBLE, 28), {}),
    "28 states of arrays": (chain(ARRAYS, 28), {"l": [1]}),
    "12,000 members": (one({"Parameters": {f"m{n}.$": "$" for n in range(12_000)}}), {"x": "y" * 900_000}),
    "12,000 variables": (one({"Assign": {f"m{n}.$": "$.x" for n in range(12_000)}}), {"x": "y" * 900_000}),
    "a selector": (
        one({"Type": "Map", "ItemsPath": "$.l", "ItemSelector": {"v.$": "$", "w.$": "$"}, "ItemProcessor": PROCESSOR}),
        {"l": list(range(2000)), "x": "y" * 600_000},
    ),
    "a text of arrays": (
        one({"Parameters": {"t.$": "States.JsonToString(States.Array($, $, $, $, $, $, $, $, $, $))"}}),
        {"x": "y" * 900_000},
    ),
    "a path that descends": (one({"InputPath": "$..a..a..a"}), {"a": {"a": {"a": {"a": ["x" * 300_000] * 2}}}}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_grows_without_end_fails_the_run(name: str) -> None:
    """Each ends with an error of the language, soon, and without the text being made to be measured."""
    definition, run_input = BOMBS[name]
    started = time.process_time()
    run = simulate(definition, run_input, tasks=lambda _: Unanswered())
    assert run.status == "FAILED"
    assert run.error in {"States.DataLimitExceeded", "States.Runtime", "States.IntrinsicFailure"}
    assert time.process_time() - started < 10


def test_it_takes_little_memory_to_find_out() -> None:
    """In a process that may have 700 MB in all, every one of these ends with its error."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))\n"
        "from tests.engine.test_bounds import BOMBS\n"
        "from perdure.engine.testing import Unanswered, simulate\n"
        "for definition, run_input in BOMBS.values():\n"
        "    assert simulate(definition, run_input, tasks=lambda _: Unanswered()).status == 'FAILED'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_error_is_aws_s_and_may_be_caught() -> None:
    """A Pass whose text is too large fails as AWS words it; a smaller setting fails what the default lets through."""
    repeated = one({"Parameters": {f"m{n}.$": "$.t" for n in range(60)}})
    run = simulate(repeated, {"t": "x" * 300_000}, tasks=lambda _: Unanswered())
    assert (run.error, run.cause) == (
        "States.DataLimitExceeded",
        "The state/task 'A' returned a result with a size exceeding the maximum number of bytes service limit.",
    )
    small = {"t": "x" * 3000}
    assert simulate(repeated, small, tasks=lambda _: Unanswered()).status == "SUCCEEDED"
    limited = simulate(repeated, small, tasks=lambda _: Unanswered(), payload_max_bytes=100_000)
    assert limited.error == "States.DataLimitExceeded"


def test_a_result_of_a_step_is_bounded_in_virtual_time_too() -> None:
    """A mock gives no more than a step could."""
    task = one({"Type": "Task", "Resource": "large"})
    assert simulate(task, {}, tasks=lambda _: Succeeded("x" * 1_100_000)).error == "States.DataLimitExceeded"
    assert simulate(task, {}, tasks=lambda _: Succeeded("x" * 1_000_000)).status == "SUCCEEDED"


def test_depth_is_bounded_too() -> None:
    """A loop that only goes deeper ends before anybody who encodes its value runs out of levels."""
    loop = {**LOOP, "States": {**LOOP["States"], "A": {**LOOP["States"]["A"], "Parameters": {"a.$": "$"}}}}
    assert simulate(loop, {}, tasks=lambda _: Unanswered()).error == "States.DataLimitExceeded"


def test_sizes_are_exact_at_the_limit() -> None:
    """A value of just so many bytes passes, one of one byte more does not; escapes and Unicode count as written."""
    for value, size in (
        ("x" * 98, 100),
        (["x" * 96], 100),
        ({"ab": "é" * 10}, 29),
        ("\x00" * 10, 62),
        ([1] * 50, 101),
        ('"' * 49, 100),
    ):
        assert not exceeds(value, size)
        assert exceeds(value, size - 1)
    deep: Any = 1
    for _ in range(LEVELS_MAX):
        deep = [deep]
    assert not exceeds(deep, MIB)
    assert exceeds([deep], MIB)


def test_a_value_that_is_shared_counts_in_every_place() -> None:
    """Sixty doublings are 2**60 places of one object; to say that it is too large takes no time."""
    value: Any = {"x": 1}
    for _ in range(60):
        value = {"a": value, "b": value}
    started = time.process_time()
    assert exceeds(value, MIB)
    assert time.process_time() - started < 2


DOUBLED = one({"Parameters": {f"m{n}.$": "$" for n in range(40)}})


def test_what_comes_in_is_bounded_like_what_is_made() -> None:
    """An input or a payload that no state could have made is the caller's mistake, and nothing is recorded."""
    run = given({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "wait_for_resume", "End": True}}})
    run.when(Resume("x" * MIB)).then_nothing().then_refuses("VALIDATION_ERROR")
    run.when(Resume("x" * (MIB - 2))).then_is("completed")
    deep: Any = 1
    for _ in range(LEVELS_MAX + 1):
        deep = [deep]
    with pytest.raises(Invalid, match="input: it must have at most 1,048,576 bytes of JSON text, and at most 256"):
        simulate(DOUBLED, deep, tasks={})


async def test_the_setting_is_for_all_that_a_run_is_given() -> None:
    """Inputs, payloads, answers by token and results of steps have the same limit, each with its own error."""
    steps, tokens = Registry(), list[str]()

    @steps.step("large")
    async def large(_: Any) -> str:
        return "x" * 3000

    @steps.step("ask")
    async def ask(value: Any) -> None:
        tokens.append(value["token"])

    states = {
        "Token": {
            "Type": "Task",
            "Resource": "ask.waitForTaskToken",
            "Parameters": {"token.$": "$$.Task.Token"},
            "Next": "Wait",
        },
        "Wait": {"Type": "Task", "Resource": "wait_for_resume", "Next": "Large"},
        "Large": {"Type": "Task", "Resource": "large", "End": True},
    }
    async with Engine.open(MemoryStore(), steps=steps, limits=Limits(payload_max_bytes=2000)) as engine:
        workflow = await engine.create_workflow("w", {"StartAt": "Token", "States": states})
        with pytest.raises(Invalid, match="input"):
            await engine.trigger(workflow.id, {"a": "x" * 3000})
        run = await engine.trigger(workflow.id)
        await eventually(lambda: tokens)
        with pytest.raises(Invalid, match="output"):
            await engine.complete_task(tokens[0], "x" * 3000)
        await engine.complete_task(tokens[0], "x")
        with pytest.raises(Invalid, match="payload"):
            await engine.resume(run.id, "x" * 3000)
        await engine.resume(run.id, "x")
        result = await engine.result(run.id)
        assert (result.error, result.cause) == (
            "States.DataLimitExceeded",
            "The state/task 'Large' returned a result with a size exceeding the maximum number of bytes service limit.",
        )


def test_a_trial_of_one_state_shows_nothing_larger() -> None:
    """What a template would make a gigabyte of is left out of what is shown, and the outcome says why."""
    tried = try_state({"Type": "Pass", "Parameters": {f"m{n}.$": "$" for n in range(60)}, "End": True}, "x" * 300_000)
    assert (tried.status, tried.error) == ("FAILED", "States.DataLimitExceeded")
    assert set(tried.inspection) == {"input", "afterInputPath"}
    tried = try_state({"Type": "Task", "Resource": "r", "End": True}, {}, result=Succeeded("x" * MIB))
    assert tried.error == "States.DataLimitExceeded"
    with pytest.raises(ValueError, match="input: it must have at most 100 bytes"):
        try_state({"Type": "Pass", "End": True}, "x" * 100, payload_max_bytes=100)
