"""Compiled expressions: fields of a state that are computed from a value and an environment.

One shape for every query language, so that states need not know which one they are written in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from perdure.engine.language import errors
from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.paths import CONTEXT, Path
from perdure.engine.language.values import MISSING, Json, quoted

Evaluate: TypeAlias = Callable[[Json, Environment], Json]
"""`evaluate(value, env)`: paths start from the value, JSONata reads the environment only. Raises StatesError."""


class Expression(msgspec.Struct, frozen=True):
    """A compiled field.

    `source`: the field's value as written.
    `evaluate`: `evaluate(value, env)` gives the value, or raises StatesError. It never gives a copy of what it finds,
        and never mutates what it is given.
    """

    source: Json
    evaluate: Evaluate


def constant(value: Json) -> Expression:
    """Make the expression of a value that stands for itself."""
    return Expression(value, lambda _value, _env: value)


def selection(path: Path) -> Expression:
    """Make the expression of a field whose path must find something: InputPath, TimeoutSecondsPath and others."""
    cause = f"Invalid path '{path.text}' : No results for path: {canonical(path)}"
    return _or_raise(path, lambda _value, _env: StatesError(errors.RUNTIME, cause))


def comparand(path: Path) -> Expression:
    """Make the expression of a path in a Choice rule."""
    cause = f"Invalid path '{path.text}': The choice state's condition path references an invalid value."
    return _or_raise(path, lambda _value, _env: StatesError(errors.RUNTIME, cause))


def delay(path: Path, field: str) -> Expression:
    """Make the expression of a field that says how long, or until when, a Wait state waits."""
    cause = f"The {field} parameter does not reference an input value: {path.text}"
    return _or_raise(path, lambda _value, _env: StatesError(errors.RUNTIME, cause))


def parameter(path: Path, field: str) -> Expression:
    """Make the expression of a member of a payload template, its name with `.$`, or of ErrorPath or CausePath."""

    def absent(value: Json, env: Environment) -> StatesError:
        if path.root and path.root != CONTEXT:
            cause = f"The variable '{path.text}' specified for the field '{field}' could not be found"
            return StatesError(errors.ABSENT_PARAMETER, cause)
        source = quoted(env.context if path.root else value)
        return StatesError(
            errors.ABSENT_PARAMETER,
            f"The JSONPath '{path.text}' specified for the field '{field}' could not be found in the input '{source}'",
        )

    return _or_raise(path, absent)


def canonical(path: Path) -> str:
    """Write a path as AWS's reader does in its messages: `$['a'][0]`."""
    if path.steps is None:
        return path.text
    root = "$$" if path.root == CONTEXT else "$" + path.root
    return root + "".join(f"['{step}']" if isinstance(step, str) else f"[{step}]" for step in path.steps)


def _or_raise(path: Path, absent: Callable[[Json, Environment], StatesError]) -> Expression:
    find = path.find
    if path.is_identity:  # the root is never absent
        return Expression(path.text, find)

    def evaluate(value: Json, env: Environment) -> Json:
        found = find(value, env)
        if found is MISSING:
            raise absent(value, env)
        return found

    return Expression(path.text, evaluate)
