"""Parallel and Map: the machines in them, the items, and what only a distributed Map has."""

import functools
import json
from typing import Any

import pytest

from perdure.engine.language import (
    DefinitionError,
    StatesError,
    compile_machine,
    problems,
    steps_of,
    unsupported,
)
from perdure.engine.language.model.states import MapState, nested_in
from tests.engine.language.worlds import compiled, env

INNER = {"StartAt": "i", "States": {"i": {"Type": "Pass", "End": True}}}
CONFIG = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
DISTRIBUTED = {"ItemProcessor": {**INNER, "ProcessorConfig": CONFIG}}


def inner(name, **fields):
    return {"StartAt": name, "States": {name: {"Type": "Pass", "End": True, **fields}}}


def a_map(**fields):
    return compiled({"Type": "Map", "End": True, "ItemProcessor": INNER, **fields})


def found(state, *, express=False, **top):
    definition = {"StartAt": "s", "States": {"s": state}, **top}
    return [(p.path.removeprefix("/States/s"), p.message) for p in problems(definition, express=express)]


def map_problems(express=False, **fields):
    fields.setdefault("ItemProcessor", INNER)
    return found({"Type": "Map", "End": True, **{k: v for k, v in fields.items() if v is not ...}}, express=express)


def test_the_machines_of_a_parallel_and_of_a_map_are_compiled_with_it():
    """Branches keep their order; Iterator is the processor's former name."""
    state = compiled({"Type": "Parallel", "End": True, "Branches": [inner("a"), inner("b", Comment="c")]})
    assert [list(machine.states) for machine in state.branches] == [["a"], ["b"]]
    assert nested_in(state) == state.branches
    former = compiled({"Type": "Map", "End": True, "Iterator": INNER})
    assert (former.processor, former.processor_field) == (a_map().processor, "Iterator")
    assert nested_in(former) == (former.processor,)
    assert nested_in(former.processor.states["i"]) == ()


@pytest.mark.parametrize(
    ("fields", "items", "ref"),
    [
        ({"InputPath": "$.list"}, [1], ("list",)),
        ({"ItemsPath": "$.list"}, [1], ("list",)),
        ({"InputPath": "$.in", "ItemsPath": "$[0].deep"}, [2], ("in", 0, "deep")),
        ({"ItemsPath": "$v"}, [3], None),
        ({"ItemsPath": "$$.Execution.Input"}, [4], None),
        ({"InputPath": "$.in[*]", "ItemsPath": "$[0].deep"}, [2], None),
        ({"QueryLanguage": "JSONata", "Items": [5, "{% $v[0] %}", "$v"]}, [5, 3, "$v"], None),
        ({"QueryLanguage": "JSONata", "Items": "{% [$states.input.list, 6] %}"}, [1, 6], None),
    ],
)
def test_the_items_and_where_they_stand(fields, items, ref):
    """Items that simply stand in the raw input are known by their way there."""
    state = a_map(**fields)
    given = env({"list": [1], "in": [{"deep": [2]}]}, {"Execution": {"Input": [4]}}, {"v": [3]})
    assert state.items(state.arguments(given), given) == items
    assert state.items_ref == ref


def test_without_any_path_the_input_is_the_list():
    """Both query languages; an input path of null is no list."""
    for language in ("JSONPath", "JSONata"):
        state = a_map(QueryLanguage=language)
        assert state.items(state.arguments(env([1])), env([1])) == [1]
        assert state.items_ref == ()
    assert a_map(InputPath=None).items_ref is None


@pytest.mark.parametrize("value", [{}, None, "x", 5, True])
def test_what_is_no_list_fails(value):
    """The cause names the path."""
    with pytest.raises(StatesError, match=r'Reference path "\$\.v" must point to array') as failure:
        a_map(ItemsPath="$.v").items({"v": value}, env())
    assert failure.value.error == "States.Runtime"
    with pytest.raises(StatesError, match="Expected 'array', but was") as failure:
        a_map(QueryLanguage="JSONata", Items="{% $states.input %}").items(None, env(value))
    assert failure.value.error == "States.QueryEvaluationError"
    with pytest.raises(StatesError) as failure:
        a_map(QueryLanguage="JSONata").items(value, env(value))
    assert failure.value.error == "States.QueryEvaluationError"
    assert failure.value.cause == f"Map state input must be an array but was: {json.dumps(value)}"


