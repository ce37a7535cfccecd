"""Calls and outcomes: what a step is given, and what becomes of whatever it gives or raises."""

from __future__ import annotations

import asyncio
import copy
import enum
import json
import math
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.core.commands import TaskFailure, TaskSuccess
from perdure.engine.language.errors import StatesError
from perdure.engine.log.codec import decode_json, encode_json
from perdure.engine.steps import StepFailed
from perdure.engine.steps.invoke import CAUSE_MAX, ERROR_MAX, RESULT_MAX, call_for, failure_of, fresh, outcome_of
from tests.present import present


class Point(NamedTuple):
    x: Any
    y: Any


LAMBDA = "arn:aws:states:::lambda:invoke"


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Ratio(float):
    pass


class Odd(dict[str, Any]):
    """A dict whose methods cannot be trusted."""

    def items(self):
        raise AssertionError


class Liar:
    """Claims to be text."""

    __class__ = str  # type: ignore[assignment]


class Meddler(int):
    """Changes an object when it is looked at, as a thread might at that moment."""

    target: dict[str, Any]

    @property  # type: ignore[misc]
    def __class__(self):
        self.target["more"] = 1
        return Meddler


def refusal_of(value: Any, name: str = "") -> Any:
    """The failure that a value is, whose cause is there."""
    outcome = outcome_of(value, name)
    assert isinstance(outcome, TaskFailure)
    assert outcome.cause is not None
    return outcome


# --- calls --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "step"),
    [
        ("billing.charge", "billing.charge"),
        ("ship.waitForResume", "ship"),
        ("arn:aws:lambda:eu-central-1:111111111111:function:ship", "ship"),
        ("arn:aws:states:::sqs:sendMessage", "sqs:sendMessage"),
        ("arn:aws:states:::sqs:sendMessage.waitForTaskToken", "sqs:sendMessage"),
        ("arn:aws:states:::aws-sdk:s3:getObject", "aws-sdk:s3:getObject"),
        ("arn:aws:states:::ecs:runTask.sync", "ecs:runTask"),
        ("arn:aws:states:::http:invoke", "http_request"),
        ("arn:aws:states:::states:startExecution.sync:2", "states:startExecution"),
        ("arn:aws:states:eu-central-1:111111111111:activity:inspect", "inspect"),
    ],
)
def test_the_resource_names_the_step_and_the_parameters_are_its_input(resource, step):
    """Every form but lambda:invoke passes the parameters on, and takes the result as it is."""
    parameters = {"FunctionName": "no", "Payload": [1]}
    call = call_for(resource, parameters)
    assert (call.step_name, call.input, call.wrap) == (step, parameters, None)
    assert call.outcome({"ok": True}) == TaskSuccess({"ok": True})


@pytest.mark.parametrize(
    "function",
    ["ship", "arn:aws:lambda:r:111111111111:function:ship", "111111111111:function:ship:prod"],
)
@pytest.mark.parametrize("resource", [LAMBDA, LAMBDA + ".waitForTaskToken"])
def test_lambda_invoke_calls_its_function_with_the_payload(resource, function):
    """lambda:invoke names the step in its parameters, and its result is wrapped as AWS does."""
    call = call_for(resource, {"FunctionName": function, "Payload": {"a": 1}})
    assert (call.step_name, call.input) == ("ship", {"a": 1})
    assert call.outcome((1, 2)) == TaskSuccess({"ExecutedVersion": "$LATEST", "Payload": [1, 2], "StatusCode": 200})
    assert isinstance(call.outcome(object()), TaskFailure)


def test_lambda_invoke_without_a_payload_gives_an_empty_object():
    """A step that gets no payload gets {}; one that gets null gets null."""
    assert call_for(LAMBDA, {"FunctionName": "ship"}).input == {}
    assert call_for(LAMBDA, {"FunctionName": "ship", "Payload": None}).input is None


@pytest.mark.parametrize("parameters", [{}, {"FunctionName": 1}, [], None, "ship"])
def test_lambda_invoke_without_a_function_is_an_error_of_the_run(parameters):
    """A missing FunctionName is a States.Runtime error, which the driver records."""
    with pytest.raises(StatesError, match="must hold a FunctionName"):
        call_for(LAMBDA, parameters)


