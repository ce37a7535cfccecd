"""The intrinsic functions of the States Language, as a table.

What each takes and gives is Amazon's reference ("Intrinsic functions for JSONPath states") and the recorded cases;
where neither says, the choice is told beside it. A function gets the values of its arguments and what the execution
lends it, never changes a value, and raises Refused if it cannot work with them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import msgspec

from perdure.engine.language.evaluate.environment import EvaluationContext
from perdure.engine.language.values import Json

RANGE_MAX: Final = 1000
"""Items that ArrayRange makes (Amazon's reference)."""

TEXT_MAX: Final = 10_000
"""Characters that Base64Encode, Base64Decode and Hash take (Amazon's reference)."""

RESULT_MAX: Final = 1_000_000
"""Characters of a text that Format or JsonToString makes: about four times what a state may give on."""

DEPTH_MAX: Final = 64
"""Levels of a value that is read from JSON: as many as a value may have that comes from outside."""

INTEGER_MAX: Final = 2**31 - 1
"""The largest argument of MathAdd, MathRandom and ArrayRange (Amazon's reference); the smallest is its negative − 1."""


class ArgumentRefused(ValueError):
    """Arguments that a function cannot work with; its text says why."""


IntrinsicCall: TypeAlias = Callable[[list[Json], EvaluationContext], Json]
"""`call(arguments, world)`; raises ArgumentRefused."""


class Function(msgspec.Struct, frozen=True):
    """An intrinsic function.

    `call`: what it does.
    `least`: the number of arguments it takes at least.
    `most`: how many at most; None if any number.
    `kinds`: the JSON types of its arguments, in order; "", and what is beyond, is any.
    `gives`: the JSON type of its result; "" if that depends on the arguments.
    `reads_escapes`: whether it sees the escapes of a text that is its first argument.
    """

    call: IntrinsicCall
    least: int
    most: int | None
    kinds: tuple[str, ...]
    gives: str
    reads_escapes: bool = False

    def kind(self, index: int) -> str:
        """Give the JSON type of an argument; "" if it may be any."""
        return self.kinds[index] if index < len(self.kinds) else ""

    def takes(self, count: int) -> bool:
        """Say whether it can be called with so many arguments."""
        return self.least <= count and (self.most is None or count <= self.most)

    @property
    def arity(self) -> str:
        """The number of arguments it takes, in words."""
        if self.most is None:
            return f"{self.least} or more arguments"
        counts = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"{counts} argument{'' if self.most == 1 else 's'}"


# The checks of arguments. `which` names the argument in the refusal.


def _array(value: Json, which: str) -> list[Json]:
    if type(value) is not list:
        raise ArgumentRefused(f"{which} must be an array")
    return value


def _text(value: Json, which: str) -> str:
    if type(value) is not str:
        raise ArgumentRefused(f"{which} must be a string")
    return value


def _short_text(value: Json, which: str) -> str:
    if len(_text(value, which)) > TEXT_MAX:
        raise ArgumentRefused(f"{which} must have at most {TEXT_MAX} characters")
    return value  # type: ignore[no-any-return]  # a str, as _text has seen


def _integer(value: Json, which: str) -> int:
    """Take an integer of 32 bits; what is none is rounded to the nearest, as Amazon's reference says."""
    if type(value) is float and math.isfinite(value):  # no integer may become a float: that holds 1.8e308 at most
        value = math.floor(value + 0.5)
    if type(value) is not int:
        raise ArgumentRefused(f"{which} must be a number")
    if not -INTEGER_MAX - 1 <= value <= INTEGER_MAX:
        raise ArgumentRefused(f"{which} must be between {-INTEGER_MAX - 1} and {INTEGER_MAX}")
    return value


def _encoded(text: str, which: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ArgumentRefused(f"{which} is not Unicode: it holds half of a surrogate pair") from None


def _bounded(text: str) -> str:
    if len(text) > RESULT_MAX:
        raise ArgumentRefused(f"the result must have at most {RESULT_MAX} characters")
    return text


def identity(value: Json) -> object:
    """Give what two JSON values have in common if and only if they are equal: true is not 1, but 1.0 is."""
    if type(value) is dict:
        return ("object", frozenset((name, identity(member)) for name, member in value.items()))
    if type(value) is list:
        return ("array", tuple(map(identity, value)))
    return (type(value) is bool, value)


def unique(items: list[Json]) -> list[Json]:
    """Give the items without those that are equal to an earlier one."""
    first: dict[object, Json] = {}
    for item in items:
        first.setdefault(identity(item), item)
    return list(first.values())


# The functions.


def _array_of(arguments: list[Json], _world: EvaluationContext) -> Json:
    return arguments


def _array_partition(arguments: list[Json], _world: EvaluationContext) -> Json:
    return partition(_array(arguments[0], "the array"), _integer(arguments[1], "the size of a part"))


def partition(items: list[Json], size: int) -> list[list[Json]]:
    """Cut an array into arrays of a size; the last may be shorter. Raises Refused for a size below 1."""
    if size < 1:
        raise ArgumentRefused("the size of a part must be at least 1")
    return [items[start : start + size] for start in range(0, len(items), size)]


def _contains(arguments: list[Json], _world: EvaluationContext) -> Json:
    wanted = identity(arguments[1])
    return any(identity(item) == wanted for item in _array(arguments[0], "the array"))


def _array_range(arguments: list[Json], _world: EvaluationContext) -> Json:
    first, last = _integer(arguments[0], "the first number"), _integer(arguments[1], "the last number")
    return count_up(first, last, _integer(arguments[2], "the step"), most=RANGE_MAX)


def count_up(first: int, last: int, step: int, *, most: int) -> list[int]:
    """Count from a first to a last integer, which is included, by a step; nothing if the step leads away from it.

    Raises ArgumentRefused: the step is 0, or there would be more than so many numbers.
    """
    if step == 0:
        raise ArgumentRefused("the step must not be 0")
    numbers = range(first, last + (1 if step > 0 else -1), step)
    if numbers[most:]:
        raise ArgumentRefused(f"the array would have more than {most} items")
    return list(numbers)


def _get_item(arguments: list[Json], _world: EvaluationContext) -> Json:
    items, index = _array(arguments[0], "the array"), arguments[1]
    if type(index) is not int:
        raise ArgumentRefused("the index must be an integer")
    if not 0 <= index < len(items):
        raise ArgumentRefused(f"the array has {len(items)} items, so there is none at index {index}")
    return items[index]


def _length(arguments: list[Json], _world: EvaluationContext) -> Json:
    return len(_array(arguments[0], "the argument"))


def _unique(arguments: list[Json], _world: EvaluationContext) -> Json:
    return unique(_array(arguments[0], "the argument"))


def _base64_encode(arguments: list[Json], _world: EvaluationContext) -> Json:
    return base64.b64encode(_encoded(_short_text(arguments[0], "the text"), "the text")).decode()


def _base64_decode(arguments: list[Json], _world: EvaluationContext) -> Json:
    """Decode; the padding may be left out, as Java's decoder allows, but what is no text is refused."""
    text = _short_text(arguments[0], "the text")
    try:
        return base64.b64decode(_encoded(text, "the text") + b"=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ArgumentRefused("the text must be the Base64 encoding of a text in UTF-8") from None


_ALGORITHMS: Final = {name: name.lower().replace("-", "") for name in ("MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512")}


def _hash(arguments: list[Json], _world: EvaluationContext) -> Json:
    return digest(*arguments)


def digest(text: Json, name: Json) -> str:
    """Give the hash of a text by the algorithm of that name, in hexadecimal digits; raises ArgumentRefused."""
    text = _short_text(text, "the text")
    algorithm = _ALGORITHMS.get(name) if type(name) is str else None
    if algorithm is None:
        raise ArgumentRefused(f"the algorithm must be one of {', '.join(_ALGORITHMS)}")
    return hashlib.new(algorithm, _encoded(text, "the text"), usedforsecurity=False).hexdigest()


def _json_merge(arguments: list[Json], _world: EvaluationContext) -> Json:
    first, second, is_deep = arguments
    if type(first) is not dict or type(second) is not dict:
        raise ArgumentRefused("the first two arguments must be objects")
    if is_deep is not False:
        raise ArgumentRefused("the third argument must be false: only shallow merging is supported")
    return {**first, **second}


def _math_random(arguments: list[Json], evaluation: EvaluationContext) -> Json:
    """Draw an integer from the first, which is included, up to the second, which is not."""
    start, end = _integer(arguments[0], "the start"), _integer(arguments[1], "the end")
    if start >= end:
        raise ArgumentRefused("the start must be less than the end")
    if len(arguments) > 2:  # noqa: PLR2004 the seed
        return start + math.floor(seeded_random(_integer(arguments[2], "the seed")) * (end - start))
    return start + int.from_bytes(evaluation.random_bytes(8)) % (end - start)


def seeded_random(seed: int) -> float:
    """Give the number from 0 up to but not 1 that belongs to a seed.

    AWS's JSONata `$random(seed)` is the first `nextDouble()` of `java.util.Random(seed)`, whose generator the
    Java class library specifies; `$random(42)` gives 0.7275636800328681 there and here.
    """
    multiplier, mask = 0x5DEECE66D, (1 << 48) - 1
    state = ((seed ^ multiplier) * multiplier + 0xB) & mask
    high = state >> 22
    state = (state * multiplier + 0xB) & mask
    return ((high << 27) + (state >> 21)) / (1 << 53)


def drawn_random(evaluation: EvaluationContext) -> float:
    """Draw a number from 0 up to but not 1."""
    return (int.from_bytes(evaluation.random_bytes(8)) >> 11) / (1 << 53)


def _math_add(arguments: list[Json], _world: EvaluationContext) -> Json:
    return _integer(arguments[0], "the first number") + _integer(arguments[1], "the second number")


def _string_split(arguments: list[Json], _world: EvaluationContext) -> Json:
    """Split a text at any of the characters of another; empty parts are left out (Amazon's example)."""
    text, splitters = _text(arguments[0], "the text"), _text(arguments[1], "the splitter")
    parts = re.split(f"[{re.escape(splitters)}]", text) if splitters else [text]
    return [part for part in parts if part]


def uuid4(evaluation: EvaluationContext) -> str:
    """Draw a UUID of version 4."""
    return str(uuid.UUID(bytes=evaluation.random_bytes(16), version=4))


_PLACEHOLDER: Final = re.compile(r"\\([{}\\'])|(\{\})")


def _format(arguments: list[Json], _world: EvaluationContext) -> Json:
    template, values = _text(arguments[0], "the template"), arguments[1:]
    parts: list[str] = []
    size = used = position = 0
    for match in _PLACEHOLDER.finditer(template):
        if match.group(2) is None:
            part = match.group(1)
        else:
            part = _formatted(values[used]) if used < len(values) else ""
            used += 1
        parts += (template[position : match.start()], part)
        size += len(part)
        position = match.end()
        if size > RESULT_MAX:
            break
    if used != len(values) and size <= RESULT_MAX:
        raise ArgumentRefused(f"the template has {used} places to fill, but there are {len(values)} values")
    return _bounded("".join(parts) + template[position:])


def _formatted(value: Json) -> str:
    """Write a value as AWS does within a text: objects and arrays as Java writes its maps and lists.

    Recorded: intrinsic_functions/test_generic.py, test_format_2#exec_hist_resp_7.
    """
    if type(value) is str:
        return value
    if type(value) is dict:
        return "{" + ", ".join(f"{name}={_formatted(member)}" for name, member in value.items()) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(_formatted, value)) + "]"
    return json.dumps(value)


def parse_json(text: Json) -> Json:
    """Read JSON; a text that is blank is null (recorded: test_string_to_json#exec_hist_resp_0 and _1)."""
    source = _text(text, "the argument").strip(" \t\r\n")
    if not source:
        return None
    try:
        value = msgspec.json.decode(_encoded(source, "the argument"))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ArgumentRefused(f"the argument must be JSON: {error}") from None
    if is_deep(source, value):
        raise ArgumentRefused(f"the argument must have at most {DEPTH_MAX} levels")
    return value


def is_deep(source: str, value: Json) -> bool:
    """Say whether a value that was read from a JSON text has more than DEPTH_MAX levels."""
    if source.count("[") + source.count("{") <= DEPTH_MAX:
        return False
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [child for parent in level for child in _children(parent) if type(child) in (dict, list)]
    return bool(level)


def _children(parent: Json) -> Iterable[Json]:
    return parent.values() if type(parent) is dict else parent


def _string_to_json(arguments: list[Json], _world: EvaluationContext) -> Json:
    return parse_json(arguments[0])


def _json_to_string(arguments: list[Json], _world: EvaluationContext) -> Json:
    return _bounded(json.dumps(arguments[0], ensure_ascii=False, separators=(",", ":")))


FUNCTIONS: Final[dict[str, Function]] = {
    "Array": Function(_array_of, 0, None, (), "array"),
    "ArrayPartition": Function(_array_partition, 2, 2, ("array", "number"), "array"),
    "ArrayContains": Function(_contains, 2, 2, ("array",), "boolean"),
    "ArrayRange": Function(_array_range, 3, 3, ("number", "number", "number"), "array"),
    "ArrayGetItem": Function(_get_item, 2, 2, ("array", "number"), ""),
    "ArrayLength": Function(_length, 1, 1, ("array",), "number"),
    "ArrayUnique": Function(_unique, 1, 1, ("array",), "array"),
    "Base64Encode": Function(_base64_encode, 1, 1, ("string",), "string"),
    "Base64Decode": Function(_base64_decode, 1, 1, ("string",), "string"),
    "Hash": Function(_hash, 2, 2, ("string", "string"), "string"),
    "JsonMerge": Function(_json_merge, 3, 3, ("object", "object", "boolean"), "object"),
    "MathRandom": Function(_math_random, 2, 3, ("number", "number", "number"), "number"),
    "MathAdd": Function(_math_add, 2, 2, ("number", "number"), "number"),
    "StringSplit": Function(_string_split, 2, 2, ("string", "string"), "array"),
    "UUID": Function(lambda _arguments, evaluation: uuid4(evaluation), 0, 0, (), "string"),
    "Format": Function(_format, 1, None, ("string",), "string", reads_escapes=True),
    "StringToJson": Function(_string_to_json, 1, 1, ("string",), ""),
    "JsonToString": Function(_json_to_string, 1, 1, (), "string"),
}
