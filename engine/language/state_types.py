"""What each type of state may hold, as a table, and what makes the compiled state of it.

A new field is a row here: not a branch somewhere.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from engine.language import choice_fields, fields, handler_fields, map_fields, quantities
from engine.language.findings import Place
from engine.language.flows import split_flow
from engine.language.jsonata import is_jsonata
from engine.language.resources import step_named
from engine.language.states import (
    ChoiceState,
    FailState,
    MapState,
    ParallelState,
    PassState,
    State,
    SucceedState,
    TaskState,
    WaitState,
)
from engine.language.tables import Field, Scope, Shape, exactly_one, not_both
from engine.language.values import Json

Build: TypeAlias = Callable[[dict[str, Json], dict[str, Any]], State]
"""Makes a state of its JSON and the attributes parsed from it."""


class StateType(NamedTuple):
    """A type of state: what it may hold, and what makes the compiled state."""

    shape: Shape
    build: Build


def one_way_on(source: dict[str, Json], place: Place, scope: Scope) -> None:
    """Check that a state either has a Next or ends."""
    if "Next" in source and source.get("End") is True:
        scope.findings.add(place, "has both Next and End")
    elif "Next" not in source and source.get("End") is not True:
        scope.findings.add(place, 'needs either Next or "End": true')


def function_named(source: dict[str, Json], place: Place, scope: Scope) -> None:
    """Check that the parameters of lambda:invoke name the function, as AWS does."""
    resource = source.get("Resource")
    if type(resource) is not str or not resource.endswith(":states:::lambda:invoke"):
        return
    holder = "Arguments" if scope.is_jsonata else "Parameters"
    given = source.get(holder)
    if scope.is_jsonata and type(given) is str:  # only a run can tell
        return
    names = given if type(given) is dict else {}
    if "FunctionName" not in names and (scope.is_jsonata or "FunctionName.$" not in names):
        scope.findings.add(place, f"lambda:invoke needs {holder} with a FunctionName")


def heartbeat_within_timeout(source: dict[str, Json], place: Place, scope: Scope) -> None:
    """Check that a heartbeat is due before the time is out (States Language spec, Task State)."""
    heartbeat, timeout = source.get("HeartbeatSeconds"), source.get("TimeoutSeconds")
    if type(heartbeat) is int and type(timeout) is int and heartbeat >= timeout:
        scope.findings.add(place / "HeartbeatSeconds", "must be less than TimeoutSeconds")


_CONTEXT: Final = re.compile(r"\$\$|\$states\b(?!\.(?:input|result|errorOutput)\b)")


def _mentions_context(value: Json) -> bool:
    """Say whether paths or expressions within a value may read the context object."""
    if type(value) is str:
        return _CONTEXT.search(value) is not None
    members = value.values() if type(value) is dict else value if type(value) is list else ()
    return any(_mentions_context(member) for member in members)


def _flowing(kind: Callable[..., State]) -> Build:
    """Make the builder of a type of which everything is said by its fields and its data flow."""

    def build(_source: dict[str, Json], attributes: dict[str, Any]) -> State:
        flow, rest = split_flow(attributes["query_language"], attributes)
        return kind(flow=flow, **rest)

    return build


def _build_task(source: dict[str, Json], attributes: dict[str, Any]) -> State:
    resource = attributes["resource"]
    return _flowing(TaskState)(
        source,
        {
            **attributes,
            "step": step_named(resource, source.get("Parameters", source.get("Arguments"))),
            "reads_context": any(
                _mentions_context(source.get(name)) for name in ("InputPath", "Parameters", "Arguments")
            ),
        },
    )


def _build_choice(_source: dict[str, Json], attributes: dict[str, Any]) -> State:
    flow, rest = split_flow(attributes["query_language"], attributes)
    rest["rules"] = tuple(choice_fields.flowing(rule, flow) for rule in rest["rules"])
    return ChoiceState(flow=flow, **rest)


def _build_map(source: dict[str, Json], attributes: dict[str, Any]) -> State:
    field = "ItemProcessor" if "ItemProcessor" in source else "Iterator"
    given = {**attributes, "items_ref": map_fields.items_ref(source), "processor_field": field}
    return _flowing(MapState)(source, given)


def _build_fail(source: dict[str, Json], attributes: dict[str, Any]) -> State:
    error = source.get("Error")
    is_literal = error is not None and not (attributes["query_language"] == "JSONata" and is_jsonata(error))
    return FailState(**attributes, literal_error=error if is_literal else None)


# Everything below is the table. The order of the columns: field, attribute, parser, query language.
_COMMON: Final = {
    "Comment": Field("comment", fields.text),
    "QueryLanguage": Field("", fields.query_language),
}
_FLOWING: Final = {
    **_COMMON,
    "InputPath": Field("input_path", fields.filter_path, "JSONPath"),
    "OutputPath": Field("output_path", fields.filter_path, "JSONPath"),
    "Output": Field("output", fields.template, "JSONata"),
}
_ONWARD: Final = {
    **_FLOWING,
    "Next": Field("next", fields.target),
    "End": Field("", fields.flag),
    "Assign": Field("assign", fields.assignments),
}
_HANDLING: Final = {
    **_ONWARD,
    "ResultSelector": Field("result_selector", fields.template, "JSONPath"),
    "ResultPath": Field("result_path", fields.result_place, "JSONPath"),
    "Retry": Field("retriers", handler_fields.retriers),
    "Catch": Field("catchers", handler_fields.catchers),
}
_ARGUMENTS: Final = {
    "Parameters": Field("parameters", fields.parameters, "JSONPath"),
    "Arguments": Field("template", fields.arguments, "JSONata"),
}
_WAIT_SECONDS: Final = quantities.seconds("Seconds", 0)
_TIMEOUT: Final = quantities.seconds("TimeoutSeconds")
_HEARTBEAT: Final = quantities.seconds("HeartbeatSeconds")

STATE_TYPES: Final[Mapping[str, StateType]] = MappingProxyType(
    {
        "Pass": StateType(
            Shape(
                {
                    **_ONWARD,
                    "Parameters": Field("parameters", fields.parameters, "JSONPath"),
                    "Result": Field("fixed_result", fields.anything, "JSONPath"),
                    "ResultPath": Field("result_path", fields.result_place, "JSONPath"),
                },
                checks=(one_way_on,),
                elsewhere=("Type",),
            ),
            _flowing(PassState),
        ),
        "Task": StateType(
            Shape(
                {
                    **_HANDLING,
                    **_ARGUMENTS,
                    "Resource": Field("resource", fields.resource),
                    **map_fields.quantity_fields(_TIMEOUT, "timeout"),
                    **map_fields.quantity_fields(_HEARTBEAT, "heartbeat"),
                    "Credentials": Field("credentials", fields.credentials),
                },
                required=("Resource",),
                checks=(
                    one_way_on,
                    function_named,
                    not_both("TimeoutSeconds", "TimeoutSecondsPath"),
                    not_both("HeartbeatSeconds", "HeartbeatSecondsPath"),
                    heartbeat_within_timeout,
                ),
                elsewhere=("Type",),
            ),
            _build_task,
        ),
        "Choice": StateType(
            Shape(
                {
                    **_FLOWING,
                    "Choices": Field("rules", choice_fields.rules),
                    "Default": Field("default", fields.target),
                    "Assign": Field("assign", fields.assignments),
                },
                required=("Choices",),
                elsewhere=("Type",),
            ),
            _build_choice,
        ),
        "Wait": StateType(
            Shape(
                {
                    **_ONWARD,
                    "Seconds": Field("seconds", quantities.number(_WAIT_SECONDS)),
                    "SecondsPath": Field("seconds", quantities.delay_path(_WAIT_SECONDS), "JSONPath"),
                    "Timestamp": Field("timestamp", quantities.timestamp),
                    "TimestampPath": Field("timestamp", quantities.timestamp_path, "JSONPath"),
                },
                checks=(one_way_on, exactly_one("Seconds", "Timestamp", "SecondsPath", "TimestampPath")),
                elsewhere=("Type",),
            ),
            _flowing(WaitState),
        ),
        "Succeed": StateType(Shape(_FLOWING, elsewhere=("Type",)), _flowing(SucceedState)),
        "Fail": StateType(
            Shape(
                {
                    **_COMMON,
                    "Error": Field("error", quantities.string),
                    "ErrorPath": Field("error", quantities.string_path("ErrorPath"), "JSONPath"),
                    "Cause": Field("cause", quantities.string),
                    "CausePath": Field("cause", quantities.string_path("CausePath"), "JSONPath"),
                },
                checks=(not_both("Error", "ErrorPath"), not_both("Cause", "CausePath")),
                elsewhere=("Type",),
            ),
            _build_fail,
        ),
        "Parallel": StateType(
            Shape(
                {**_HANDLING, **_ARGUMENTS, "Branches": Field("branches", map_fields.branches)},
                required=("Branches",),
                checks=(one_way_on,),
                elsewhere=("Type",),
            ),
            _flowing(ParallelState),
        ),
        "Map": StateType(
            Shape(
                {**_HANDLING, **map_fields.MAP_FIELDS},
                checks=(one_way_on, *map_fields.MAP_CHECKS),
                elsewhere=("Type",),
            ),
            _build_map,
        ),
    }
)