@pytest.mark.parametrize("resource", ["wait_for_resume", "no such", "arn:nothing"])
def test_what_calls_nothing_is_refused(resource):
    """There is no call for a mere wait, or for what is no resource."""
    with pytest.raises(ValueError, match=r"wait|resource|ARN"):
        call_for(resource, {})


@pytest.mark.parametrize("resource", ["ship", LAMBDA])
def test_a_step_cannot_change_what_the_engine_holds(resource):
    """The input is a copy all the way down."""
    parameters = {"FunctionName": "ship", "Payload": {"items": [{"n": 1}]}, "items": [{"n": 1}]}
    before = copy.deepcopy(parameters)
    given_to_step = call_for(resource, parameters).input
    given_to_step["items"][0]["n"] = 2
    given_to_step["items"].append(3)
    assert parameters == before


# --- results --------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)
"""Anything that JSON can say; st.text() has no halves of surrogate pairs."""

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs", "L"]))
    | st.binary(max_size=5)
    | st.sampled_from([Colour.RED, Level.LOW, Ratio(1.5), 10**4299, object, Point(1, 2), datetime.now(UTC)]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4).map(Odd)
    ),
    max_leaves=20,
)
"""What user code might return."""


def types_of(value):
    """Every exact type in a value."""
    yield type(value)
    if isinstance(value, dict):
        for key, member in value.items():
            yield type(key)
            yield from types_of(member)
    elif isinstance(value, list):
        for member in value:
            yield from types_of(member)


def containers(value):
    """The identity of every object and array in a value."""
    if isinstance(value, dict | list):
        yield id(value)
        for member in value.values() if isinstance(value, dict) else value:
            yield from containers(member)


@given(json_values)
def test_json_comes_back_equal_and_shares_nothing(value):
    """A JSON value is its own outcome, in containers of its own."""
    outcome = outcome_of(value)
    assert isinstance(outcome, TaskSuccess)
    assert outcome.result == value
    assert [*types_of(outcome.result)] == [*types_of(value)]
    assert not set(containers(outcome.result)) & set(containers(value))
    assert fresh(value) == value


@given(anything)
def test_whatever_is_returned_ends_as_json_or_as_a_failure(value):
    """No value raises, and what succeeds survives the log: encoded and decoded it is the same."""
    outcome = outcome_of(value, "mine")
    if isinstance(outcome, TaskSuccess):
        assert set(types_of(outcome.result)) <= {dict, list, str, int, float, bool, type(None)}
        assert decode_json(encode_json(outcome.result)) == outcome.result
    else:
        assert outcome.error == "States.TaskFailed"
        assert "'mine'" in present(outcome.cause)
        encode_json(outcome)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, None),
        ((1, (2,)), [1, [2]]),
        (Point(1, [2]), [1, [2]]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Odd(a=(1,)), {"a": [1]}),
        ({Colour.RED: Colour.RED}, {"red": "red"}),
        ([Level.LOW, Ratio(0.5), True, -0.0], [1, 0.5, True, -0.0]),
        (2**64 + 1, 2**64 + 1),
        (-(10**4299) + 1, -(10**4299) + 1),
        ({"": {"é\x00": "😀"}}, {"": {"é\x00": "😀"}}),
        ({"ok": True, "amount": 12}, {"ok": True, "amount": 12}),
    ],
)
def test_what_is_nearly_json_becomes_json(value, result):
    """Tuples, and subclasses of JSON's types, are read as what they are made of; integers stay exact."""
    outcome = outcome_of(value)
    assert outcome == TaskSuccess(result)
    assert [*types_of(outcome.result)] == [*types_of(result)]
    assert decode_json(encode_json(outcome.result)) == result


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "the number nan, which is not JSON."),
        ([1, [math.inf]], "the number inf, which is not JSON (at $[1][0])."),
        ({"a": [{"b": b"x"}]}, "a value of type bytes, which is not JSON (at $.a[0].b)."),
        ({1: 2}, "an object with a key that is no text but a value of type int (at $[1])."),
        (
            {"a": {None: 2}},
            "an object with a key that is no text but a value of type NoneType (at $.a.None).",
        ),
        ("\ud800", "a text that holds half of a surrogate pair."),
        ({"a": {"\udfff": 1}}, "a text that holds half of a surrogate pair (at $.a.?)."),
        (10**4299, "an integer of more than 4,299 digits."),
        ({1, 2}, "a value of type set, which is not JSON."),
        (Decimal(1), "a value of type Decimal, which is not JSON."),
        (datetime(2026, 1, 1, tzinfo=UTC), "a value of type datetime, which is not JSON."),
        (Odd(a=object()), "a value of type object, which is not JSON (at $.a)."),
        (SimpleNamespace(a=1), "a value of type SimpleNamespace, which is not JSON."),
    ],
)
def test_what_is_not_json_fails_and_says_where(value, problem):
    """The cause names the step, what is wrong, and the way to it."""
    outcome = refusal_of(value, "mine")
    assert outcome.error == "States.TaskFailed"
    assert outcome.cause.startswith("Step 'mine' returned " + problem)


