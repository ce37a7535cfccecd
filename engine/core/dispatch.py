"""Dispatch tables by type: one function for each type of a closed set, checked for completeness on import.

    _DECIDE: Final = (
        Dispatch[State, [Facts], Outcome](__name__)
        .on(c.Trigger, trigger)
        .on(c.Advance, go_on)
        .over(c.Command)
    )

Each function takes what it works on, then the value, then what else there is: here `(State, Trigger, Facts)`. Type
checkers see that the function of a row takes the type of the row. `over` sees, when the module is imported, that every
type of the set has a row, and gives the table: a `dict`, so looking up a function costs what it costs there.

Where the static type of a value is a small closed set, a `match` that ends in `assert_never` says the same to type
checkers, and is used. What comes out of a log is an `Event`, which is open; and thirty cases are slower than one look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, get_args

A = TypeVar("A")
E = TypeVar("E")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")


class IncompleteTable(TypeError):
    """A table and its set of types do not go together; raised when the table's module is imported."""


class Table(dict[type, F]):
    """Functions by type. What has no row raises `TypeError`, which names the type and the table."""

    def __init__(self, name: str, rows: Mapping[type, F]) -> None:
        super().__init__(rows)
        self.name = name

    def __missing__(self, kind: type) -> F:
        """Raise `TypeError`: what has no row is none of the types that the table is over."""
        raise TypeError(f"{self.name} has no row for {kind.__name__}")


class Dispatch(Generic[A, P, R]):
    """A table in the making, of functions `(A, value, *P) -> R`; `name` says where it stands."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows: dict[type, Callable[Concatenate[A, Any, P], R]] = {}

    def on(self, kind: type[E], function: Callable[Concatenate[A, E, P], R]) -> Self:
        """Add a row. Raises `IncompleteTable` if the type has one."""
        if kind in self._rows:
            raise IncompleteTable(f"{self._name}: {kind.__name__} has two rows")
        self._rows[kind] = function
        return self

    def over(
        self, kinds: UnionType | Iterable[type], *, beside: Iterable[type] = ()
    ) -> Table[Callable[Concatenate[A, Any, P], R]]:
        """The table. `kinds` are all types that there are; those `beside` them need no row, and have none.

        Raises `IncompleteTable` if a type is missing, or is none of `kinds`.
        """
        check_complete(self._name, kinds, (*self._rows, *beside))
        return Table(self._name, self._rows)


def check_complete(name: str, kinds: UnionType | Iterable[type], known: Iterable[type]) -> None:
    """Check that what a table knows is each of `kinds` once and nothing else; `name` says where it stands.

    Raises `IncompleteTable`, which names the types.
    """
    known = tuple(known)
    wanted = dict.fromkeys(get_args(kinds) if isinstance(kinds, UnionType) else kinds)
    faults = {
        "has no row for": [kind.__name__ for kind in wanted if kind not in known],
        "has a row for what is none of its types:": [kind.__name__ for kind in known if kind not in wanted],
        "has more than one place for": sorted({kind.__name__ for kind in known if known.count(kind) > 1}),
    }
    told = [f"{fault} {', '.join(names)}" for fault, names in faults.items() if names]
    if told:
        raise IncompleteTable(f"{name} {'; '.join(told)}")
