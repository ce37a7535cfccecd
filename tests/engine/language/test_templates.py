"""Payload templates and ResultPath: what goes into a task, and where its result goes."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language import DefinitionError, StatesError, compile_state
from tests.engine.language.worlds import env

CONTEXT = {"Execution": {"Id": "e-1"}, "State": {"Name": "S"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=20,
)


def task(**fields):
    return compile_state({"Type": "Task", "Resource": "ship", "End": True, **fields})


def test_paths_are_filled_in_wherever_they_stand():
    """Members ending in .$ are replaced at any depth, in arrays too; the order of members stays."""
    state = task(
        Parameters={
            "first.$": "$.a[0]",
            "fixed": 1,
            "nested": [{"all.$": "$"}, "$.a", {"x": {"id.$": "$$.Execution.Id"}}],
            "matches.$": "$.a[*]",
            "$": "plain",
        }
    )
    value = {"a": [7, 8]}
    payload = state.arguments(env(value, CONTEXT))
    assert payload == {
        "first": 7,
        "fixed": 1,
        "nested": [{"all": value}, "$.a", {"x": {"id": "e-1"}}],
        "matches": [7, 8],
        "$": "plain",
    }
    assert list(payload) == ["first", "fixed", "nested", "matches", "$"]
    assert payload["nested"][0]["all"] is value


def test_parameters_may_be_an_array():
    """Samples of AWS's own have one; its objects are filled in, and its texts stand for themselves."""
    state = task(Parameters=["$.a", {"x.$": "$.a[1]"}, [{"y.$": "$$.Execution.Id"}]])
    assert state.arguments(env({"a": [7, 8]}, CONTEXT)) == ["$.a", {"x": 8}, [{"y": "e-1"}]]


def test_variables_and_intrinsic_functions_fill_a_template_too():
    """A member ending in .$ may hold a path from a variable, or a call."""
    state = task(Parameters={"v.$": "$v.x", "f.$": "States.Format('{} {}', $.a, $v.x)"})
    assert state.arguments(env({"a": 1}, variables={"v": {"x": 2}})) == {"v": 2, "f": "1 2"}
    with pytest.raises(StatesError, match=r"variable '\$v\.x'") as failure:
        state.arguments(env({"a": 1}))
    assert failure.value.error == "States.Runtime"


def test_a_template_is_applied_to_what_input_path_selects():
    """Parameters sees the selected input; the context object stays whole."""
    state = task(InputPath="$.a", Parameters={"b.$": "$.b", "name.$": "$$.State.Name"})
    assert state.arguments(env({"a": {"b": 1}, "b": 2}, CONTEXT)) == {"b": 1, "name": "S"}


def test_a_path_that_finds_nothing_names_path_field_and_input():
    """The cause is AWS's, so that it can be searched for."""
    state = task(Parameters={"x": {"y.$": "$.none"}})
    with pytest.raises(StatesError) as failure:
        state.arguments(env({"a": "é"}, CONTEXT))
    assert failure.value.error == "States.Runtime"
    assert failure.value.cause == (
        "The JSONPath '$.none' specified for the field 'y.$' could not be found in the input '{\"a\":\"é\"}'"
    )


def test_a_cause_does_not_repeat_a_large_input():
    """A cause quotes the beginning of an input only."""
    with pytest.raises(StatesError) as failure:
        task(Parameters={"y.$": "$.none"}).arguments(env({"a": "x" * 100_000}, CONTEXT))
    assert len(failure.value.cause) < 3000


def test_one_template_serves_many_executions():
    """Filling a template leaves it as it was."""
    state = task(Parameters={"a": {"b.$": "$.v"}, "c": [1, {"d.$": "$.v"}]})
    assert [state.arguments(env({"v": v}, CONTEXT))["a"]["b"] for v in (1, 2)] == [1, 2]


@pytest.mark.parametrize("fields", [{}, {"InputPath": "$"}, {"ResultPath": "$"}, {"OutputPath": "$"}])
def test_fields_that_change_nothing_give_the_very_object(fields):
    """An absent field, and $, cost no copy."""
    value, result = {"a": 1}, {"r": 2}
    state = task(**fields)
    assert state.arguments(env(value, CONTEXT)) is value
    assert state.leave(result, env(value, CONTEXT)).output is result


