"""Host functions of JSONata expressions: AWS's additions, and replacements of built-in functions.

AWS adds six ("Transforming data with JSONata in Step Functions"). Each gets its arguments as jlens hands them over,
undefined as None, and raises Refused if it cannot work with them; None as a result is undefined.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from perdure.engine.language.errors import TooSlow
from perdure.engine.language.evaluate.environment import EvaluationContext
from perdure.engine.language.evaluate.intrinsic_functions import (
    ArgumentRefused,
    count_up,
    digest,
    drawn_random,
    parse_json,
    partition,
    seeded_random,
    unique,
    uuid4,
)
from perdure.engine.language.evaluate.jsonata.integers import Inexact, first_inexact, refuse_inexact
from perdure.engine.language.evaluate.jsonata.text import DIVISOR, RANGE
from perdure.engine.language.values import Json, is_number

RANGE_MAX: Final = 100_000
"""Items that a range has at most, and that `$range` makes: as many as any array that an expression makes."""

RANGE_IN_JSONATA: Final = 10_000_000
"""Items from which on JSONata itself refuses a range, before it makes it."""

WORK_MAX: Final = 500_000
"""Microseconds, roughly, that the functions here may work in one evaluation: jlens counts a call as one step, whatever
it does, and looks at the time only now and then. An estimate, not a measurement, so that it is met at the same place
each time."""

HASTY_WORK_MAX: Final = 20_000
"""So much of that while others wait; beyond it the expression is evaluated where it holds up nobody (`TooSlow`)."""

WORDS_COST: Final = 200
"""What a character of a picture costs with which `$toMillis` reads numbers in words: all of them go into a pattern."""

PICTURE_SQUARE: Final = 500
"""The square of a picture's length costs one for so many: `$formatNumber` takes 2 µs for a thousand of them."""

CALL_COST: Final = 20
"""The cost of a call beside an item of an array, or CHARACTERS_PER_UNIT characters of a text, that it is handed."""

CHARACTERS_PER_UNIT: Final = 50

HostFunction: TypeAlias = Callable[..., Json]


