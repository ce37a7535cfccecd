"""Expressions: what a field of a state computes from an input and the context object.

One shape for every query language, so that states need not know which one they are written in.
"""

import dataclasses
from collections.abc import Callable
from typing import Final, TypeAlias

from engine.language import errors
from engine.language.errors import StatesError
from engine.language.paths import Path
from engine.language.values import MISSING, Context, Json, compact

Evaluate: TypeAlias = Callable[[Json, Context], Json]
"""``evaluate(input, context)`` gives the value; raises StatesError."""

QUOTED_INPUT_MAX: Final = 2000
"""Characters of an input that a cause quotes: an input may be a quarter of a megabyte."""


@dataclasses.dataclass(frozen=True, slots=True)
class Expression:
    """A compiled field.

    Attributes:
        source: The field's value as written.
        evaluate: ``evaluate(input, context)`` gives the value, or raises StatesError. It never gives a copy
            of what it finds, and never mutates what it is given.
        uses_context: Whether it reads the context object.
    """

    source: Json
    evaluate: Evaluate
    uses_context: bool = False


def selection(path: Path) -> Expression:
    """Make the expression of a field whose path must find something: InputPath, SecondsPath and others."""
    cause = f"Invalid path '{path.text}' : No results for path: {canonical(path)}"
    return _or_raise(path, lambda _value, _context: StatesError(errors.RUNTIME, cause))


def comparand(path: Path) -> Expression:
    """Make the expression of a path in a Choice rule."""
    cause = f"Invalid path '{path.text}': The choice state's condition path references an invalid value."
    return _or_raise(path, lambda _value, _context: StatesError(errors.RUNTIME, cause))


def parameter(path: Path, field: str) -> Expression:
    """Make the expression of a member of a payload template; ``field`` is its name, ``.$`` included."""

    def absent(value: Json, context: Context) -> StatesError:
        source = compact(context if path.uses_context else value)
        source = source if len(source) <= QUOTED_INPUT_MAX else source[: QUOTED_INPUT_MAX - 1] + "…"
        return StatesError(
            errors.ABSENT_PARAMETER,
            f"The JSONPath '{path.text}' specified for the field '{field}' could not be found in the input '{source}'",
        )

    return _or_raise(path, absent)


def canonical(path: Path) -> str:
    """Write a path as AWS's reader does in its messages: ``$['a'][0]``."""
    if path.steps is None:
        return path.text
    return "$" + "".join(f"['{step}']" if isinstance(step, str) else f"[{step}]" for step in path.steps)


def _or_raise(path: Path, absent: Callable[[Json, Context], StatesError]) -> Expression:
    find = path.find
    if path.is_identity:  # the root is never absent
        return Expression(path.text, find, path.uses_context)

    def evaluate(value: Json, context: Context) -> Json:
        found = find(value, context)
        if found is MISSING:
            raise absent(value, context)
        return found

    return Expression(path.text, evaluate, path.uses_context)