def test_the_input_of_an_iteration():
    """ItemSelector, or Parameters as it was, starts from the Map's own input and knows its item from the context."""
    context = {"Map": {"Item": {"Index": 1, "Value": "x"}}}
    raw = {"in": {"k": 5}}
    template = {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "k.$": "$.k"}
    for name in ("ItemSelector", "Parameters"):
        state = a_map(**{"InputPath": "$.in", name: template})
        assert state.has_item_selector
        assert state.arguments(env(raw)) == {"k": 5}
        assert state.item_input("x", env(raw, context)) == {"i": 1, "v": "x", "k": 5}
    selector = {"v": "{% $states.context.Map.Item.Value & '!' %}", "k": "{% $states.input.in.k %}"}
    assert a_map(QueryLanguage="JSONata", ItemSelector=selector).item_input("x", env(raw, context)) == {
        "v": "x!",
        "k": 5,
    }
    item = {"a": 1}
    assert not a_map().has_item_selector
    assert a_map().item_input(item, env(raw)) is item


@pytest.mark.parametrize(
    ("fields", "value", "concurrency"),
    [
        ({}, None, 0),
        ({"MaxConcurrency": 3}, None, 3),
        ({"MaxConcurrencyPath": "$.n"}, {"n": 4}, 4),
        ({"MaxConcurrencyPath": "$.n"}, {"n": "4"}, 4),
        ({"QueryLanguage": "JSONata", "MaxConcurrency": "{% $states.input.n %}"}, {"n": 4}, 4),
    ],
)
def test_the_iterations_at_once(fields, value, concurrency):
    """0 is no limit; a path may find a number as text (recorded: MAP_STATE_REFERENCE_IN_MAX_CONCURRENCY_PATH)."""
    state = a_map(**fields)
    assert state.concurrency(env(value), state.arguments(env(value))) == concurrency


