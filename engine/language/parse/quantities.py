"""Parsers of numbers, texts and instants.

Each can be written as such, as JSONata, or in a field whose name ends in Path. Whichever it is, the
expression that it compiles to gives a checked value, or raises StatesError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from perdure.engine.language import errors
from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import Expression, constant, delay, selection
from perdure.engine.language.evaluate.jsonata.compile import is_jsonata
from perdure.engine.language.evaluate.paths import Path
from perdure.engine.language.instants import parse_instant
from perdure.engine.language.model.handlers import SECONDS_MAX
from perdure.engine.language.parse.fields import reference, reference_or_intrinsic
from perdure.engine.language.parse.fields import text as parse_text
from perdure.engine.language.parse.jsonata_fields import compile_jsonata_field
from perdure.engine.language.parse.tables import FieldScope, Parse
from perdure.engine.language.values import Json, cut, is_number, quoted

COUNT_MAX: Final = 2**53
"""Beyond any count that an execution can reach."""


MILLISECOND: Final = 0.001
"""The shortest time of a compiled definition, in seconds."""

_NUMERAL: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")


class Quantity(NamedTuple):
    """The range and form of a number field.

    `field`: the field that holds the number itself; with Path behind its name, that which holds a path to it.
    `lowest`: the smallest.
    `highest`: the greatest.
    `beyond`: what AWS says of one that is out of range.
    `is_whole`: whether it has no fraction.
    `reads_text`: whether a path may find it as a text (recorded: MAP_STATE_REFERENCE_IN_MAX_CONCURRENCY_PATH).
    `has_milliseconds`: whether a compiled definition may hold it with a fraction, from a millisecond on.
    """

    field: str
    lowest: int
    highest: int
    beyond: str
    is_whole: bool = True
    reads_text: bool = False
    has_milliseconds: bool = False

    def accepts(self, value: Json) -> bool:
        """Say whether a value is such a number, whatever its size."""
        return type(value) is int or (not self.is_whole and is_number(value))

    def holds(self, value: Json) -> bool:
        """Say whether a number is in range."""
        return bool(self.lowest <= value <= self.highest)

    def holds_fraction(self, value: Json) -> bool:
        """Say whether a value may stand in a compiled definition, though not in one written by hand."""
        return self.has_milliseconds and is_number(value) and bool(MILLISECOND <= value <= self.highest)

    def words(self) -> str:
        """Say what is wanted."""
        kind = "whole number" if self.is_whole else "number"
        return f"must be a {kind} from {self.lowest}" + ("" if self.highest == COUNT_MAX else f" to {self.highest}")


def seconds(field: str, lowest: int = 1, *, has_milliseconds: bool = False) -> Quantity:
    """Make the quantity of a time in seconds."""
    beyond = f"{field} must be between {lowest} and {SECONDS_MAX}."
    return Quantity(field, lowest, SECONDS_MAX, beyond, has_milliseconds=has_milliseconds)


def count(field: str, lowest: int = 0, highest: int = COUNT_MAX) -> Quantity:
    """Make the quantity of a number of things."""
    beyond = f"{field} cannot be negative." if highest == COUNT_MAX and lowest == 0 else f"{field} is out of range."
    return Quantity(field, lowest, highest, beyond, reads_text=True)


def percentage(field: str) -> Quantity:
    """Make the quantity of a percentage."""
    return Quantity(field, 0, 100, f"{field} must be between 0 and 100.", is_whole=False, reads_text=True)


def literal(quantity: Quantity) -> Parse:
    """Make the parser of a field that holds such a number itself, and nothing else."""

    def parse(value: Json, pointer: JsonPointer, scope: FieldScope) -> Any:
        if quantity.accepts(value) and quantity.holds(value):
            return value
        if scope.diagnostics.is_compiled and quantity.holds_fraction(value):
            return value
        scope.diagnostics.add(pointer, quantity.words())
        return None

    return parse


def number(quantity: Quantity) -> Parse:
    """Make the parser of a field that holds such a number, or JSONata that gives one."""
    parse_literal = literal(quantity)

    def parse(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
        if not (scope.is_jsonata and is_jsonata(value)):
            return None if parse_literal(value, pointer, scope) is None else constant(value)
        found = compile_jsonata_field(value, pointer, scope, "number")
        return None if found is None else _checked_number(found, quantity)

    return parse


def _checked_number(found: Expression, quantity: Quantity) -> Expression:
    def evaluate(value: Json, env: Environment) -> Json:
        given = found.evaluate(value, env)
        if not quantity.accepts(given) or not quantity.holds(given):
            cause = quantity.beyond if quantity.accepts(given) else f"{quantity.field} must be an integer."
            raise StatesError(errors.QUERY_EVALUATION_ERROR, cause)
        return given

    return Expression(found.source, evaluate)


def number_path(quantity: Quantity, make: Callable[[Path], Expression] = selection) -> Parse:
    """Make the parser of a field that holds a path to such a number; `make` is for a path that finds nothing."""

    def parse(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
        found = reference(value, pointer, scope, make)
        return None if found is None else _number_found(found, quantity)

    return parse


def delay_path(quantity: Quantity) -> Parse:
    """Make the parser of SecondsPath."""
    return number_path(quantity, lambda path: delay(path, f"{quantity.field}Path"))


def _number_found(found: Expression, quantity: Quantity) -> Expression:
    kind = "integer" if quantity.is_whole else "float"

    def evaluate(value: Json, env: Environment) -> Json:
        given = found.evaluate(value, env)
        if quantity.reads_text and type(given) is str:
            given = _read(given)
        if not quantity.accepts(given):
            written = cut(given, 200) if type(given) is str else quoted(given, 200)
            raise StatesError(
                errors.RUNTIME,
                f'The {quantity.field}Path field refers to value "{written}" '
                f"which is not a valid {kind}: {found.source}",
            )
        if not quantity.holds(given):
            raise StatesError(errors.RUNTIME, quantity.beyond)
        return given

    return Expression(found.source, evaluate)


def _read(text: str) -> int | float | str:
    """Read a text as the number that it may be."""
    if _NUMERAL.fullmatch(text) is None:
        return text
    return float(text) if "." in text else int(text)


def string(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse Error or Cause: a text, or JSONata that gives one."""
    if parse_text(value, pointer, scope) is None:
        return None
    if scope.is_jsonata and is_jsonata(value):
        return compile_jsonata_field(value, pointer, scope, "string")
    return constant(value)


