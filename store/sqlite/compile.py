"""Compiles SQLAlchemy statements once, so that the driver can run them directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECT: Final = dialect(paramstyle="qmark")

_SIZES: Final = (1, 8, 64, 512)
"""A statement with a list is compiled for lists of these sizes; a shorter one is filled up with its last value."""


class Compiled(NamedTuple):
    """A statement's text, its parameters' names in order, and the values of those it brings itself."""

    text: str
    names: tuple[str, ...]
    own: Mapping[str, Any]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The parameters in order. Raises KeyError for one that is missing."""
        return [parameters[name] if name in parameters else self.own[name] for name in self.names]


class Compiler:
    """The statements that were compiled so far, each for the sizes of its lists."""

    def __init__(self) -> None:
        self._known: dict[tuple[ClauseElement, tuple[tuple[str, int], ...]], Compiled] = {}

    def compiled(self, statement: ClauseElement, parameters: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The text of a statement that is the same object each time, and its values in order.

        Raises KeyError for a parameter that is missing, ValueError for a list that is empty or too long.
        """
        lists = {name: filled_up(value) for name, value in parameters.items() if isinstance(value, list)}
        key = statement, tuple(sorted((name, len(values)) for name, values in lists.items()))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = compile_statement(statement, {**parameters, **lists})
        return known.text, known.values({**parameters, **_one_by_one(lists)} if lists else parameters)


def filled_up(values: list[Any]) -> list[Any]:
    """A list brought to the next size that statements are compiled for. Raises ValueError: it is empty, or too long."""
    for size in _SIZES:
        if 0 < len(values) <= size:
            return [*values, *[values[-1]] * (size - len(values))]
    message = f"a list in a statement has 1 to {_SIZES[-1]} values; this one has {len(values)}"
    raise ValueError(message)


def _one_by_one(lists: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The values of lists, under the names that SQLAlchemy gives them."""
    return {f"{name}_{number}": value for name, values in lists.items() for number, value in enumerate(values, 1)}


def compile_statement(statement: ClauseElement, like: Mapping[str, Any] | None = None) -> Compiled:
    """Compile for SQLite. Lists among the parameters (`IN`) must be as long as those in `like`."""
    compiled = statement.compile(dialect=_DIALECT)
    own = {name: value for name, value in (compiled.params or {}).items() if value is not None}
    if not any(isinstance(value, list) for value in (like or {}).values()):
        return Compiled(str(compiled), tuple(getattr(compiled, "positiontup", None) or ()), own)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError(f"no statement with lists: {statement!r}")
    expanded = compiled.construct_expanded_state(dict(like or {}))
    return Compiled(expanded.statement, tuple(expanded.positiontup or ()), own)
