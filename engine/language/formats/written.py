"""Expressions in JSONata as they are put together, and what they read."""

from __future__ import annotations

from typing import Final, NamedTuple

ATOM: Final = 100
UNARY: Final = 70
TERNARY: Final = 20
DEFAULT: Final = 22
SEQUENCE: Final = 5
COALESCE: Final = 41
"""What stands before JSONata's `??` binds at least so tight."""


class Written(NamedTuple):
    """An expression in JSONata.

    `text`: the expression.
    `level`: how tight its outermost operator binds.
    `kind`: `constant`, `path` (a way into something that is there by name), or `other`.
    `may_be_missing`: whether it can give nothing.
    """

    text: str
    level: int = ATOM
    kind: str = "other"
    may_be_missing: bool = True

    def within(self, level: int) -> str:
        """Give its text as an operand of what binds so tight."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def or_null(self) -> str:
        """Its text, null if it gives nothing."""
        return f"({self.within(COALESCE)} ?? null)" if self.may_be_missing else self.within(UNARY)


class Reads(NamedTuple):
    """The names of the format that an expression reads."""

    roots: set[str]
    steps: set[str]
    variables: set[str]
    credentials: set[str]

    @classmethod
    def none(cls) -> Reads:
        """Make an empty one."""
        return cls(set(), set(), set(), set())
