"""States: what each type does beside filtering its input and output."""

import dataclasses

import pytest

from perdure.engine.language import (
    DefinitionError,
    FailState,
    StatesError,
    compile_machine,
    format_instant,
    parse_instant,
)
from tests.engine.language.worlds import compiled, env
from tests.present import present

CONTEXT = {"State": {"Name": "S"}, "Execution": {"Input": {"at": "2024-01-01T00:00:00Z"}}}
ENTERED = present(parse_instant("2024-06-01T00:00:00Z"))


def wait(**fields):
    return compiled({"Type": "Wait", "End": True, **fields})


def test_a_pass_gives_its_result_or_passes_its_effective_input_on():
    """Result is literal, even where it looks like a template; null is a result."""
    assert compiled({"Type": "Pass", "End": True}).result([1], env([1])) == [1]
    fixed = {"a.$": "$.b"}
    assert compiled({"Type": "Pass", "End": True, "Result": fixed}).result([1], env([1])) is fixed
    assert compiled({"Type": "Pass", "End": True, "Result": None}).result([1], env([1])) is None


@pytest.mark.parametrize(
    ("fields", "value", "due"),
    [
        ({"Seconds": 0}, {}, ENTERED),
        ({"Seconds": 99_999_999}, {}, ENTERED + 99_999_999_000),
        ({"SecondsPath": "$.s"}, {"s": 5}, ENTERED + 5000),
        ({"SecondsPath": "$.s"}, {"s": 0}, ENTERED),
        ({"Timestamp": "2024-06-01T00:00:01Z"}, {}, ENTERED + 1000),
        ({"Timestamp": "2020-01-01T00:00:00Z"}, {}, ENTERED),
        ({"TimestampPath": "$.t"}, {"t": "2024-06-01T00:00:00.5Z"}, ENTERED + 500),
        ({"TimestampPath": "$.t"}, {"t": "2024-06-01T00:00:00.0001Z"}, ENTERED + 1),
        ({"TimestampPath": "$.t"}, {"t": "2020-01-01T00:00:00+02:00"}, ENTERED),
        ({"TimestampPath": "$$.Execution.Input.at"}, {}, ENTERED),
    ],
)
def test_a_wait_is_due_after_its_time_and_never_before_it_was_entered(fields, value, due):
    """Seconds count from the entry; a timestamp in the past is due at once."""
    assert wait(**fields).due_ms(env(value, CONTEXT), ENTERED) == due


@pytest.mark.parametrize("language", ["JSONPath", "JSONata"])
def test_a_wait_has_a_longest_delay(language):
    """2^31 - 1 seconds, counted from the entry, whichever way the timestamp is given."""
    limit = ENTERED + (2**31 - 1) * 1000

    def due(at):
        text = format_instant(at)
        fields = {"TimestampPath": "$.at"} if language == "JSONPath" else {"Timestamp": "{% $states.input.at %}"}
        return wait(QueryLanguage=language, **fields).due_ms(env({"at": text}, CONTEXT), ENTERED)

    assert due(limit) == limit
    with pytest.raises(StatesError, match=r"Wait state delay is too long\.") as failure:
        due(limit + 1)
    assert failure.value.error == "States.Runtime"


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        *(({"SecondsPath": "$.s"}, {"s": s}) for s in (-1, 100_000_000, 1.0, 1.5, "1", True, None, [1])),
        ({"SecondsPath": "$.s"}, {}),
        *(({"TimestampPath": "$.s"}, {"s": s}) for s in ("2024-06-01", "soon", 5, None, "2024-06-01T00:00:00")),
        ({"TimestampPath": "$.s"}, {}),
    ],
)
def test_a_wait_that_is_given_no_time_fails(fields, value):
    """A path must give a whole number of seconds in range, or a timestamp."""
    with pytest.raises(StatesError) as failure:
        wait(**fields).due_ms(env(value, CONTEXT), ENTERED)
    assert failure.value.error == "States.Runtime"


