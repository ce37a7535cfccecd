"""The functions that JSONata expressions have beside JSONata's own, and those of its own that we replace.

AWS adds six ("Transforming data with JSONata in Step Functions"). Each gets its arguments as jlens hands them over,
undefined as None, and raises Refused if it cannot work with them; None as a result is undefined.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from engine.language.environment import World
from engine.language.intrinsic_functions import (
    Refused,
    count_up,
    digest,
    drawn_random,
    parse_json,
    partition,
    seeded_random,
    unique,
    uuid4,
)
from engine.language.values import Json, is_number

RANGE_MAX: Final = 100_000
"""Items that ``$range`` makes: as many as any array that an expression makes."""

HostFunction: TypeAlias = Callable[..., Json]


def _taking(least: int, most: int, name: str, call: HostFunction) -> HostFunction:
    """Give a function that checks how many arguments it is called with."""

    def checked(*arguments: Json) -> Json:
        if not least <= len(arguments) <= most:
            counts = f"{least}" if least == most else f"{least} to {most}"
            raise Refused(f"The function ${name} takes {counts} arguments, not {len(arguments)}")
        try:
            return call(*arguments)
        except Refused as refusal:
            raise Refused(f"The function ${name} had the following error: {refusal}") from None

    return checked


def _floor(value: Json, which: str) -> int:
    """Take an integer; what is none is rounded down, as AWS does for JSONata."""
    if not is_number(value) or not math.isfinite(value):
        raise Refused(f"{which} must be a number")
    return math.floor(value)


def _partition(items: Json, size: Json) -> Json:
    """Cut an array into arrays; nothing if it is empty."""
    if items is None:
        return None
    return partition(items if type(items) is list else [items], _floor(size, "the size of a part")) or None


def _range(first: Json, last: Json, step: Json) -> Json:
    """Count; a single number stands for itself (recorded: test_array_jsonata.py, test_array_range#exec_hist_resp_2)."""
    bounds = _floor(first, "the first"), _floor(last, "the last"), _floor(step, "the step")
    items = count_up(*bounds, most=RANGE_MAX)
    return items[0] if len(items) == 1 else items


def _parse(text: Json) -> Json:
    """Read JSON, into an array of one: None would be undefined, and null is a value. Nothing for a blank text."""
    if text is None or (type(text) is str and not text.strip()):
        return None
    return [parse_json(text)]


def _random(seed: Json = None, *, world: World) -> Json:
    return drawn_random(world) if seed is None else seeded_random(_floor(seed, "the seed"))


def _eval(*_arguments: Json) -> Json:
    raise Refused("The function $eval is not supported")


def _distinct(items: Json) -> Json:
    """Replace JSONata's, which takes quadratic time and cannot be interrupted (30 s for 90,000 numbers)."""
    return unique(items) if type(items) is list and len(items) > 1 else items


def _keys(value: Json) -> Json:
    """Replace JSONata's, which takes quadratic time for an array of objects and cannot be interrupted."""
    objects = value if type(value) is list else [value]
    names = list(dict.fromkeys(name for item in objects if type(item) is dict for name in item))
    return names[0] if len(names) == 1 else names or None


FUNCTIONS: Final[Mapping[str, HostFunction]] = {
    "partition": _taking(2, 2, "partition", _partition),
    "range": _taking(3, 3, "range", _range),
    "hash": _taking(2, 2, "hash", digest),
    "_parse_json": _taking(1, 1, "parse", _parse),
    "eval": _eval,
    "distinct": _taking(1, 1, "distinct", _distinct),
    "keys": _taking(1, 1, "keys", _keys),
}
"""By name, those that need nothing of an execution."""

PRELUDES: Final[Mapping[str, str]] = {"parse": "$parse:=function($text){$_parse_json($text)[0]}"}
"""By name, functions that are written in JSONata; each may call those of FUNCTIONS."""


def drawing_functions(world: World) -> dict[str, HostFunction]:
    """Make the functions that draw from an execution's entropy."""
    return {
        "random": _taking(0, 1, "random", lambda seed=None: _random(seed, world=world)),
        "uuid": _taking(0, 0, "uuid", lambda: uuid4(world)),
    }