@pytest.mark.parametrize(
    ("fields", "value", "tolerated"),
    [
        ({}, None, 0),
        ({"ToleratedFailureCount": 3}, None, 3),
        ({"ToleratedFailureCountPath": "$"}, 4, 4),
        ({"ToleratedFailurePercentage": 33.3}, None, 3),
        ({"ToleratedFailurePercentage": 100}, None, 10),
        ({"ToleratedFailurePercentagePath": "$"}, "25.5", 2),
        ({"ToleratedFailurePercentage": 50, "ToleratedFailureCount": 2}, None, 2),
        ({"QueryLanguage": "JSONata", "ToleratedFailurePercentage": "{% $states.input %}"}, 49, 4),
    ],
)
def test_the_items_of_ten_that_may_fail(fields, value, tolerated):
    """A count, a percentage rounded down, or the less of both."""
    assert a_map(**fields).tolerance(10, env(value), value) == tolerated


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("MaxConcurrency", "x", 'field refers to value "x" which is not a valid integer: $.v'),
        ("MaxConcurrency", {}, 'refers to value "{}" which is not a valid integer'),
        ("MaxConcurrency", 1.5, "not a valid integer"),
        ("ToleratedFailureCount", -1, "ToleratedFailureCount cannot be negative."),
        ("ToleratedFailurePercentage", "x", "not a valid float"),
        ("ToleratedFailurePercentage", None, "not a valid float"),
        ("ToleratedFailurePercentage", 100.1, "ToleratedFailurePercentage must be between 0 and 100."),
        ("ToleratedFailurePercentage", -1, "ToleratedFailurePercentage must be between 0 and 100."),
    ],
)
def test_a_number_that_is_none_fails_in_the_words_of_aws(field, value, cause):
    """Recorded: test_max_concurrency_path, test_map_state_tolerated_failure_count_path and others."""
    state = a_map(**{field + "Path": "$.v"})
    ask = state.concurrency if field == "MaxConcurrency" else functools.partial(state.tolerance, 10)
    with pytest.raises(StatesError) as failure:
        ask(env(), {"v": value})
    assert failure.value.error == "States.Runtime"
    assert cause in failure.value.cause


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({"ItemProcessor": ...}, "", "exactly one of ItemProcessor, Iterator; it has none"),
        ({"Iterator": inner("j")}, "", "it has ItemProcessor and Iterator"),
        ({"ItemProcessor": 5}, "/ItemProcessor", "must be an object"),
        ({"ItemProcessor": {}}, "/ItemProcessor", "is missing"),
        ({"ItemProcessor": {**INNER, "QueryLanguage": "JSONata"}}, "/ItemProcessor/QueryLanguage", "unknown field"),
        ({"ItemProcessor": {**INNER, "StartAt": "s"}}, "/ItemProcessor/StartAt", "there is no state 's'"),
        ({"ItemProcessor": inner("s")}, "/ItemProcessor/States/s", "another state 's'"),
        ({"ItemProcessor": inner("i", Next="s", End=False)}, "/ItemProcessor/States/i/Next", "there is no state 's'"),
        (
            {"ItemProcessor": {**INNER, "ProcessorConfig": {"Mode": "X"}}},
            "/ItemProcessor/ProcessorConfig/Mode",
            "one of INLINE",
        ),
        (
            {"ItemProcessor": {**INNER, "ProcessorConfig": {"Mode": "DISTRIBUTED"}}},
            "/ItemProcessor/ProcessorConfig",
            "ExecutionType is missing",
        ),
        ({"ItemSelector": {}, "Parameters": {}}, "", "has both ItemSelector and Parameters"),
        ({"ItemsPath": "$.a[*]"}, "/ItemsPath", "a reference path is needed"),
        ({"Items": []}, "/Items", "belongs to JSONata"),
        ({"QueryLanguage": "JSONata", "Items": {}}, "/Items", "must be a list or a JSONata expression"),
        ({"QueryLanguage": "JSONata", "Items": "$.a"}, "/Items", "starts with {%"),
        ({"QueryLanguage": "JSONata", "ItemsPath": "$"}, "/ItemsPath", "belongs to JSONPath"),
        ({"MaxConcurrency": -1}, "/MaxConcurrency", "must be a whole number from 0"),
        ({"MaxConcurrency": 1, "MaxConcurrencyPath": "$.n"}, "", "has both"),
        ({"ToleratedFailureCount": 1.5}, "/ToleratedFailureCount", "must be a whole number from 0"),
        ({"ToleratedFailurePercentage": 101}, "/ToleratedFailurePercentage", "must be a number from 0 to 100"),
        ({"ItemReader": {"Resource": "read"}}, "/ItemReader", '"Mode": "DISTRIBUTED"'),
        ({**DISTRIBUTED, "ItemReader": {}}, "/ItemReader", "Resource is missing"),
        ({**DISTRIBUTED, "ItemReader": {"Resource": "a b"}}, "/ItemReader/Resource", "the name of a step or an ARN"),
        (
            {**DISTRIBUTED, "ItemReader": {"Resource": "read", "ReaderConfig": {"InputType": "XML"}}},
            "/ItemReader/ReaderConfig/InputType",
            "must be one of CSV",
        ),
        (
            {**DISTRIBUTED, "ItemReader": {"Resource": "read", "ReaderConfig": {"CSVHeaderLocation": "GIVEN"}}},
            "/ItemReader/ReaderConfig",
            "CSVHeaders is missing",
        ),
        (
            {**DISTRIBUTED, "ItemReader": {"Resource": "read", "ReaderConfig": {"CSVHeaders": [1]}}},
            "/ItemReader/ReaderConfig/CSVHeaders",
            "one or more strings",
        ),
        (
            {**DISTRIBUTED, "ItemReader": {"Resource": "read", "ReaderConfig": {"MaxItems": 100_000_001}}},
            "/ItemReader/ReaderConfig/MaxItems",
            "from 0 to 100000000",
        ),
        ({**DISTRIBUTED, "ItemBatcher": {"MaxItemsPerBatch": 0}}, "/ItemBatcher/MaxItemsPerBatch", "number from 1"),
        ({**DISTRIBUTED, "ItemBatcher": {"BatchInput": 5}}, "/ItemBatcher/BatchInput", "must be an object"),
        (
            {**DISTRIBUTED, "ResultWriter": {"Resource": "write", "Bucket": "b"}},
            "/ResultWriter/Bucket",
            "unknown field",
        ),
        ({**DISTRIBUTED, "ResultWriter": {}}, "/ResultWriter", "Resource is missing"),
        (
            {**DISTRIBUTED, "ResultWriter": {"WriterConfig": {"Transformation": "NONE"}}},
            "/ResultWriter/WriterConfig",
            "OutputType is missing",
        ),
        ({**DISTRIBUTED, "Label": ""}, "/Label", "1 to 40 characters"),
        ({**DISTRIBUTED, "Label": "x" * 41}, "/Label", "1 to 40 characters"),
        ({**DISTRIBUTED, "Label": "a\tb"}, "/Label", r"cannot hold '\t'"),
        ({**DISTRIBUTED, "Label": 5}, "/Label", "must be a string"),
    ],
)
def test_a_wrong_map_is_found_where_it_is_wrong(fields, pointer, message):
    """Each fault has its own pointer and sentence."""
    told = map_problems(**fields)
    assert (told[0][0], message in told[0][1]) == (pointer, True)
    assert len(told) == 1 or fields["ItemProcessor"] == {}