def string_path(field: str) -> Parse:
    """Make the parser of a field that holds a path to a text, or an intrinsic function that gives one."""

    def parse(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
        found = reference_or_intrinsic(field, value, pointer, scope)
        return None if found is None else _string_found(found, field)

    return parse


def _string_found(found: Expression, field: str) -> Expression:
    def evaluate(value: Json, env: Environment) -> Json:
        given = found.evaluate(value, env)
        if type(given) is not str:
            raise StatesError(
                errors.RUNTIME,
                f"The {field} field does not reference a string: {found.source} == {quoted(given, 200)}",
            )
        return given

    return Expression(found.source, evaluate)


def timestamp(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse Timestamp, to milliseconds since 1970."""
    if scope.is_jsonata and is_jsonata(value):
        found = compile_jsonata_field(value, pointer, scope, "string")
        return None if found is None else _instant_found(found, "Timestamp", errors.QUERY_EVALUATION_ERROR)
    instant = parse_instant(value) if type(value) is str else None
    if instant is None:
        scope.diagnostics.add(pointer, "must be a timestamp such as 2024-11-06T09:42:03Z")
        return None
    return constant(instant)


def timestamp_path(value: Json, pointer: JsonPointer, scope: FieldScope) -> Expression | None:
    """Parse TimestampPath, to milliseconds since 1970."""
    found = reference(value, pointer, scope, lambda path: delay(path, "TimestampPath"))
    return None if found is None else _instant_found(found, "TimestampPath", errors.RUNTIME)


def _instant_found(found: Expression, field: str, error: str) -> Expression:
    def evaluate(value: Json, env: Environment) -> Json:
        given = found.evaluate(value, env)
        instant = parse_instant(given) if type(given) is str else None
        if instant is None:
            raise StatesError(
                error,
                f"The {field} parameter does not reference a valid ISO-8601 extended offset date-time "
                f"format string: {found.source} == {quoted(given, 200)}",
            )
        return instant

    return Expression(found.source, evaluate)
