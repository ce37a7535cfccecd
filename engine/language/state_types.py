"""What each type of state may hold, as a table.

A later feature is a row that gets a parser, or an entry that gets a builder: not a branch somewhere.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from engine.language import fields
from engine.language.fields import Parse
from engine.language.findings import Findings, Place
from engine.language.resources import step_named
from engine.language.states import (
    ChoiceState,
    FailState,
    PassState,
    State,
    SucceedState,
    TaskState,
    WaitState,
)
from engine.language.values import Json


class Field(NamedTuple):
    """A field that a definition may hold.

    Attributes:
        attribute: Where the compiled state keeps its value; "" if it does not.
        parse: Parses its value; None if the field is known, but not supported yet.
    """

    attribute: str
    parse: Parse | None


Rule: TypeAlias = Callable[[dict[str, Json], Place, Findings], None]
"""Checks what concerns several fields of a state together."""

Build: TypeAlias = Callable[[dict[str, Json], dict[str, Any]], State]
"""Makes a state of its JSON and the attributes parsed from it."""


class StateType(NamedTuple):
    """A type of state.

    Attributes:
        fields: The fields it may have, besides Type.
        build: Makes the compiled state; None if the type is not supported yet.
        required: The fields that it must have.
        rules: What concerns several fields.
    """

    fields: Mapping[str, Field]
    build: Build | None
    required: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


LATER: Final = Field("", None)


def one_way_on(source: dict[str, Json], place: Place, findings: Findings) -> None:
    """Check that a state either has a Next or ends."""
    if "Next" in source and source.get("End") is True:
        findings.add(place, "has both Next and End")
    elif "Next" not in source and source.get("End") is not True:
        findings.add(place, 'needs either Next or "End": true')


def exactly_one(*names: str) -> Rule:
    """Make the rule that exactly one of some fields is given."""

    def rule(source: dict[str, Json], place: Place, findings: Findings) -> None:
        given = [name for name in names if name in source]
        if len(given) != 1:
            has = " and ".join(given) if given else "none"
            findings.add(place, f"needs exactly one of {', '.join(names)}; it has {has}")

    return rule


def not_both(first: str, second: str) -> Rule:
    """Make the rule that two fields exclude each other."""

    def rule(source: dict[str, Json], place: Place, findings: Findings) -> None:
        if first in source and second in source:
            findings.add(place, f"has both {first} and {second}")

    return rule


def function_named(source: dict[str, Json], place: Place, findings: Findings) -> None:
    """Check that the parameters of lambda:invoke name the function, as AWS does."""
    resource, parameters = source.get("Resource"), source.get("Parameters")
    if type(resource) is not str or not resource.endswith(":states:::lambda:invoke") or "Arguments" in source:
        return
    names = parameters if type(parameters) is dict else {}
    if "FunctionName" not in names and "FunctionName.$" not in names:
        findings.add(place, "lambda:invoke needs Parameters with a FunctionName")


def _build_pass(_source: dict[str, Json], attributes: dict[str, Any]) -> State:
    return PassState(**attributes, **_shapes(attributes))


def _shapes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Say whether a working state changes what goes in and what comes out: most change neither."""
    given = {name for name, value in attributes.items() if value is not None}
    return {
        "shapes_input": not given.isdisjoint(("input_path", "parameters")),
        "shapes_output": not given.isdisjoint(("result_selector", "result_path", "output_path")),
    }


def _build_task(source: dict[str, Json], attributes: dict[str, Any]) -> State:
    step = step_named(attributes["resource"], source.get("Parameters"))
    return TaskState(**attributes, **_shapes(attributes), step=step)


# Everything below is the table. The order of the columns: field, attribute, parser.
_COMMON: Final = {
    "Comment": Field("comment", fields.text),
    "QueryLanguage": Field("", fields.query_language),
    "Output": LATER,
}
_FILTERING: Final = {
    **_COMMON,
    "InputPath": Field("input_path", fields.filter_path),
    "OutputPath": Field("output_path", fields.filter_path),
}
_ONWARD: Final = {
    **_FILTERING,
    "Next": Field("next", fields.target),
    "End": Field("", fields.flag),
    "Assign": LATER,
}
_WORKING: Final = {
    **_ONWARD,
    "Parameters": Field("parameters", fields.template),
    "ResultPath": Field("result_path", fields.result_place),
}

STATE_TYPES: Final[Mapping[str, StateType]] = MappingProxyType(
    {
        "Pass": StateType(
            {**_WORKING, "Result": Field("fixed_result", fields.anything)},
            _build_pass,
            rules=(one_way_on,),
        ),
        "Task": StateType(
            {
                **_WORKING,
                "Resource": Field("resource", fields.resource),
                "ResultSelector": Field("result_selector", fields.template),
                "Arguments": LATER,
                "Retry": LATER,
                "Catch": LATER,
                "TimeoutSeconds": LATER,
                "TimeoutSecondsPath": LATER,
                "HeartbeatSeconds": LATER,
                "HeartbeatSecondsPath": LATER,
                "Credentials": LATER,
            },
            _build_task,
            required=("Resource",),
            rules=(one_way_on, function_named),
        ),
        "Choice": StateType(
            {
                **_FILTERING,
                "Choices": Field("rules", fields.rules),
                "Default": Field("default", fields.target),
                "Assign": LATER,
            },
            lambda _source, attributes: ChoiceState(**attributes),
            required=("Choices",),
        ),
        "Wait": StateType(
            {
                **_ONWARD,
                "Seconds": Field("seconds", fields.whole_seconds),
                "Timestamp": Field("timestamp_ms", fields.timestamp),
                "SecondsPath": Field("seconds_path", fields.reference),
                "TimestampPath": Field("timestamp_path", fields.reference),
            },
            lambda _source, attributes: WaitState(**attributes),
            rules=(one_way_on, exactly_one("Seconds", "Timestamp", "SecondsPath", "TimestampPath")),
        ),
        "Succeed": StateType(_FILTERING, lambda _source, attributes: SucceedState(**attributes)),
        "Fail": StateType(
            {
                "Comment": Field("comment", fields.text),
                "QueryLanguage": Field("", fields.query_language),
                "Error": Field("error", fields.text),
                "ErrorPath": Field("error_path", fields.reference),
                "Cause": Field("cause", fields.text),
                "CausePath": Field("cause_path", fields.reference),
            },
            lambda _source, attributes: FailState(**attributes),
            rules=(not_both("Error", "ErrorPath"), not_both("Cause", "CausePath")),
        ),
        "Parallel": StateType({}, None),
        "Map": StateType({}, None),
    }
)

MACHINE_FIELDS: Final[Mapping[str, Field]] = MappingProxyType(
    {
        "Comment": Field("comment", fields.text),
        "Version": Field("", fields.version),
        "QueryLanguage": Field("query_language", fields.query_language),
        "StartAt": Field("start_at", fields.target),
        "TimeoutSeconds": LATER,
    }
)
"""The fields of a machine, besides States."""