def test_a_parallel_needs_branches():
    """A list of at least one machine, each of which is checked."""
    malformed: tuple[Any, ...] = ([], {}, None, 5)
    for branches in malformed:
        assert found({"Type": "Parallel", "End": True, "Branches": branches}) == [
            ("/Branches", "must be a list of one or more machines")
        ]
    assert found({"Type": "Parallel", "End": True}) == [("", "Branches is missing")]
    [(pointer, _)] = found({"Type": "Parallel", "End": True, "Branches": [INNER, inner("j", Result={}, InputPath="x")]})
    assert pointer == "/Branches/1/States/j/InputPath"


def test_two_maps_cannot_share_a_label():
    """A label names the runs of one Map."""
    states = {
        "a": {"Type": "Map", "Next": "b", "Label": "l", "ItemProcessor": {**inner("i"), "ProcessorConfig": CONFIG}},
        "b": {"Type": "Map", "End": True, "Label": "l", "ItemProcessor": {**inner("j"), "ProcessorConfig": CONFIG}},
    }
    [problem] = problems({"StartAt": "a", "States": states})
    assert (problem.path, problem.message) == ("/States/b/Label", "another Map has this label already")


def test_names_of_states_are_those_of_one_state_in_the_whole_definition():
    """Branches do not have names of their own."""
    state = {"Type": "Parallel", "End": True, "Branches": [inner("a"), inner("b"), inner("a")]}
    assert found(state) == [("/Branches/2/States/a", "the definition has another state 'a'")]


def test_a_variable_of_an_enclosing_scope_cannot_be_assigned():
    """Siblings may use one name; a distributed Map's executions see no variables from outside."""
    nested = inner("j", Assign={"x.$": "$", "z": 1})
    state = {"Type": "Parallel", "End": True, "Branches": [inner("i", Assign={"z": 1}), nested]}
    assert found(state) == []
    told = [("/Branches/1/States/j/Assign/x.$", "'x' is a variable of an enclosing scope already")]
    assert found({**state, "Assign": {"x": 1}}) == told
    deeper = {"Type": "Parallel", "End": True, "Branches": [{"StartAt": "p", "States": {"p": state}}]}
    assert [path for path, _ in found({**deeper, "Assign": {"x": 1}})] == [
        "/Branches/0/States/p/Branches/1/States/j/Assign/x.$"
    ]
    assert map_problems(Assign={"x": 1}, ItemProcessor={**nested, "ProcessorConfig": CONFIG}) == []


def test_a_variable_that_the_states_own_catch_assigns_is_free_below_it():
    """It has a value once the branches are over; not if the state itself or another state assigns it too."""
    state = {"Type": "Parallel", "End": True, "Branches": [inner("i", Assign={"x": 1})]}
    caught = [{"ErrorEquals": [error], "Next": "s", "Assign": {"x.$": "$.Error"}} for error in ("E", "F")]
    assert found({**state, "Catch": caught}) == []
    assert map_problems(Catch=caught, ItemProcessor=inner("i", Assign={"x": 1})) == []
    told = [("/Branches/0/States/i/Assign/x", "'x' is a variable of an enclosing scope already")]
    assert found({**state, "Catch": caught, "Assign": {"x": 2}}) == told
    other = {"Type": "Parallel", "Next": "s", "Branches": [inner("o")], "Catch": caught}
    machine = {"StartAt": "p", "States": {"p": other, "s": {**state, "Catch": caught}}}
    assert [problem.path for problem in problems(machine)] == ["/States/s/Branches/0/States/i/Assign/x"]