def test_a_fail_gives_what_its_definition_gives():
    """Error and Cause are optional, literal or from a path, also of the context object."""
    fail = {"Type": "Fail"}
    assert compiled(fail).failure(env({}, CONTEXT)) == (None, None)
    assert compiled({**fail, "Error": "E", "Cause": "C"}).failure(env({}, CONTEXT)) == ("E", "C")
    state = compiled({**fail, "ErrorPath": "$.e", "CausePath": "$$.State.Name"})
    assert state.failure(env({"e": "E"}, CONTEXT)) == ("E", "S")


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("$.e", "The JSONPath '$.e' specified for the field 'ErrorPath' could not be found in the input '{\"o\":1}'"),
        ("$x.e", "The variable '$x.e' specified for the field 'ErrorPath' could not be found"),
    ],
)
def test_a_path_to_an_error_that_is_not_there_is_named(path, cause):
    """As AWS has it (localstack/localstack, issue 11951)."""
    with pytest.raises(StatesError) as failure:
        compiled({"Type": "Fail", "ErrorPath": path}).failure(env({"o": 1}, CONTEXT))
    assert (failure.value.error, failure.value.cause) == ("States.Runtime", cause)


@pytest.mark.parametrize("field", ["SecondsPath", "TimestampPath"])
def test_a_path_to_a_time_that_is_not_there_is_named(field):
    """What a Wait waits for is an input value, in AWS's words."""
    with pytest.raises(StatesError) as failure:
        wait(**{field: "$.s"}).due_ms(env({}, CONTEXT), ENTERED)
    assert failure.value.cause == f"The {field} parameter does not reference an input value: $.s"


@pytest.mark.parametrize("value", [{}, {"e": 1}, {"e": None}, {"e": {}}])
def test_a_fail_whose_path_gives_no_string_fails_with_states_runtime(value):
    """An error name is a string."""
    with pytest.raises(StatesError) as failure:
        compiled({"Type": "Fail", "ErrorPath": "$.e"}).failure(env(value, CONTEXT))
    assert failure.value.error == "States.Runtime"


@pytest.mark.parametrize(
    ("parameters", "step", "step_at_run"),
    [
        ({"FunctionName": "ship"}, "ship", "ship"),
        ({"FunctionName": "arn:aws:lambda:eu:1:function:ship"}, "ship", "ship"),
        ({"FunctionName": "arn:aws:lambda:eu:1:function:ship:prod"}, "ship", "ship"),
        ({"FunctionName": "1:function:ship"}, "ship", "ship"),
        ({"FunctionName.$": "$.f"}, None, "bill"),
    ],
)
def test_lambda_invoke_calls_the_function_that_its_parameters_name(parameters, step, step_at_run):
    """A literal name is known when the definition is compiled, a path's when it runs."""
    state = compiled(
        {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, "End": True}
    )
    assert state.step == step
    assert state.step_for(state.arguments(env({"f": "bill"}, CONTEXT))) == step_at_run


@pytest.mark.parametrize("function", [None, 5, {}])
def test_lambda_invoke_without_a_name_at_run_time_fails(function):
    """There is nothing to call."""
    state = compiled(
        {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName.$": "$.f"},
            "End": True,
        }
    )
    with pytest.raises(StatesError, match="FunctionName"):
        state.step_for(state.arguments(env({"f": function}, CONTEXT)))


def test_a_task_has_one_step_whatever_its_input():
    """A named step does not depend on the input; a mere wait has none."""
    assert compiled({"Type": "Task", "Resource": "ship", "End": True}).step_for(5) == "ship"
    assert compiled({"Type": "Task", "Resource": "wait_for_resume", "End": True}).step_for(5) is None


def test_states_are_frozen_and_know_what_follows():
    """A compiled machine can be shared by all executions."""
    machine = compile_machine(
        {
            "StartAt": "a",
            "Comment": "c",
            "States": {"a": {"Type": "Pass", "Next": "b"}, "b": {"Type": "Fail"}},
        }
    )
    assert (machine.start_at, machine.comment, list(machine.states)) == ("a", "c", ["a", "b"])
    assert (machine.states["a"].next, machine.states["b"].next) == ("b", None)
    assert isinstance(machine.states["b"], FailState)
    assert [state.type for state in machine.states.values()] == ["Pass", "Fail"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        machine.states["a"].next = "c"  # type: ignore[misc]


def test_a_definition_with_problems_does_not_compile():
    """The error carries every problem and shows the first."""
    with pytest.raises(DefinitionError, match=r"/StartAt: .*and 1 more") as refusal:
        compile_machine({"StartAt": "b", "States": {"a": {"Type": "Nap"}}})
    assert [p.path for p in refusal.value.problems] == ["/StartAt", "/States/a/Type"]
