"""Retry and Catch: their parsers."""

from typing import Final

from engine.language import errors, fields, quantities
from engine.language.findings import Place
from engine.language.flows import split_flow
from engine.language.handlers import SECONDS_MAX, Catcher, ErrorNames, Retrier
from engine.language.tables import Field, Scope, Shape, read_object
from engine.language.values import Json, is_number

INTERVAL_MAX: Final = 31_622_400
"""The greatest MaxDelaySeconds, a leap year (AWS: Handling errors in Step Functions workflows)."""


def error_names(value: Json, place: Place, scope: Scope) -> ErrorNames | None:
    """Parse ErrorEquals."""
    if type(value) is not list or not value:
        scope.findings.add(place, "must be a list of one or more error names")
        return None
    for index, name in enumerate(value):
        if type(name) is not str or not name:
            scope.findings.add(place / index, "must be the name of an error")
            return None
    if errors.ALL in value and len(value) > 1:
        scope.findings.add(place, f"{errors.ALL} stands alone")
        return None
    return ErrorNames(frozenset(value))


def _backoff_rate(value: Json, place: Place, scope: Scope) -> float | None:
    if is_number(value) and value >= 1:
        return float(min(value, quantities.COUNT_MAX))
    scope.findings.add(place, "must be a number from 1")
    return None


def _jitter(value: Json, place: Place, scope: Scope) -> bool:
    if value not in ("FULL", "NONE"):
        scope.findings.add(place, "must be FULL or NONE")
    return bool(value == "FULL")


def _delay_max_exceeds_interval(source: dict[str, Json], place: Place, scope: Scope) -> None:
    first, last = source.get("IntervalSeconds", 1), source.get("MaxDelaySeconds")
    if type(first) is int and type(last) is int and 0 < last <= first and first > 1:
        scope.findings.add(place / "MaxDelaySeconds", "must be greater than IntervalSeconds")


_COMMENT: Final = Field("comment", fields.text)

RETRIER: Final = Shape(
    {
        "ErrorEquals": Field("errors", error_names),
        "IntervalSeconds": Field("interval_s", quantities.literal(quantities.seconds("IntervalSeconds"))),
        "MaxAttempts": Field("attempts_max", quantities.literal(quantities.count("MaxAttempts", 0, SECONDS_MAX))),
        "BackoffRate": Field("backoff_rate", _backoff_rate),
        "MaxDelaySeconds": Field(
            "delay_max_s", quantities.literal(quantities.count("MaxDelaySeconds", 1, INTERVAL_MAX))
        ),
        "JitterStrategy": Field("has_jitter", _jitter),
        "Comment": _COMMENT,
    },
    required=("ErrorEquals",),
    checks=(_delay_max_exceeds_interval,),
)
CATCHER: Final = Shape(
    {
        "ErrorEquals": Field("errors", error_names),
        "Next": Field("next", fields.target),
        "ResultPath": Field("result_path", fields.result_place, "JSONPath"),
        "Output": Field("output", fields.template, "JSONata"),
        "Assign": Field("assign", fields.assignments),
        "Comment": _COMMENT,
    },
    required=("ErrorEquals", "Next"),
)


def retriers(value: Json, place: Place, scope: Scope) -> tuple[Retrier, ...]:
    """Parse Retry."""
    return tuple(Retrier(**given) for given in _handlers(value, place, scope, RETRIER))


def catchers(value: Json, place: Place, scope: Scope) -> tuple[Catcher, ...]:
    """Parse Catch."""
    parsed = []
    for given in _handlers(value, place, scope, CATCHER):
        flow, rest = split_flow(scope.language, given)
        parsed.append(Catcher(flow=flow, **rest))
    return tuple(parsed)


def _handlers(value: Json, place: Place, scope: Scope, shape: Shape) -> list[dict[str, Json]]:
    """Parse a list of handlers, of which that for all errors comes last."""
    if type(value) is not list:
        scope.findings.add(place, "must be a list")
        return []
    parsed = []
    for index, source in enumerate(value):
        if scope.findings.is_full:
            break
        given = read_object(source, place / index, scope, shape)
        if given is not None:
            parsed.append(given)
        if index + 1 < len(value) and type(source) is dict and source.get("ErrorEquals") == [errors.ALL]:
            scope.findings.add(place / index / "ErrorEquals", f"{errors.ALL} stands in the last one only")
    return parsed
