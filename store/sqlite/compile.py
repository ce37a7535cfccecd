"""Statements compiled once, to be run by the driver itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.sqlite import dialect

_DIALECT: Final = dialect(paramstyle="qmark")


class Compiled(NamedTuple):
    """A statement's text, its parameters' names in order, and the values of those it brings itself."""

    text: str
    names: tuple[str, ...]
    own: Mapping[str, Any]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The parameters in order. Raises KeyError for one that is missing."""
        return [parameters[name] if name in parameters else self.own[name] for name in self.names]


def compile_statement(statement: ClauseElement) -> Compiled:
    """Compile for SQLite; a statement must not have lists (`IN`) for parameters."""
    compiled = statement.compile(dialect=_DIALECT)
    names = tuple(getattr(compiled, "positiontup", None) or ())
    own = {name: value for name, value in (compiled.params or {}).items() if value is not None}
    return Compiled(str(compiled), names, own)
