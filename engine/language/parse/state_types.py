"""The table of state types: the fields of each, and the constructor of its compiled state.

A new field is a row here: not a branch somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, get_args

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.evaluate.jsonata.compile import is_jsonata
from perdure.engine.language.model.flows import split_flow
from perdure.engine.language.model.resources import step_named
from perdure.engine.language.model.schemas import SchemaRefused, ValueSchema, schema_of
from perdure.engine.language.model.states import (
    ChoiceState,
    CompiledState,
    FailState,
    MapState,
    ParallelState,
    PassState,
    SucceedState,
    TaskState,
    WaitState,
)
from perdure.engine.language.parse import choice_fields, fields, handler_fields, map_fields, quantities
from perdure.engine.language.parse.tables import FieldRule, FieldScope, ObjectShape, exactly_one, not_both
from perdure.engine.language.values import Json

S = TypeVar("S", bound=CompiledState)

Build: TypeAlias = Callable[[dict[str, Json], dict[str, Any]], CompiledState]
"""Makes a state of its JSON and the attributes parsed from it."""


class StateType(NamedTuple):
    """A type of state: what it may hold, and what makes the compiled state."""

    shape: ObjectShape
    build: Build


def one_way_on(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
    """Check that a state either has a Next or ends."""
    if "Next" in source and source.get("End") is True:
        scope.diagnostics.add(pointer, "has both Next and End")
    elif "Next" not in source and source.get("End") is not True:
        scope.diagnostics.add(pointer, 'needs either Next or "End": true')


def function_named(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
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
        scope.diagnostics.add(pointer, f"lambda:invoke needs {holder} with a FunctionName")


def heartbeat_within_timeout(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
    """Check that a heartbeat is due before the time is out (States Language spec, Task State)."""
    heartbeat, timeout = source.get("HeartbeatSeconds"), source.get("TimeoutSeconds")
    if type(heartbeat) is int and type(timeout) is int and heartbeat >= timeout:
        scope.diagnostics.add(pointer / "HeartbeatSeconds", "must be less than TimeoutSeconds")


_CONTEXT: Final = re.compile(r"\$\$|\$states\b(?!\.(?:input|result|errorOutput)\b)")


def _mentions_context(value: Json) -> bool:
    """Say whether paths or expressions within a value may read the context object."""
    if type(value) is str:
        return _CONTEXT.search(value) is not None
    members = value.values() if type(value) is dict else value if type(value) is list else ()
    return any(_mentions_context(member) for member in members)


def _flowing(kind: Callable[..., S]) -> Callable[[dict[str, Json], dict[str, Any]], S]:
    """Make the builder of a type of which everything is said by its fields and its data flow."""

    def build(_source: dict[str, Json], attributes: dict[str, Any]) -> S:
        flow, rest = split_flow(attributes["query_language"], attributes)
        return kind(flow=flow, **rest)

    return build


def _build_task(source: dict[str, Json], attributes: dict[str, Any]) -> TaskState:
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


def _build_choice(_source: dict[str, Json], attributes: dict[str, Any]) -> ChoiceState:
    flow, rest = split_flow(attributes["query_language"], attributes)
    rest["rules"] = tuple(choice_fields.flowing(rule, flow) for rule in rest["rules"])
    return ChoiceState(flow=flow, **rest)


def _build_map(source: dict[str, Json], attributes: dict[str, Any]) -> MapState:
    field = "ItemProcessor" if "ItemProcessor" in source else "Iterator"
    given = {**attributes, "items_ref": map_fields.items_ref(source), "processor_field": field}
    return _flowing(MapState)(source, given)


def _build_fail(source: dict[str, Json], attributes: dict[str, Any]) -> FailState:
    error = source.get("Error")
    is_literal = error is not None and not (attributes["query_language"] == "JSONata" and is_jsonata(error))
    return FailState(**attributes, literal_error=error if is_literal else None)


# Everything below is the table. The order of the columns: field, attribute, parser, query language.
_COMMON: Final = {
    "Comment": FieldRule("comment", fields.text),
    "QueryLanguage": FieldRule("", fields.query_language),
}
_FLOWING: Final = {
    **_COMMON,
    "InputPath": FieldRule("input_path", fields.filter_path, "JSONPath"),
    "OutputPath": FieldRule("output_path", fields.filter_path, "JSONPath"),
    "Output": FieldRule("output", fields.template, "JSONata"),
}
_ONWARD: Final = {
    **_FLOWING,
    "Next": FieldRule("next", fields.target),
    "End": FieldRule("", fields.flag),
    "Assign": FieldRule("assign", fields.assignments),
}
_HANDLING: Final = {
    **_ONWARD,
    "ResultSelector": FieldRule("result_selector", fields.template, "JSONPath"),
    "ResultPath": FieldRule("result_path", fields.result_place, "JSONPath"),
    "Retry": FieldRule("retriers", handler_fields.retriers),
    "Catch": FieldRule("catchers", handler_fields.catchers),
}
_ARGUMENTS: Final = {
    "Parameters": FieldRule("parameters", fields.parameters, "JSONPath"),
    "Arguments": FieldRule("template", fields.arguments, "JSONata"),
}
_WAIT_SECONDS: Final = quantities.seconds("Seconds", 0)
_TIMEOUT: Final = quantities.seconds("TimeoutSeconds", has_milliseconds=True)
_HEARTBEAT: Final = quantities.seconds("HeartbeatSeconds")


def _output_schema(value: Json, pointer: JsonPointer, scope: FieldScope) -> ValueSchema | None:
    try:
        return schema_of(value)
    except SchemaRefused as refusal:
        scope.diagnostics.add(refusal.pointer(pointer), refusal.why)
        return None


COMPILED_SHAPES: Final[Mapping[str, ObjectShape]] = MappingProxyType(
    {
        "Succeed": ObjectShape(
            {**_FLOWING, "OutputSchema": FieldRule("output_schema", _output_schema)}, elsewhere=("Type",)
        ),
    }
)
"""What states of definitions that were compiled may hold, where that is more than the States Language knows."""

STATE_TYPES: Final[Mapping[str, StateType]] = MappingProxyType(
    {
        "Pass": StateType(
            ObjectShape(
                {
                    **_ONWARD,
                    "Parameters": FieldRule("parameters", fields.parameters, "JSONPath"),
                    "Result": FieldRule("fixed_result", fields.anything, "JSONPath"),
                    "ResultPath": FieldRule("result_path", fields.result_place, "JSONPath"),
                },
                checks=(one_way_on,),
                elsewhere=("Type",),
            ),
            _flowing(PassState),
        ),
        "Task": StateType(
            ObjectShape(
                {
                    **_HANDLING,
                    **_ARGUMENTS,
                    "Resource": FieldRule("resource", fields.resource),
                    **map_fields.quantity_fields(_TIMEOUT, "timeout"),
                    **map_fields.quantity_fields(_HEARTBEAT, "heartbeat"),
                    "Credentials": FieldRule("credentials", fields.credentials),
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
            ObjectShape(
                {
                    **_FLOWING,
                    "Choices": FieldRule("rules", choice_fields.rules),
                    "Default": FieldRule("default", fields.target),
                    "Assign": FieldRule("assign", fields.assignments),
                },
                required=("Choices",),
                elsewhere=("Type",),
            ),
            _build_choice,
        ),
        "Wait": StateType(
            ObjectShape(
                {
                    **_ONWARD,
                    "Seconds": FieldRule("seconds", quantities.number(_WAIT_SECONDS)),
                    "SecondsPath": FieldRule("seconds", quantities.delay_path(_WAIT_SECONDS), "JSONPath"),
                    "Timestamp": FieldRule("timestamp", quantities.timestamp),
                    "TimestampPath": FieldRule("timestamp", quantities.timestamp_path, "JSONPath"),
                },
                checks=(one_way_on, exactly_one("Seconds", "Timestamp", "SecondsPath", "TimestampPath")),
                elsewhere=("Type",),
            ),
            _flowing(WaitState),
        ),
        "Succeed": StateType(ObjectShape(_FLOWING, elsewhere=("Type",)), _flowing(SucceedState)),
        "Fail": StateType(
            ObjectShape(
                {
                    **_COMMON,
                    "Error": FieldRule("error", quantities.string),
                    "ErrorPath": FieldRule("error", quantities.string_path("ErrorPath"), "JSONPath"),
                    "Cause": FieldRule("cause", quantities.string),
                    "CausePath": FieldRule("cause", quantities.string_path("CausePath"), "JSONPath"),
                },
                checks=(not_both("Error", "ErrorPath"), not_both("Cause", "CausePath")),
                elsewhere=("Type",),
            ),
            _build_fail,
        ),
        "Parallel": StateType(
            ObjectShape(
                {**_HANDLING, **_ARGUMENTS, "Branches": FieldRule("branches", map_fields.branches)},
                required=("Branches",),
                checks=(one_way_on,),
                elsewhere=("Type",),
            ),
            _flowing(ParallelState),
        ),
        "Map": StateType(
            ObjectShape(
                {**_HANDLING, **map_fields.MAP_FIELDS},
                checks=(one_way_on, *map_fields.MAP_CHECKS),
                elsewhere=("Type",),
            ),
            _build_map,
        ),
    }
)

_MISSING: Final = [kind.__name__ for kind in get_args(CompiledState) if kind.type not in STATE_TYPES]
if _MISSING:
    raise TypeError(f"{__name__} has no row for {', '.join(_MISSING)}")
