"""The steps that need no network: log, transform and webhook_reply."""

from __future__ import annotations

import copy

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language.formats.step_list import compile_steps
from perdure.engine.steps import StepContext, StepFailed
from perdure.engine.steps.action_forms import ACTION_FORMS
from perdure.engine.steps.builtin import builtin_steps
from perdure.engine.steps.http import HttpClient
from perdure.engine.testing import simulate
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
    """There are four, all async, so that none needs a thread; making them opens nothing."""
    registry = builtin_steps(HttpClient())
    assert registry.names() == ["http_request", "log", "transform", "webhook_reply"]
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


@pytest.mark.parametrize(
    ("kind", "source", "made"),
    [
        ("direct", [1], [1]),
        ("lowercase", "ÀB", "àb"),
        ("uppercase", "ß", "SS"),
        ("capitalize", "ada", "Ada"),
        ("trim", "  a  ", "a"),
        ("number", "12.5", 12.5),
        ("string", 7, "7"),
        ("boolean", "Yes", True),
        ("boolean", "no", False),
        ("date", 0, "1970-01-01T00:00:00.000Z"),
    ],
)
async def test_mapping_rules_give_what_a_transform_of_a_step_list_gives(kind, source, made):
    """The step and the compiled machine agree, for each kind of rule, on paths, defaults and targets."""
    config = {
        "sourceData": {"a": {"b": [source]}},
        "mappingRules": [
            {"source": "a.b.0", "target": "x.y", "transform": kind},
            {"source": "a.nobody", "target": "x.z", "transform": kind, "default": {"d": 1}},
            {"source": "$", "target": "all"},
        ],
    }
    result = await call("transform", config)
    assert result == {"x": {"y": made, "z": {"d": 1}}, "all": config["sourceData"], "result": result["result"]}
    compiled = compile_steps(
        {"name": "t", "steps": [{"id": "t", "type": "transform", "config": config}]}, actions=ACTION_FORMS
    )
    assert simulate(compiled.definition, {}, tasks={}).output == result


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"sourceData": 1}, "mappingRules is missing"),
        ({"mappingRules": []}, "sourceData is missing"),
        ({"sourceData": 1, "mappingRules": [], "value": {}}, "value and mappingRules"),
        ({"sourceData": 1, "mappingRules": {}}, "must be a list"),
        ({"sourceData": 1, "mappingRules": [1]}, "mappingRules.0 must be an object"),
        ({"sourceData": 1, "mappingRules": [{"sorce": "a"}]}, r"mappingRules.0.sorce .* Did you mean 'source'"),
        ({"sourceData": 1, "mappingRules": [{"source": "a"}]}, "mappingRules.0.target"),
        ({"sourceData": 1, "mappingRules": [{"source": "a", "target": "b", "transform": "x"}]}, "0.transform must be"),
        (
            {"sourceData": {"a": "x"}, "mappingRules": [{"source": "a", "target": "b", "transform": "number"}]},
            "mappingRules.0 cannot make number of a",
        ),
        (
            {
                "sourceData": {"o": {}},
                "mappingRules": [{"source": "o", "target": "b"}, {"source": "o", "target": "b.c"}],
            },
            "mappingRules.1.target: another rule",
        ),
    ],
)
async def test_mapping_rules_that_are_none_are_refused_by_place(value, problem):
    """The error names the rule, and what is wrong with it."""
    with pytest.raises(StepFailed, match=problem) as refusal:
        await call("transform", value)
    assert refusal.value.error == "Transform.InvalidInput"


async def test_a_webhook_s_reply_is_kept_whole():
    """What is not told is filled in."""
    assert await call("webhook_reply", {}) == {"status": 200, "headers": {}, "body": None}
    told = {"status": 404, "headers": {"X-Reason": "gone"}, "body": [1]}
    assert await call("webhook_reply", told) == told


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1, "input"),
        ({"status": 100}, "status must be"),
        ({"status": True}, "status must be"),
        ({"headers": []}, "headers must be"),
        ({"headers": {"a": 1}}, "headers.a must be text"),
        ({"boddy": 1}, "boddy"),
    ],
)
async def test_a_reply_that_is_none_is_refused_by_field(value, problem):
    """The error names the field."""
    with pytest.raises(StepFailed, match=problem) as refusal:
        await call("webhook_reply", value)
    assert refusal.value.error == "WebhookReply.InvalidInput"


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
