"""JSONPath queries, which can match several values.

python-jsonpath reads the path and evaluates its filters. The walk is ours: it counts what it visits, so that
no path over no input takes long, and it keeps nothing but the values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import jsonpath
from jsonpath import filter as filters
from jsonpath import selectors
from jsonpath.segments import JSONPathRecursiveDescentSegment

from perdure.engine.language import errors
from perdure.engine.language.errors import StatesError
from perdure.engine.language.values import MISSING, Json

VISITS_MAX: Final = 1_000_000
"""Values that one path may visit, every part of a filter counted for every value it is asked about.
Less than a second's work; the largest inputs hold about 130,000 values."""

DEPTH_MAX: Final = 50
"""Levels of a filter."""

Query: TypeAlias = Callable[[Json], Json]


class _Environment(jsonpath.JSONPathEnvironment):
    """python-jsonpath as it is, but for `in`, which would find true in [1]."""

    def compare(self, left: object, operator: str, right: object) -> bool:
        if operator == "in":
            return isinstance(right, list) and any(self.compare(left, "==", item) for item in right)
        return super().compare(left, operator, right)


_ENVIRONMENT: Final = _Environment(strict=False)

# What a path may be made of. Left out: patterns (=~, match, search), which can take exponential time; what
# can take quadratic time, such as a filter's query that matches several places; and what python-jsonpath
# has invented.
_SELECTORS: Final = (
    selectors.NameSelector,
    selectors.IndexSelector,
    selectors.SliceSelector,
    selectors.WildcardSelector,
)
_OPERANDS: Final = (
    filters.InfixExpression,
    filters.PrefixExpression,
    filters.FilterExpressionLiteral,
    filters.Nil,
    filters.ListLiteral,
)
_QUERIES: Final = (filters.RelativeFilterQuery, filters.RootFilterQuery)

# The steps of a path outside filters. AWS's reader takes more names after a dot than python-jsonpath does,
# and a dot before a bracket; so names are handed on in brackets and quotes.
_TEXT: Final = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_PLAIN: Final = rf"""{_TEXT}|[^\[\]'"]"""
_STEP: Final = re.compile(
    rf"""(?P<dots>\.\.|\.)?(?:(?P<star>\*)|(?P<name>[^\s.\[\]()*'",?]+)|(?P<bracket>\[(?:{_PLAIN}|\[(?:{_PLAIN})*\])*\]))""",
    re.DOTALL,
)

# A word of a filter that is compared with: AWS's reader takes it without quotes, and its own samples have it so.
_WORD: Final = re.compile(
    rf"""(?:{_TEXT})|(?P<operator>[=!]=|[<>]=?)(?P<blanks>\s*)(?P<word>[^\W\d][\w-]*)(?=\s*(?:[)\]]|&&|\|\|))"""
)
_CONSTANTS: Final = frozenset({"true", "false", "null", "nil", "none", "undefined", "missing"})


def compile_query(text: str) -> Query:
    """Compile a path that starts with one `$`.

    Returns a function that gives the list of what matches, in document order, empty if nothing does. For names in one
    last bracket below one place, `$.a['b','c']`, it gives an object of those members, as AWS does, or MISSING if that
    place is no object. It raises StatesError if it visits too much.

    Raises ValueError: the path has no meaning, or needs what is not supported; the text says which.
    """
    try:
        query = _ENVIRONMENT.compile(_quoted(text))
    except (jsonpath.JSONPathError, ValueError, ArithmeticError, RecursionError) as error:
        lines = str(error).splitlines()
        raise ValueError(f"not a path: {lines[0] if lines else 'cannot be read'}") from None
    if not isinstance(query, jsonpath.JSONPath):
        raise ValueError("not a path: one path cannot be combined with another")  # noqa: TRY004
    if query.singular_query():  # a reference path, but for blanks, which AWS's reader does not take
        raise ValueError("not a path: there are blanks between its steps")
    walk = tuple(_segment(segment) for segment in query.segments)
    names = _picked_names(query)
    return _pick(walk[:-1], names) if names else lambda root: list(_matches(root, walk))


def _quoted(text: str) -> str:
    """Write every name after a dot in brackets; what is no step is left to the reader, to complain about."""
    steps = ["$"]
    position = 1
    while match := _STEP.match(text, position):
        dots, star, name, bracket = match.groups()
        if dots is None and bracket is None:
            break
        deep = ".." if dots == ".." else ""
        plain = f"[{star}]" if star else f"['{(name or '').replace(chr(92), chr(92) * 2)}']"
        steps.append(deep + (_WORD.sub(_as_text, bracket) if bracket else plain))
        position = match.end()
    return "".join(steps) + text[position:]


def _as_text(match: re.Match[str]) -> str:
    """Write a word in quotes; what is a text already, or a constant, stays as it is."""
    operator, blanks, word = match.groups()
    return match.group() if word is None or word.casefold() in _CONSTANTS else f"{operator}{blanks}'{word}'"


