"""Retry and Catch: which errors they handle, when the next attempt is, and what becomes of an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.language import DefinitionError, compile_state
from tests.engine.language.evaluation_contexts import env


def task(**fields):
    return compile_state({"Type": "Task", "Resource": "ship", "End": True, **fields})


def retrier(**fields):
    [made] = task(Retry=[{"ErrorEquals": ["E"], **fields}]).retriers
    return made


def catcher(language="JSONPath", **fields):
    [made] = task(QueryLanguage=language, Catch=[{"ErrorEquals": ["E"], "Next": "n", **fields}]).catchers
    return made


@pytest.mark.parametrize(
    ("names", "matched", "others"),
    [
        (["A", "B"], ["A", "B"], ["C", "a", None, "States.Timeout"]),
        (["States.ALL"], ["A", None, "States.Timeout", "States.DataLimitExceeded"], ["States.Runtime"]),
        (
            ["States.TaskFailed"],
            ["A", None, "States.TaskFailed", "States.Permissions"],
            ["States.Timeout", "States.HeartbeatTimeout", "States.DataLimitExceeded", "States.Runtime"],
        ),
        (["States.Timeout"], ["States.Timeout", "States.HeartbeatTimeout"], ["A", None]),
        (["States.HeartbeatTimeout"], ["States.HeartbeatTimeout"], ["States.Timeout"]),
        (["States.Runtime"], [], ["States.Runtime", None, "States.ALL"]),
        (["States.Runtime", "A"], ["A"], ["States.Runtime"]),
        (["States.TaskFailed", "States.Timeout"], ["A", "States.Timeout"], ["States.Runtime"]),
    ],
)
def test_errors_are_matched_by_name_and_by_the_reserved_names(names, matched, others):
    """States.ALL and States.TaskFailed stand for others, an error without a name included."""
    for handler in (
        task(Retry=[{"ErrorEquals": names}]).retriers[0],
        task(Catch=[{"ErrorEquals": names, "Next": "n"}]).catchers[0],
    ):
        assert all(handler.matches(name) for name in matched)
        assert not any(handler.matches(name) for name in others)


@pytest.mark.parametrize(
    ("fields", "delays"),
    [
        ({}, [1000, 2000, 4000]),
        ({"IntervalSeconds": 3, "BackoffRate": 1.5}, [3000, 4500, 6750]),
        ({"IntervalSeconds": 3, "BackoffRate": 1}, [3000, 3000, 3000]),
        ({"IntervalSeconds": 3, "MaxDelaySeconds": 5}, [3000, 5000, 5000]),
        ({"IntervalSeconds": 2, "MaxDelaySeconds": 3, "JitterStrategy": "FULL"}, [1000, 1500, 1500]),
        ({"JitterStrategy": "NONE"}, [1000, 2000, 4000]),
    ],
)
def test_delays_grow_by_the_rate_up_to_the_greatest(fields, delays):
    """Jitter is a part of the delay that there would be, the greatest included."""
    made = retrier(**fields)
    assert [made.delay_ms(done, lambda: 0.5) for done in range(3)] == delays


def test_chance_is_asked_once_and_only_for_jitter():
    """What is drawn is stored, so a draw that means nothing would be stored too."""
    drawn = []

    def draw():
        drawn.append(0.25)
        return 0.25

    assert retrier().delay_ms(0, draw) == 1000
    assert drawn == []
    assert retrier(JitterStrategy="FULL").delay_ms(0, draw) == 250
    assert len(drawn) == 1


@given(st.integers(0, 10**9), st.floats(1, 1e300), st.floats(0, 1, exclude_max=True))
def test_no_delay_is_beyond_the_greatest(done, rate, drawn):
    """A rate may be huge, and so may the number of retries."""
    assert 0 <= retrier(BackoffRate=rate, JitterStrategy="FULL").delay_ms(done, lambda: drawn) <= 99_999_999_000


def test_the_defaults_are_those_of_the_language():
    """Three attempts; none at all is possible."""
    assert retrier().attempts_max == 3
    assert retrier(MaxAttempts=0).attempts_max == 0


def test_a_caught_error_replaces_the_input_or_stands_in_it():
    """ResultPath says where; OutputPath does not apply (recorded: test_raise_exception_catch_output_path)."""
    error = {"Error": "E", "Cause": "c"}
    assert catcher().leave(error, env({"a": 1})) == (error, {})
    assert catcher(ResultPath="$.e").leave(error, env({"a": 1})) == ({"a": 1, "e": error}, {})
    assert catcher(ResultPath=None).leave(error, env({"a": 1})) == ({"a": 1}, {})
    assert catcher(Assign={"why.$": "$.Cause"}).leave(error, env({"a": 1})) == (error, {"why": "c"})


def test_a_caught_error_in_jsonata():
    """Output and Assign read $states.errorOutput; without Output, it is the output."""
    error = {"Error": "E", "Cause": "c"}
    assert catcher("JSONata").leave(error, env({"a": 1})) == (error, {})
    made = catcher(
        "JSONata",
        Output={"why": "{% $states.errorOutput.Cause %}", "in": "{% $states.input %}"},
        Assign={"e": "{% $states.errorOutput %}"},
    )
    environment = env({"a": 1})
    assert made.leave(error, environment) == ({"why": "c", "in": {"a": 1}}, {"e": error})
    assert environment.error_output is error


@pytest.mark.parametrize(
    ("fields", "pointer", "message"),
    [
        ({"Retry": [5]}, "/Retry/0", "must be an object"),
        ({"Retry": [{}]}, "/Retry/0", "ErrorEquals is missing"),
        ({"Retry": [{"ErrorEquals": []}]}, "/Retry/0/ErrorEquals", "one or more error names"),
        ({"Retry": [{"ErrorEquals": "E"}]}, "/Retry/0/ErrorEquals", "one or more error names"),
        ({"Retry": [{"ErrorEquals": ["E", 5]}]}, "/Retry/0/ErrorEquals/1", "the name of an error"),
        ({"Retry": [{"ErrorEquals": ["E", "States.ALL"]}]}, "/Retry/0/ErrorEquals", "stands alone"),
        (
            {"Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["E"]}]},
            "/Retry/0/ErrorEquals",
            "stands in the last one only",
        ),
        *(
            ({"Retry": [{"ErrorEquals": ["E"], name: value}]}, f"/Retry/0/{name}", message)
            for name, value, message in (
                ("IntervalSeconds", 0, "whole number from 1 to 99999999"),
                ("IntervalSeconds", 1.5, "whole number from 1"),
                ("MaxAttempts", -1, "whole number from 0 to 99999999"),
                ("MaxAttempts", True, "whole number from 0"),
                ("BackoffRate", 0.5, "a number from 1"),
                ("BackoffRate", "2", "a number from 1"),
                ("MaxDelaySeconds", 0, "whole number from 1 to 31622400"),
                ("MaxDelaySeconds", 31_622_401, "whole number from 1 to 31622400"),
                ("JitterStrategy", "HALF", "must be FULL or NONE"),
                ("Maxattempts", 1, "did you mean MaxAttempts?"),
                ("Comment", 1, "must be a string"),
            )
        ),
        (
            {"Retry": [{"ErrorEquals": ["E"], "IntervalSeconds": 5, "MaxDelaySeconds": 5}]},
            "/Retry/0/MaxDelaySeconds",
            "must be greater than IntervalSeconds",
        ),
        ({"Catch": [{"ErrorEquals": ["E"]}]}, "/Catch/0", "Next is missing"),
        ({"Catch": [{"ErrorEquals": ["E"], "Next": 5}]}, "/Catch/0/Next", "must be a string"),
        ({"Catch": [{"ErrorEquals": ["E"], "Next": "n", "Output": 1}]}, "/Catch/0/Output", "belongs to JSONata"),
        ({"Catch": [{"ErrorEquals": ["E"], "Next": "n", "ResultPath": "e"}]}, "/Catch/0/ResultPath", "starts with $"),
        (
            {"QueryLanguage": "JSONata", "Catch": [{"ErrorEquals": ["E"], "Next": "n", "ResultPath": "$"}]},
            "/Catch/0/ResultPath",
            "belongs to JSONPath",
        ),
        (
            {"Catch": [{"ErrorEquals": ["E"], "Next": "n", "Assign": {"states": 1}}]},
            "/Catch/0/Assign/states",
            "reserved",
        ),
    ],
)
def test_a_wrong_handler_is_found_where_it_is_wrong(fields, pointer, message):
    """Each fault has its own pointer and sentence."""
    with pytest.raises(DefinitionError) as refusal:
        task(**fields)
    assert [(p.path, message in p.message) for p in refusal.value.problems] == [(pointer, True)]