class _Work:
    """The state of one evaluation: its context, and the work that its functions may still do."""

    __slots__ = ("evaluation", "is_hasty", "left")

    def __init__(self, evaluation: EvaluationContext) -> None:
        self.evaluation = evaluation
        self.is_hasty = evaluation.expression_timeout_s is not None
        self.left = HASTY_WORK_MAX if self.is_hasty else WORK_MAX

    def spend(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            if self.is_hasty:
                raise TooSlow
            raise ArgumentRefused("The functions of this expression have too much to do")


class _Function(NamedTuple):
    """A function: how many arguments it takes, and what it does with them."""

    least: int
    most: int
    call: Callable[[list[Json], _Work], Json]


def bound_functions(names: Iterable[str], evaluation: EvaluationContext) -> dict[str, HostFunction]:
    """Make the functions of those names, for one evaluation; what is named otherwise is none of them."""
    work = _Work(evaluation)
    return {name: _bind(name, FUNCTIONS[name], work) for name in names if name in FUNCTIONS}


def _bind(name: str, function: _Function, work: _Work) -> HostFunction:
    shown = SHOWN.get(name, name)

    def call(*arguments: Json) -> Json:
        if not function.least <= len(arguments) <= function.most:
            least, most = function.least, function.most
            counts = f"{least}" if least == most else f"{least} to {most}"
            raise ArgumentRefused(f"The function ${shown} takes {counts} arguments, not {len(arguments)}")
        work.spend(CALL_COST + sum(map(_cost, arguments)))
        try:
            return function.call(list(arguments), work)
        except ArgumentRefused as refusal:
            raise ArgumentRefused(f"The function ${shown} had the following error: {refusal}") from None

    return call


def _cost(argument: Json) -> int:
    if type(argument) is str:
        return len(argument) // CHARACTERS_PER_UNIT
    return len(argument) if type(argument) is list else 0


def _floor(value: Json, which: str) -> int:
    """Take an integer; what is none is rounded down, as AWS does for JSONata."""
    if not is_number(value):
        raise ArgumentRefused(f"{which} must be a number")
    try:
        rounded: int = math.floor(value)
    except (OverflowError, ValueError):  # infinite, or none
        raise ArgumentRefused(f"{which} must be a finite number") from None
    return rounded


def _partition(arguments: list[Json], _work: _Work) -> Json:
    """Cut an array into arrays; nothing if it is empty."""
    items, size = arguments
    if items is None:
        return None
    return partition(items if type(items) is list else [items], _floor(size, "the size of a part")) or None


def _range(arguments: list[Json], work: _Work) -> Json:
    """Count; a single number stands for itself (recorded: test_array_jsonata.py, test_array_range#exec_hist_resp_2)."""
    first, last = _floor(arguments[0], "the first number"), _floor(arguments[1], "the last number")
    numbers = count_up(first, last, _floor(arguments[2], "the step"), most=RANGE_MAX)
    work.spend(len(numbers))
    return numbers[0] if len(numbers) == 1 else numbers


def _fits(arguments: list[Json], _work: _Work) -> Json:
    """Refuse a range that would be too long: jlens makes it before it counts, which takes half a second."""
    first, last = arguments
    if is_number(first) and is_number(last) and RANGE_MAX <= last - first < RANGE_IN_JSONATA:
        message = f"An array would exceed the size limit of {RANGE_MAX} items"
        raise ValueError(message)
    return None


def _hash(arguments: list[Json], _work: _Work) -> Json:
    return digest(*arguments)


def _parse(arguments: list[Json], _work: _Work) -> Json:
    """Read JSON, into an array of one: None would be undefined, and null is a value. Nothing for a blank text."""
    text = arguments[0]
    if text is None or (type(text) is str and not text.strip()):
        return None
    value = parse_json(text)
    inexact = first_inexact(value)
    if inexact is not None:
        raise ArgumentRefused(str(Inexact(inexact)))
    return [value]


def _json(arguments: list[Json], _work: _Work) -> Json:
    """Write a value as JSON that is read back as this very value; `$string` keeps 15 digits of a number."""
    return json.dumps(arguments[0], ensure_ascii=False, separators=(",", ":"))


def _exact(arguments: list[Json], _work: _Work) -> Json:
    """Refuse the text of an integer that no number holds exactly."""
    try:
        refuse_inexact(arguments[0])
    except Inexact as inexact:
        raise ArgumentRefused(str(inexact)) from None
    return None


def _picture(arguments: list[Json], work: _Work) -> Json:
    """Charge for a picture: jlens takes quadratic time for one, or a pattern of all words, and is not interrupted."""
    length = len(arguments[0]) if type(arguments[0]) is str else 0
    has_words = len(arguments) > 1 and length and "w" in str(arguments[0]).lower()
    work.spend(length * length // PICTURE_SQUARE + length * (WORDS_COST if has_words else 1))
    return None


def _random(arguments: list[Json], work: _Work) -> Json:
    return seeded_random(_floor(arguments[0], "the seed")) if arguments else drawn_random(work.evaluation)


def _uuid(_arguments: list[Json], work: _Work) -> Json:
    return uuid4(work.evaluation)


def _eval(_arguments: list[Json], _work: _Work) -> Json:
    raise ArgumentRefused("it is not supported")


def _distinct(arguments: list[Json], _work: _Work) -> Json:
    """Replace JSONata's, which takes quadratic time and cannot be interrupted (30 s for 90,000 numbers)."""
    return unique(arguments[0])


def _keys(arguments: list[Json], _work: _Work) -> Json:
    """Replace JSONata's, which takes quadratic time for an array of objects and cannot be interrupted."""
    value = arguments[0]
    objects = value if type(value) is list else [value]
    names = list(dict.fromkeys(name for item in objects if type(item) is dict for name in item))
    return names[0] if len(names) == 1 else names or None


FUNCTIONS: Final[Mapping[str, _Function]] = {
    "partition": _Function(2, 2, _partition),
    "range": _Function(3, 3, _range),
    "hash": _Function(2, 2, _hash),
    "random": _Function(0, 1, _random),
    "uuid": _Function(0, 0, _uuid),
    "_parse_json": _Function(1, 1, _parse),
    "_json": _Function(1, 1, _json),
    "eval": _Function(0, 2, _eval),
    "_exact": _Function(1, 1, _exact),
    "_fits": _Function(2, 2, _fits),
    "_picture": _Function(1, 2, _picture),
    "_distinct": _Function(1, 1, _distinct),
    "keys": _Function(1, 1, _keys),
}

BUILT_IN: Final[frozenset[str]] = frozenset({
    "sum", "count", "max", "min", "average", "string", "substring", "substringBefore", "substringAfter",
    "lowercase", "uppercase", "length", "trim", "pad", "match", "contains", "replace", "split", "join",
    "formatNumber", "formatBase", "formatInteger", "parseInteger", "number", "floor", "ceil", "round", "abs",
    "sqrt", "power", "random", "boolean", "not", "map", "zip", "filter", "single", "reduce", "sift", "keys",
    "lookup", "append", "exists", "spread", "merge", "reverse", "each", "error", "assert", "type", "sort",
    "shuffle", "distinct", "base64encode", "base64decode", "encodeUrlComponent", "encodeUrl", "decodeUrlComponent",
    "decodeUrl", "eval", "toMillis", "fromMillis", "now", "millis", "clone",
})  # fmt: skip
"""The names of JSONata's own functions."""


def _pictured(name: str, parameters: str, signature: str, more: str = "") -> str:
    """A function of JSONata's that is charged for its picture."""
    body = f"($_picture($picture{more});$_{name}({parameters}))"
    return f"$_{name}:=${name};${name}:=function({parameters}){signature}{{{body}}}"


PRELUDES: Final[Mapping[str, str]] = {
    "parse": "$parse:=function($text){$_parse_json($text)[0]}",
    "distinct": "$distinct:=function($items){$type($items)='array'?$_distinct($items):$items}",
    "number": "$_number:=$number;$number:=function($text)<(nsb)-:n>{($_exact($text);$_number($text))}",
    RANGE: f"${RANGE}:=function($first,$last){{($_fits($first,$last);[$first..$last])}}",
    "fromMillis": _pictured("fromMillis", "$number,$picture,$zone", "<n-s?s?:s>"),
    "toMillis": _pictured("toMillis", "$text,$picture", "<s-s?:n>", ",true"),
    "formatNumber": _pictured("formatNumber", "$number,$picture,$options", "<n-so?:s>"),
    "formatInteger": _pictured("formatInteger", "$number,$picture", "<n-s:s>"),
    "parseInteger": _pictured("parseInteger", "$text,$picture", "<s-s:n>"),
    DIVISOR: f"${DIVISOR}:=function($number){{$number=0?$error('Division by zero'):$number}}",
}
"""By name, functions that are written in JSONata; each may call those of FUNCTIONS, to which null is undefined.

Those of `text.PICTURED` are left to JSONata itself where a short picture stands in the expression.
"""

SHOWN: Final[Mapping[str, str]] = {"_parse_json": "parse", "_distinct": "distinct", "_exact": "number"}
"""The names in messages of functions that have another name in expressions."""