def test_nested_states_speak_the_language_of_the_definition():
    """A state's own language holds for itself only (recorded: VALID_QUERY_LANGUAGE_PASS)."""
    state = a_map(QueryLanguage="JSONata")
    assert (state.query_language, state.processor.states["i"].query_language) == ("JSONata", "JSONPath")
    whole = compile_machine(
        {
            "QueryLanguage": "JSONata",
            "StartAt": "s",
            "States": {"s": {"Type": "Map", "End": True, "ItemProcessor": INNER}},
        }
    )
    mapping = whole.states["s"]
    assert isinstance(mapping, MapState)
    assert mapping.processor.states["i"].query_language == "JSONata"
    told = found(
        {"Type": "Map", "End": True, "ItemProcessor": inner("i", QueryLanguage="JSONPath")}, QueryLanguage="JSONata"
    )
    assert told == [("/ItemProcessor/States/i/QueryLanguage", "no state of a definition in JSONata can be in JSONPath")]


def test_an_express_workflow_has_no_distributed_map_and_neither_has_what_that_map_runs():
    """What holds for an Express workflow holds for the executions of an Express processor."""
    [(pointer, message)] = map_problems(express=True, **DISTRIBUTED)
    assert (pointer, "Express" in message) == ("", True)
    waiting = {"StartAt": "i", "States": {"i": {"Type": "Task", "Resource": "a.waitForTaskToken", "End": True}}}
    express = {**waiting, "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}}
    assert [path for path, _ in map_problems(ItemProcessor=express)] == ["/ItemProcessor/States/i/Resource"]
    assert map_problems(ItemProcessor={**waiting, "ProcessorConfig": CONFIG}) == []


def test_a_distributed_map_is_valid_and_not_supported():
    """It is told where it stands, however deep, and does not compile."""
    deep = {"Type": "Map", "End": True, **DISTRIBUTED}
    branch = {"StartAt": "m", "States": {"m": deep}}
    definition = {"StartAt": "s", "States": {"s": {"Type": "Parallel", "End": True, "Branches": [branch]}}}
    assert problems(definition) == []
    [problem] = unsupported(definition)
    assert problem.path == "/States/s/Branches/0/States/m"
    with pytest.raises(DefinitionError) as refusal:
        compile_machine(definition)
    assert refusal.value.problems == [problem]


@pytest.mark.parametrize(
    "value",
    ["", "x", b"\xff", None, 5, [], {}, {"States": 1}, {"States": {"a": 1}}, {"States": {"a": {"Branches": 1}}}],
)
def test_what_is_malformed_needs_nothing(value):
    """Problems tell what is wrong with it."""
    assert unsupported(value) == []
    with pytest.raises(DefinitionError):
        compiled(value)


def test_steps_and_errors_of_nested_machines_are_found():
    """The pointers lead into the machines, in the definition and in what is compiled from it alike."""

    def task(name, **fields):
        return {"StartAt": name, "States": {name: {"Type": "Task", "End": True, **fields}}}

    invoke = {"Resource": "arn:aws:states:::lambda:invoke"}
    branches = [
        task("a", Resource="ship"),
        {"StartAt": "m", "States": {"m": {"Type": "Map", "End": True, "Iterator": task("b", Resource="bill")}}},
        task("c", **invoke, QueryLanguage="JSONata", Arguments={"FunctionName": "call"}),
        {"StartAt": "f", "States": {"f": {"Type": "Fail", "Error": "Late"}}},
    ]
    definition = {"StartAt": "s", "States": {"s": {"Type": "Parallel", "End": True, "Branches": branches}}}
    machine = compile_machine(definition)
    steps = [
        ("/States/s/Branches/0/States/a/Resource", "ship"),
        ("/States/s/Branches/1/States/m/Iterator/States/b/Resource", "bill"),
        ("/States/s/Branches/2/States/c/Arguments/FunctionName", "call"),
    ]
    assert list(steps_of(definition)) == list(steps_of(machine)) == steps
    assert machine.literal_errors == {"Late"}
