"""Data flows: what goes into a state and what comes out of it, in both query languages."""

from typing import Any

import pytest

from perdure.engine.language import StatesError
from tests.engine.language.worlds import compiled, env

CONTEXT = {"State": {"Name": "S"}}


def task(**fields):
    return compiled({"Type": "Task", "Resource": "ship", "End": True, **fields})


def jsonata(**fields):
    return task(QueryLanguage="JSONata", **fields)


def test_assign_sees_what_result_selector_made_and_the_output_what_result_path_made():
    """Three values come of one result: the variables, the place in the input, and the output."""
    state = task(
        ResultSelector={"n.$": "$.count"},
        Assign={"all.$": "$", "next.$": "States.MathAdd($.n, $step)", "fixed": "$.n"},
        ResultPath="$.r",
        OutputPath="$.r.n",
    )
    surroundings = env({"k": 1}, variables={"step": 10})
    assert state.leave({"count": 5}, surroundings) == (5, {"all": {"n": 5}, "next": 15, "fixed": "$.n"})
    assert surroundings.result == {"count": 5}


def test_output_path_sees_the_variables_as_they_were():
    """What is assigned holds from the next state on (recorded: BASE_EVALUATION_ORDER_PASS_STATE)."""
    state = compiled({"Type": "Pass", "End": True, "Assign": {"v": "new"}, "OutputPath": "$v"})
    assert state.leave({}, env({}, variables={"v": "old"})) == ("old", {"v": "new"})


def test_a_state_that_assigns_nothing_shares_one_empty_object():
    """An empty Assign is none."""
    assert task().leave(1, env()).assigned is task(Assign={}).leave(1, env()).assigned


def test_arguments_and_output_of_jsonata():
    """Arguments sees the input; Output and Assign see the result, the input and the variables."""
    state = jsonata(
        Arguments={"id": "{% $states.input.id %}", "kept": [1, "$.id"]},
        Output={"sum": "{% $states.result.n + $states.input.id %}", "a.$": "$"},
        Assign={"v": "{% $v + 1 %}", "w": {"name": "{% $states.context.State.Name %}"}},
    )
    surroundings = env({"id": 7}, CONTEXT, {"v": 1})
    assert state.arguments(surroundings) == {"id": 7, "kept": [1, "$.id"]}
    assert state.leave({"n": 3}, surroundings) == ({"sum": 10, "a.$": "$"}, {"v": 2, "w": {"name": "S"}})


def test_without_arguments_and_output_jsonata_shares_what_it_is_given():
    """The raw input goes in, and the result comes out."""
    value, result = {"a": 1}, {"b": 2}
    assert jsonata().arguments(env(value)) is value
    assert jsonata().leave(result, env(value)) == (result, {})


def test_a_jsonata_expression_that_fails_ends_with_its_own_error():
    """The cause names the expression and the field."""
    with pytest.raises(StatesError, match="field 'Output/a'") as failure:
        jsonata(Output={"a": "{% $none %}"}).leave(1, env())
    assert failure.value.error == "States.QueryEvaluationError"


@pytest.mark.parametrize(
    ("arguments", "reads"),
    [
        ("{% $states.input.context %}", False),
        ("{% $states.context.State.Name %}", True),
        ({"a": [{"b": "{% $states %}"}]}, True),
        ("{% $statesman %}", False),
        ({"a": "{% $states.inputs %}"}, True),
    ],
)
def test_a_task_in_jsonata_says_whether_its_arguments_may_read_the_context(arguments, reads):
    """Where it cannot be told, they may."""
    assert jsonata(Arguments=arguments).reads_context is reads


@pytest.mark.parametrize(
    ("fields", "reads"),
    [
        ({}, False),
        ({"Parameters": {"a.$": "$.b"}}, False),
        ({"Parameters": {"a": [{"b.$": "$$.Task.Token"}]}}, True),
        ({"Parameters": {"a.$": "States.Format('{}', $$.State.Name)"}}, True),
        ({"InputPath": "$$.Execution.Input"}, True),
        ({"ResultSelector": {"a.$": "$$.State.Name"}}, False),
    ],
)
def test_a_task_says_whether_its_arguments_may_read_the_context(fields, reads):
    """What only the output reads does not count."""
    assert task(**fields).reads_context is reads


