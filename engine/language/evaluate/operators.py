"""The comparison operators of Choice rules, as tables.

A value of another type than the operator's compares false and is no error: true is no number, "1" is no
number, an object equals nothing (recorded: choice_operators/*).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from perdure.engine.language.instants import instant_ns
from perdure.engine.language.values import MISSING, Json, is_number

Test: TypeAlias = Callable[[Json], bool]
"""Tests the value of Variable."""

PATH: Final = "Path"
"""Ends the name of an operator that compares with what a path finds."""


class Comparison(NamedTuple):
    """An operator that compares two values of one type.

    `operand`: reads a value as that type: what is compared, or None if it is of another type.
    `compare`: compares two operands.
    `expects`: what the value must be, for a problem's message.
    """

    operand: Callable[[Json], Any]
    compare: Callable[[Any, Any], bool]
    expects: str

    def holds(self, value: Json, other: Json) -> bool:
        """Compare two values; false if either is of another type."""
        left, right = self.operand(value), self.operand(other)
        return left is not None and right is not None and self.compare(left, right)

    def test(self, other: Json) -> Test:
        """Make the test against a value that is known when the definition is compiled."""
        operand, compare, right = self.operand, self.compare, self.operand(other)

        def test(value: Json) -> bool:
            left = operand(value)
            return left is not None and compare(left, right)

        return test


def _string(value: Json) -> str | None:
    return value if type(value) is str else None


def _utf16(value: Json) -> bytes | None:
    # Java, which AWS runs on, orders strings by UTF-16 code units; Python orders them by code points.
    return value.encode("utf-16-be", "surrogatepass") if type(value) is str else None


def _number(value: Json) -> int | float | None:
    return value if is_number(value) else None


def _boolean(value: Json) -> bool | None:
    return value if type(value) is bool else None


def _instant(value: Json) -> int | None:
    return instant_ns(value) if type(value) is str else None


_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "GreaterThan": operator.gt,
    "LessThanEquals": operator.le,
    "GreaterThanEquals": operator.ge,
}


def _family(prefix: str, operand: Callable[[Json], Any], expects: str) -> dict[str, Comparison]:
    return {prefix + name: Comparison(operand, compare, expects) for name, compare in _ORDERS.items()}


COMPARISONS: Final[Mapping[str, Comparison]] = MappingProxyType(
    {
        **_family("String", _utf16, "a string"),
        "StringEquals": Comparison(_string, operator.eq, "a string"),
        **_family("Numeric", _number, "a number"),
        **_family("Timestamp", _instant, "a timestamp such as 2024-11-06T09:42:03Z"),
        "BooleanEquals": Comparison(_boolean, operator.is_, "true or false"),
    }
)
"""Each of these has a form with a path too: `StringEqualsPath` …"""

TYPE_TESTS: Final[Mapping[str, Test]] = MappingProxyType(
    {
        "IsNull": lambda value: value is None,
        "IsPresent": lambda value: value is not MISSING,
        "IsString": lambda value: type(value) is str,
        "IsNumeric": is_number,
        "IsBoolean": lambda value: type(value) is bool,
        "IsTimestamp": lambda value: _instant(value) is not None,
    }
)
"""The rule's value says whether the test must hold or must not."""

STRING_MATCHES: Final = "StringMatches"

NAMES: Final = frozenset({*COMPARISONS, *(name + PATH for name in COMPARISONS), *TYPE_TESTS, STRING_MATCHES})
"""Every operator that has a Variable."""

_PATTERN_PART: Final = re.compile(r"\\(?P<escaped>[*\\])|(?P<star>\*+)|(?P<open>\\)|(?P<text>[^*\\]+)")


def compile_pattern(pattern: str) -> Test:
    r"""Compile a StringMatches pattern: `*` stands for any text, `\*` and `\\` for themselves.

    The test takes time in proportion to the text: there is no backtracking.

    Raises ValueError: a backslash stands before something else (States Language spec: an open escape).
    """
    pieces = [""]  # the literal texts between the stars
    for part in _PATTERN_PART.finditer(pattern):
        if part["open"]:
            raise ValueError(r"a backslash stands only before * or another backslash")
        if part["star"]:
            pieces.append("")
        else:
            pieces[-1] += part["escaped"] or part["text"]
    if len(pieces) == 1:
        return lambda value: type(value) is str and value == pieces[0]
    first, *middle, last = pieces
    return lambda value: type(value) is str and _matches(value, first, middle, last)


def _matches(text: str, first: str, middle: list[str], last: str) -> bool:
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:  # the leftmost place of each piece leaves the most room for the rest
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