class _Budget:
    """The budget of one evaluation: the nodes that it may still visit."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = VISITS_MAX

    def spend(self, visits: int) -> None:
        self.left -= visits
        if self.left < 0:
            raise StatesError(errors.RUNTIME, f"A path visits more than {VISITS_MAX} values of its input.")


Select: TypeAlias = Callable[[Json, Json, _Budget], Iterable[Json]]
"""`select(value, root, budget)` gives the values that a selector finds right below a value."""

Segment: TypeAlias = tuple[bool, tuple[Select, ...]]
"""Whether to search all descendants, and the selectors to apply."""


def _matches(root: Json, walk: tuple[Segment, ...]) -> Iterable[Json]:
    budget = _Budget()
    found: Iterable[Json] = (root,)
    for is_deep, selects in walk:
        found = _below(found, root, budget, selects, is_deep=is_deep)
    return found


def _below(
    values: Iterable[Json], root: Json, budget: _Budget, selects: tuple[Select, ...], *, is_deep: bool
) -> Iterator[Json]:
    for value in values:
        for start in _descendants(value, budget) if is_deep else (value,):
            for select in selects:
                for found in select(start, root, budget):
                    budget.spend(1)
                    yield found


def _descendants(value: Json, budget: _Budget) -> Iterator[Json]:
    """Walk over a value and all that it holds, each before what it holds."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if type(value) is dict or type(value) is list:
            budget.spend(1)
            yield value
            waiting.extend(reversed(_children(value)))


def _children(value: Json) -> list[Json]:
    if type(value) is dict:
        return list(value.values())
    return value if type(value) is list else []


def _segment(segment: Any) -> Segment:
    return isinstance(segment, JSONPathRecursiveDescentSegment), tuple(map(_select, segment.selectors))


def _select(selector: Any) -> Select:
    """Make the function of one selector."""
    if isinstance(selector, selectors.Filter):
        return _filter(selector.expression)
    if not isinstance(selector, _SELECTORS):
        raise ValueError(f"not a path: {str(selector)[:40]} is not supported")  # noqa: TRY004
    if isinstance(selector, selectors.NameSelector):
        name = selector.name
        return lambda value, _root, _budget: (value[name],) if type(value) is dict and name in value else ()
    if isinstance(selector, selectors.WildcardSelector):
        return lambda value, _root, _budget: _children(value)
    if isinstance(selector, selectors.SliceSelector):
        part = selector.slice
        if part.step == 0:
            raise ValueError("not a path: the step of a slice cannot be 0")
        return lambda value, _root, _budget: value[part] if type(value) is list else ()
    index = selector.index

    def item(value: Json, _root: Json, _budget: _Budget) -> Iterable[Json]:
        return (value[index],) if type(value) is list and -len(value) <= index < len(value) else ()

    return item


def _filter(expression: Any) -> Select:
    cost = _cost(expression.expression)

    def select(value: Json, root: Json, budget: _Budget) -> Iterator[Json]:
        for child in _children(value):
            budget.spend(cost)
            context = selectors.FilterContext(env=_ENVIRONMENT, current=child, root=root)
            if _holds(expression, context):
                yield child

    return select


def _holds(expression: Any, context: selectors.FilterContext) -> bool:
    try:
        return bool(expression.evaluate(context))
    except RecursionError:
        raise StatesError(errors.RUNTIME, "A filter compares values that are nested too deeply.") from None


def _cost(expression: Any, depth: int = 1) -> int:
    """Count the parts of a filter; refuse what may take long."""
    if isinstance(expression, _QUERIES):
        if not expression.path.singular_query():
            raise ValueError("not a path: a path within a filter must name one place")
        return 1 + len(expression.path.segments)
    is_refused = not isinstance(expression, _OPERANDS) or isinstance(expression, filters.RegexLiteral)
    if is_refused or (isinstance(expression, filters.InfixExpression) and not _is_quick(expression)):
        raise ValueError("not a path: a filter compares values, one of them its own, with == != < <= > >= in")
    if depth > DEPTH_MAX:  # evaluation recurses
        raise ValueError("not a path: a filter has too many parts")
    children = expression.items if isinstance(expression, filters.ListLiteral) else expression.children()
    return 1 + sum(_cost(child, depth + 1) for child in children)


def _is_quick(comparison: filters.InfixExpression) -> bool:
    """Say whether a comparison takes no longer than what it is asked about is large."""
    if comparison.operator == "in":
        return isinstance(comparison.right, filters.ListLiteral)
    root = filters.RootFilterQuery
    is_fixed = isinstance(comparison.left, root) and isinstance(comparison.right, root)
    return comparison.operator not in ("=~", "contains") and (comparison.logical or not is_fixed)


def _picked_names(query: jsonpath.JSONPath) -> tuple[str, ...]:
    """Give the names that the last bracket of a path lists, if the rest of it names one place; else ()."""
    *above, last = query.segments
    names = tuple(s.name for s in last.selectors if isinstance(s, selectors.NameSelector))
    is_single = all(
        len(segment.selectors) == 1
        and isinstance(segment.selectors[0], (selectors.NameSelector, selectors.IndexSelector))
        for segment in above
    )
    is_deep = any(isinstance(segment, JSONPathRecursiveDescentSegment) for segment in query.segments)
    return names if is_single and not is_deep and 1 < len(names) == len(last.selectors) else ()


def _pick(walk: tuple[Segment, ...], names: tuple[str, ...]) -> Query:
    def find(root: Json) -> Json:
        for value in _matches(root, walk):
            if type(value) is dict:
                return {name: value[name] for name in names if name in value}
        return MISSING

    return find