@pytest.mark.parametrize(
    ("fields", "ms"),
    [
        ({}, None),
        ({"TimeoutSeconds": 5}, 5000),
        ({"InputPath": "$.in", "Parameters": {}, "TimeoutSecondsPath": "$.t"}, 7000),
        ({"TimeoutSecondsPath": "$v"}, 9000),
        ({"QueryLanguage": "JSONata", "TimeoutSeconds": "{% $states.input.in.t %}"}, 7000),
        ({"QueryLanguage": "JSONata", "TimeoutSeconds": "{% 6 / 2 %}"}, 3000),
    ],
)
def test_a_task_has_its_time_from_wherever_it_is_given(fields, ms):
    """Paths start from the input as InputPath leaves it, not from Parameters."""
    given = env({"in": {"t": 7}}, variables={"v": 9})
    assert task(**fields).timeout_ms(given, None) == ms
    heartbeat = {name.replace("Timeout", "Heartbeat"): value for name, value in fields.items()}
    assert task(**heartbeat).heartbeat_ms(given, None) == ms


@pytest.mark.parametrize("value", [0, -1, 1.5, 100_000_000, "5", None, True, [], {}])
def test_a_time_that_is_none_fails(value):
    """A path must find a whole number of seconds in range, an expression must give one."""
    with pytest.raises(StatesError) as failure:
        task(TimeoutSecondsPath="$.t").timeout_ms(env({"t": value}), None)
    assert failure.value.error == "States.Runtime"
    with pytest.raises(StatesError) as failure:
        jsonata(TimeoutSeconds="{% $states.input.t %}").timeout_ms(env({"t": value}), None)
    assert failure.value.error == "States.QueryEvaluationError"


def test_a_wait_and_a_fail_are_written_in_jsonata_too():
    """Seconds, Timestamp, Error and Cause may be expressions; other texts stand for themselves."""
    fields = {"QueryLanguage": "JSONata", "End": True}
    assert compiled({"Type": "Wait", **fields, "Seconds": "{% $states.input + 1 %}"}).due_ms(env(2), 0) == 3000
    at = {"Type": "Wait", **fields, "Timestamp": "{% $states.input %}"}
    assert compiled(at).due_ms(env("1970-01-01T00:00:01Z"), 0) == 1000
    with pytest.raises(StatesError) as failure:
        compiled(at).due_ms(env("soon"), 0)
    assert failure.value.error == "States.QueryEvaluationError"
    fail = compiled({"Type": "Fail", "QueryLanguage": "JSONata", "Error": "{% 'E' & '1' %}", "Cause": "$c"})
    assert fail.failure(env()) == ("E1", "$c")
    assert fail.literal_error is None


def test_a_fail_may_compute_its_texts_with_intrinsic_functions():
    """ErrorPath and CausePath take a path or a call."""
    fail = compiled({"Type": "Fail", "ErrorPath": "$e", "CausePath": "States.Format('no {}', $.what)"})
    assert fail.failure(env({"what": "luck"}, variables={"e": "E"})) == ("E", "no luck")


def test_the_data_of_each_step_are_noted_on_request():
    """The names are those of TestState's inspection data."""
    trace: dict[str, Any] = {}
    state = task(InputPath="$.a", Parameters={"b.$": "$"}, ResultSelector={"c.$": "$"}, ResultPath="$.r")
    surroundings = env({"a": 1}, trace=trace)
    state.arguments(surroundings)
    state.leave(2, surroundings)
    assert trace == {
        "afterInputPath": 1,
        "afterParameters": {"b": 1},
        "afterResultSelector": {"c": 2},
        "afterResultPath": {"a": 1, "r": {"c": 2}},
    }
    trace.clear()
    jsonata(Arguments={"x": 1}).arguments(surroundings)
    assert trace == {"afterArguments": {"x": 1}}
    trace.clear()
    compiled(
        {
            "Type": "Map",
            "End": True,
            "ItemProcessor": {"StartAt": "i", "States": {"i": {"Type": "Succeed"}}},
        }
    ).items([1], surroundings)
    assert trace == {"afterItemsPath": [1]}
    trace.clear()
    fixed = compiled({"Type": "Pass", "End": True, "Result": 5})
    fixed.result(fixed.arguments(surroundings), surroundings)
    assert trace["result"] == 5


def test_credentials_are_checked_and_kept():
    """They may be a template in either language, or one expression."""
    assert task(Credentials={"RoleArn.$": "$.r"}).credentials.evaluate({"r": "role"}, env()) == {"RoleArn": "role"}
    whole = jsonata(Credentials="{% {'RoleArn': $states.input} %}")
    assert whole.credentials.evaluate(None, env("role")) == {"RoleArn": "role"}