@pytest.mark.parametrize(
    ("path", "raw", "output"),
    [
        ("$.r", {"a": 1}, {"a": 1, "r": "R"}),
        ("$.a", {"a": 1, "b": 2}, {"a": "R", "b": 2}),
        ("$.x.y.z", {"a": 1}, {"a": 1, "x": {"y": {"z": "R"}}}),
        ("$.a[0].b", {"a": [{"c": 1}, 2]}, {"a": [{"c": 1, "b": "R"}, 2]}),
        ("$[1]", [1, 2], [1, "R"]),
        ("$['a b']", {}, {"a b": "R"}),
        (None, {"a": 1}, {"a": 1}),
        ("$", {"a": 1}, "R"),
    ],
)
def test_a_result_goes_where_result_path_says(path, raw, output):
    """Objects on the way are made; everything beside the way stays."""
    before = copy.deepcopy(raw)
    assert task(ResultPath=path).leave("R", env(raw, CONTEXT)).output == output
    assert raw == before


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("$.r", "text"),
        ("$.r", None),
        ("$.r", [1]),
        ("$.a.b", {"a": 1}),
        ("$.a.b", {"a": None}),
        ("$.a[1]", {"a": [1]}),
        ("$[0]", {}),
        ("$.a[0]", {}),
    ],
)
def test_a_result_path_that_does_not_fit_the_input_fails(path, raw):
    """What stands in the way of a result is not overwritten, and arrays do not grow."""
    with pytest.raises(StatesError) as failure:
        task(ResultPath=path).leave("R", env(raw, CONTEXT))
    assert failure.value.error == "States.ResultPathMatchFailure"
    assert failure.value.cause.startswith(f"Unable to apply ReferencePath {path} to input ")


def test_result_path_shares_what_it_does_not_touch():
    """Copies are made along the way only."""
    raw: dict[str, Any] = {"a": {"b": {}}, "c": {}}
    output = task(ResultPath="$.a.r").leave("R", env(raw, CONTEXT)).output
    assert output["c"] is raw["c"]
    assert output["a"]["b"] is raw["a"]["b"]


def test_selector_then_result_path_then_output_path():
    """The three fields of the output apply in this order."""
    state = task(ResultSelector={"n.$": "$.count", "s.$": "$$.State.Name"}, ResultPath="$.a.r", OutputPath="$.a")
    assert state.leave({"count": 5}, env({"a": {"k": 1}}, CONTEXT)).output == {"k": 1, "r": {"n": 5, "s": "S"}}


def test_null_paths_give_an_empty_object():
    """InputPath null and OutputPath null stand for {}."""
    state = task(InputPath=None, OutputPath=None)
    assert state.arguments(env([1], CONTEXT)) == {}
    assert state.leave([2], env([1], CONTEXT)).output == {}


def test_input_and_output_path_must_find_something():
    """A path that finds nothing ends the execution with States.Runtime."""
    state = task(InputPath="$.a['b c'][0]", OutputPath="$.o")
    with pytest.raises(StatesError, match="Invalid path") as failure:
        state.arguments(env({}, CONTEXT))
    assert failure.value.error == "States.Runtime"
    assert failure.value.cause.endswith("No results for path: $['a']['b c'][0]")
    with pytest.raises(StatesError):
        state.leave({}, env({}, CONTEXT))


@given(JSON, JSON, st.sampled_from(["$.a", "$.a.b", "$.c[0]", "$.a[1].b", "$['b'].c.a"]))
def test_nothing_is_ever_mutated(raw, result, path):
    """Whatever goes in is the same afterwards, whether the state succeeds or fails."""
    state = task(Parameters={"x.$": path, "y": [{"z.$": "$"}]}, ResultPath=path, OutputPath=path)
    before = copy.deepcopy((raw, result))
    for call in (lambda: state.arguments(env(raw, CONTEXT)), lambda: state.leave(result, env(raw, CONTEXT)).output):
        try:
            call()
        except StatesError:
            continue
    assert (raw, result) == before


@given(JSON, JSON)
def test_what_result_path_writes_its_path_finds(raw, result):
    """Reading by a path what was written by it gives the very result."""
    state = task(ResultPath="$.a.b")
    try:
        output = state.leave(result, env(raw, CONTEXT)).output
    except StatesError:
        return
    assert task(InputPath="$.a.b").arguments(env(output, CONTEXT)) is result


@pytest.mark.parametrize(
    ("parameters", "pointer", "message"),
    [
        ("$.x", "/Parameters", "must be an object"),
        ([{"a.$": 1}], "/Parameters/0/a.$", "must be a path"),
        ({"a": {"b.$": 1}}, "/Parameters/a/b.$", "must be a path"),
        ({"a": [{"b/c.$": "x"}]}, "/Parameters/a/0/b~1c.$", "starts with $"),
        ({"a.$": "States.Nothing($.x)"}, "/Parameters/a.$", "Nothing"),
        ({"a.$": "$states.input"}, "/Parameters/a.$", "in JSONata only"),
        ({"a": 1, "a.$": "$.x"}, "/Parameters/a.$", "has both 'a' and 'a.$'"),
    ],
)
def test_a_wrong_template_is_found_where_it_is_wrong(parameters, pointer, message):
    """The pointer leads to the member."""
    with pytest.raises(DefinitionError) as refusal:
        task(Parameters=parameters)
    assert [(p.path, message in p.message) for p in refusal.value.problems] == [(pointer, True)]