def test_a_value_that_lies_about_its_class_is_refused():
    """What only claims to be JSON, as mocks do, is not."""
    outcome = refusal_of([Liar()], "mine")
    assert outcome.error == "States.TaskFailed"
    assert outcome.cause.startswith("Step 'mine' returned a value that cannot be read (")


def test_a_coroutine_is_no_result():
    """A plain function that forgot to await says so, and Python does not warn on top."""

    async def later():
        """Never runs."""

    outcome = refusal_of(later())
    assert outcome.error == "States.TaskFailed"
    assert "async def" in outcome.cause


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)])
def test_nesting_ends_at_64_levels(wrap):
    """Sixty-four levels of arrays and objects are a result, one more is not, and a circle is not either."""
    value = 1
    for _ in range(64):
        value = wrap(value)
    assert isinstance(outcome_of(value), TaskSuccess)
    refused = refusal_of(wrap(value))
    assert refused.error == "States.TaskFailed"
    assert "64 levels" in refused.cause
    assert len(refused.cause) < 400
    circle: list[Any] = []
    circle.append(wrap(circle))
    assert "64 levels" in refusal_of(circle).cause


@pytest.mark.parametrize(
    "fill",
    [
        lambda size: "a" * (size - 2),
        lambda size: ["a" * (size - 4)],
        lambda size: {"a" * (size - 6): 1},
        lambda size: "é" * ((size - 2) // 2),
        lambda size: [0] * ((size - 1) // 2),
    ],
)
def test_a_result_has_at_most_one_mebibyte(fill):
    """The limit is exact, in bytes of JSON text, and its refusal names it."""
    value = fill(RESULT_MAX)
    assert len(encode_json(value)) <= RESULT_MAX
    assert isinstance(outcome_of(value), TaskSuccess)
    refused = refusal_of(fill(RESULT_MAX + 2), "mine")
    assert refused == TaskFailure(
        "States.DataLimitExceeded",
        "The state/task 'mine' returned a result with a size exceeding the maximum number of bytes service limit.",
    )


def test_escapes_count_too():
    """A text that only JSON's escapes make too long is too long."""
    assert refusal_of("\x00" * (RESULT_MAX // 2)).error == "States.DataLimitExceeded"


@pytest.mark.parametrize(
    ("value", "wrap"),
    [
        ([], lambda inner: [inner, inner]),
        (1, lambda inner: (inner, inner)),
        (None, lambda inner: {"a": inner, "b": inner}),
        ("a" * 1_000, lambda inner: [inner] * 1_000),
        ({"a" * 100_000: 1}, lambda inner: [inner] * 1_000),
        ([], lambda inner: Odd(a=inner, b=inner)),
    ],
)
def test_a_value_that_holds_itself_many_times_over_is_refused_at_once(value, wrap):
    """What would be many gigabytes is refused for its size without being written out."""
    for _ in range(60):
        value = wrap(value)
    assert refusal_of(value).error == "States.DataLimitExceeded"


def test_the_closer_look_has_the_same_limit():
    """A value of an unusual type is bounded like any other."""
    assert outcome_of(Odd(a=["a" * (RESULT_MAX - 10)])) == TaskSuccess({"a": ["a" * (RESULT_MAX - 10)]})
    assert refusal_of(Odd(a=["a" * RESULT_MAX])).error == "States.DataLimitExceeded"


def test_a_value_that_changes_while_it_is_read_is_refused():
    """A thread of the step's that still works on its result ends in a failure."""
    meddler = Meddler(1)
    value = meddler.target = {"a": meddler}
    outcome = refusal_of(value)
    assert outcome.error == "States.TaskFailed"
    assert "changed size during iteration" in outcome.cause


# --- failures --------------------------------------------------------------------------------


class BrokenText(Exception):
    def __str__(self):
        raise SystemExit


class WrongText(Exception):
    def __str__(self):
        return 1  # noqa: PLE0307  # the point of it


class Unmade(StepFailed):
    def __init__(self):
        """Forgets to call the constructor above."""


class Meta(type):
    @property
    def __name__(cls):  # type: ignore[override]
        raise AssertionError


class Nameless(Exception, metaclass=Meta):
    pass


exceptions = st.one_of(
    st.builds(StepFailed, st.text(st.characters()), st.none() | st.text(st.characters())),
    st.builds(StepFailed, anything, anything),
    st.builds(ValueError, anything),
    st.builds(OSError, st.integers(0, 40), st.text()),
    st.builds(
        lambda name: type(name, (Exception,), {})("x"), st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    ),
    st.sampled_from([BrokenText(), WrongText(), Unmade(), Nameless("x"), KeyboardInterrupt(), KeyError("k")]),
    st.just(ExceptionGroup("several", [ValueError("a"), BrokenText()])),
)


@given(exceptions)
def test_any_exception_becomes_a_failure_that_can_be_kept(exception):
    """No exception gets through: there is an error name and text that JSON can write."""
    failure = failure_of(exception)
    assert 0 < len(present(failure.error).encode()) <= ERROR_MAX
    assert failure.cause is None or len(failure.cause.encode()) <= CAUSE_MAX
    kept = decode_json(encode_json(failure))
    assert (kept["error"], kept["cause"]) == (failure.error, failure.cause)


@pytest.mark.parametrize(
    ("exception", "error", "cause"),
    [
        (StepFailed("Billing.Declined", "no funds"), "Billing.Declined", "no funds"),
        (StepFailed("Billing.Declined"), "Billing.Declined", None),
        (StepFailed("", "why"), "StepFailed", "why"),
        (StatesError("States.Runtime", "why"), "States.Runtime", "why"),
        (ValueError("bad"), "ValueError", "bad"),
        (ValueError(), "ValueError", ""),
        (ValueError("half \ud800"), "ValueError", "half ?"),
        (TimeoutError("late"), "TimeoutError", "late"),
        (asyncio.CancelledError(), "CancelledError", ""),
        (json.JSONDecodeError("no", "x", 0), "JSONDecodeError", "no: line 1 column 1 (char 0)"),
        (BrokenText(), "BrokenText", "(BrokenText, whose text cannot be had: SystemExit)"),
        (WrongText(), "WrongText", "(WrongText, whose text cannot be had: TypeError)"),
        (Unmade(), "Unmade", ""),
        (Nameless("x"), "Nameless", "x"),
    ],
)
def test_what_a_failure_says(exception, error, cause):
    """StepFailed says both; of other exceptions the class is the error and the text the cause."""
    assert failure_of(exception) == TaskFailure(error, cause)


def test_long_texts_are_cut():
    """A cause keeps 32 KiB, an error name 256 bytes, both whole characters."""
    failure = failure_of(StepFailed("é" * 1000, "😀" * 100_000))
    assert len(present(failure.error).encode()) in range(ERROR_MAX - 2, ERROR_MAX + 1)
    assert len(present(failure.cause).encode()) in range(CAUSE_MAX - 4, CAUSE_MAX + 1)
    assert present(failure.cause).endswith("😀…")
    kept = "a" * CAUSE_MAX
    assert failure_of(ValueError(kept)).cause == kept
