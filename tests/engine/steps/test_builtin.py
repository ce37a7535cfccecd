"""The steps that need no network: log and transform."""

from __future__ import annotations

import copy

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.steps import StepContext, StepFailed
from perdure.engine.steps.builtin import builtin_steps
from perdure.engine.steps.http import HttpClient
from tests.present import present

CONTEXT = StepContext(execution_id="e1", state="S", attempt=0, idempotency_key="e1/S/-/1")


async def call(name, value):
    step = present(builtin_steps(HttpClient()).get(name))
    return await step.call(value, CONTEXT)


def now(coroutine):
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


def test_the_built_in_steps():
    """There are three, all async, so that none needs a thread; making them opens nothing."""
    registry = builtin_steps(HttpClient())
    assert registry.names() == ["http_request", "log", "transform"]
    assert all(present(registry.get(name)).is_async for name in registry.names())


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
async def test_log_writes_a_line_and_gives_its_input(level):
    """The event's name is a constant; what users give stands in values alone."""
    value = {
        "message": "hello\x1b[31m",
        "level": level,
        "fields": {"event": "fake", "exc_info": True, "level": 1},
    }
    with structlog.testing.capture_logs() as lines:
        assert await call("log", value) == value
    [line] = lines
    assert (line["event"], line["log_level"], line["execution_id"]) == ("step_log", level, "e1")
    assert (line["text"], line["fields"]) == (value["message"], value["fields"])
    assert "exc_info" not in line


async def test_log_needs_a_message_alone():
    """Level and fields have defaults."""
    with structlog.testing.capture_logs() as lines:
        await call("log", {"message": ""})
    assert (lines[0]["log_level"], lines[0]["fields"]) == ("info", {})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "input"),
        ({}, "message"),
        ({"message": 1}, "message"),
        ({"message": "a", "level": "critical"}, "level"),
        ({"message": "a", "level": ["info"]}, "level"),
        ({"message": "a", "fields": []}, "fields"),
        ({"message": "a", "exc_info": True}, "exc_info"),
    ],
)
async def test_log_refuses_other_input_by_field(value, problem):
    """The error names the field; nothing is logged."""
    with structlog.testing.capture_logs() as lines, pytest.raises(StepFailed, match=problem) as refusal:
        await call("log", value)
    assert refusal.value.error == "Log.InvalidInput"
    assert lines == []


@pytest.mark.parametrize(
    ("given_", "made"),
    [
        ({}, {"a": 1, "b": 2, "c": 3}),
        ({"pick": ["c", "a", "nobody"]}, {"c": 3, "a": 1}),
        ({"pick": []}, {}),
        ({"drop": ["a", "nobody"]}, {"b": 2, "c": 3}),
        ({"pick": ["a", "b"], "drop": ["b"]}, {"a": 1}),
        ({"rename": {"a": "x", "nobody": "y"}}, {"x": 1, "b": 2, "c": 3}),
        ({"rename": {"a": "b", "b": "a"}}, {"b": 1, "a": 2, "c": 3}),
        ({"drop": ["b"], "rename": {"a": "b"}}, {"b": 1, "c": 3}),
        ({"set": {"a": None, "d": [4]}}, {"a": None, "b": 2, "c": 3, "d": [4]}),
        ({"pick": ["a"], "drop": [], "rename": {"a": "z"}, "set": {"a": 0}}, {"z": 1, "a": 0}),
    ],
)
async def test_transform_picks_drops_renames_and_sets_in_that_order(given_, made):
    """The new object has the members in the order in which they came to be there."""
    result = await call("transform", {"value": {"a": 1, "b": 2, "c": 3}, **given_})
    assert list(result.items()) == list(made.items())


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "input"),
        ({}, "value is missing"),
        ({"value": []}, "value must be an object"),
        ({"value": {}, "pick": "a"}, "pick"),
        ({"value": {}, "pick": None}, "pick"),
        ({"value": {}, "drop": [1]}, "drop"),
        ({"value": {}, "rename": ["a"]}, "rename"),
        ({"value": {"a": 1}, "rename": {"a": 1}}, "rename.a"),
        ({"value": {"a": 1, "b": 2}, "rename": {"a": "b"}}, "two members the name b"),
        ({"value": {"a": 1, "b": 2}, "rename": {"a": "x", "b": "x"}}, "two members the name x"),
        ({"value": {}, "set": 1}, "set"),
        ({"value": {}, "sort": True}, "sort"),
    ],
)
async def test_transform_refuses_other_input_by_field(value, problem):
    """The error names the field and what it must be."""
    with pytest.raises(StepFailed, match=problem) as refusal:
        await call("transform", value)
    assert refusal.value.error == "Transform.InvalidInput"


names = st.sampled_from("abcd")
objects = st.dictionaries(names, st.integers())


@given(objects, st.lists(names), st.lists(names), objects)
def test_transform_loses_and_invents_nothing(value, pick, drop, more):
    """Every member comes from where the order of the fields says, and the input stays as it was."""
    given_ = {"value": value, "pick": pick, "drop": drop, "set": more}
    before = copy.deepcopy(given_)
    made = now(call("transform", given_))
    kept = {name: value[name] for name in value if name in pick and name not in drop}
    assert made == {**kept, **more}
    assert given_ == before
