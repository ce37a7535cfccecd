"""Parsers of Retry and Catch."""

from __future__ import annotations

from typing import Final

from perdure.engine.language import errors
from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.model.flows import split_flow
from perdure.engine.language.model.handlers import SECONDS_MAX, Catcher, ErrorNames, Retrier
from perdure.engine.language.parse import fields, quantities
from perdure.engine.language.parse.tables import FieldRule, FieldScope, ObjectShape, read_object
from perdure.engine.language.values import Json, is_number

INTERVAL_MAX: Final = 31_622_400
"""The greatest MaxDelaySeconds, a leap year (AWS: Handling errors in Step Functions workflows)."""


def error_names(value: Json, pointer: JsonPointer, scope: FieldScope) -> ErrorNames | None:
    """Parse ErrorEquals."""
    if type(value) is not list or not value:
        scope.diagnostics.add(pointer, "must be a list of one or more error names")
        return None
    for index, name in enumerate(value):
        if type(name) is not str or not name:
            scope.diagnostics.add(pointer / index, "must be the name of an error")
            return None
    if errors.ALL in value and len(value) > 1:
        scope.diagnostics.add(pointer, f"{errors.ALL} stands alone")
        return None
    return ErrorNames(frozenset(value))


def _backoff_rate(value: Json, pointer: JsonPointer, scope: FieldScope) -> float | None:
    if is_number(value) and value >= 1:
        return float(min(value, quantities.COUNT_MAX))
    scope.diagnostics.add(pointer, "must be a number from 1")
    return None


def _jitter(value: Json, pointer: JsonPointer, scope: FieldScope) -> bool:
    if value not in ("FULL", "NONE"):
        scope.diagnostics.add(pointer, "must be FULL or NONE")
    return bool(value == "FULL")


def _delay_max_exceeds_interval(source: dict[str, Json], pointer: JsonPointer, scope: FieldScope) -> None:
    first, last = source.get("IntervalSeconds", 1), source.get("MaxDelaySeconds")
    if type(first) is int and type(last) is int and 0 < last <= first and first > 1:
        scope.diagnostics.add(pointer / "MaxDelaySeconds", "must be greater than IntervalSeconds")


_INTERVAL: Final = quantities.seconds("IntervalSeconds", has_milliseconds=True)
_DELAY_MAX: Final = quantities.count("MaxDelaySeconds", 1, INTERVAL_MAX)._replace(has_milliseconds=True)
_COMMENT: Final = FieldRule("comment", fields.text)

RETRIER: Final = ObjectShape(
    {
        "ErrorEquals": FieldRule("errors", error_names),
        "IntervalSeconds": FieldRule("interval_s", quantities.literal(_INTERVAL)),
        "MaxAttempts": FieldRule("attempts_max", quantities.literal(quantities.count("MaxAttempts", 0, SECONDS_MAX))),
        "BackoffRate": FieldRule("backoff_rate", _backoff_rate),
        "MaxDelaySeconds": FieldRule("delay_max_s", quantities.literal(_DELAY_MAX)),
        "JitterStrategy": FieldRule("has_jitter", _jitter),
        "Comment": _COMMENT,
    },
    required=("ErrorEquals",),
    checks=(_delay_max_exceeds_interval,),
)
CATCHER: Final = ObjectShape(
    {
        "ErrorEquals": FieldRule("errors", error_names),
        "Next": FieldRule("next", fields.target),
        "ResultPath": FieldRule("result_path", fields.result_place, "JSONPath"),
        "Output": FieldRule("output", fields.template, "JSONata"),
        "Assign": FieldRule("assign", fields.assignments),
        "Comment": _COMMENT,
    },
    required=("ErrorEquals", "Next"),
)


def retriers(value: Json, pointer: JsonPointer, scope: FieldScope) -> tuple[Retrier, ...]:
    """Parse Retry."""
    return tuple(Retrier(**given) for given in _handlers(value, pointer, scope, RETRIER))


def catchers(value: Json, pointer: JsonPointer, scope: FieldScope) -> tuple[Catcher, ...]:
    """Parse Catch."""
    parsed = []
    for given in _handlers(value, pointer, scope, CATCHER):
        flow, rest = split_flow(scope.language, given)
        parsed.append(Catcher(flow=flow, **rest))
    return tuple(parsed)


def _handlers(value: Json, pointer: JsonPointer, scope: FieldScope, shape: ObjectShape) -> list[dict[str, Json]]:
    """Parse a list of handlers, of which that for all errors comes last."""
    if type(value) is not list:
        scope.diagnostics.add(pointer, "must be a list")
        return []
    parsed = []
    for index, source in enumerate(value):
        if scope.diagnostics.is_full:
            break
        given = read_object(source, pointer / index, scope, shape)
        if given is not None:
            parsed.append(given)
        if index + 1 < len(value) and type(source) is dict and source.get("ErrorEquals") == [errors.ALL]:
            scope.diagnostics.add(pointer / index / "ErrorEquals", f"{errors.ALL} stands in the last one only")
    return parsed
