"""Integers beyond 2^53, not all of which a double holds: jlens would make other numbers of them without a word.

An expression that does no more than move and compare what it is given is handed a text in the place of each, and its
result has the integer again. Every other expression fails, and its cause says why.
"""

import re
from collections.abc import Iterable
from typing import Final

from perdure.engine.language.evaluate.jsonata.text import Token
from perdure.engine.language.values import Json, cut

EXACT_MAX: Final = 2**53
"""The greatest integer up to which doubles hold all of them."""

_MARK: Final = "\U0010f53d"
"""Begins the text in the place of an integer: a character that is nobody's."""

_LONG: Final = re.compile(rb"[0-9]{16}")
"""What every such integer has in JSON; some texts have it too."""

_INTEGER: Final = re.compile(r"\s*(-?[0-9]{16,})\s*")

_COMPUTES: Final = frozenset({"&", "<", ">", "<=", ">=", "^"})
"""Operators that would take the text for what it is; the others refuse it."""

MOVES: Final = frozenset({
    "append", "assert", "boolean", "count", "distinct", "each", "error", "exists", "filter", "keys", "lookup",
    "map", "merge", "millis", "not", "now", "reduce", "reverse", "shuffle", "sift", "single", "spread", "uuid",
    "zip", "partition", "_distinct", "_divisor", "_range", "_fits",
})  # fmt: skip
"""The functions that do nothing with a value but move it, or ask whether there is one, or compare it."""


class Inexact(ValueError):
    """An expression would have to compute with an integer that it cannot hold; its text says so."""

    def __init__(self, integer: int) -> None:
        super().__init__(
            f"JSONata's numbers cannot hold the integer {cut(str(integer), 40)} exactly, so that an expression "
            "can only copy and compare it; give it as a string"
        )


def is_inexact(value: Json) -> bool:
    """Say whether a value is an integer beyond those that doubles hold and that jlens writes as they are."""
    return type(value) is int and not -EXACT_MAX <= value <= EXACT_MAX


def refuse_inexact(text: Json) -> None:
    """Raise Inexact for a text that is such an integer."""
    match = _INTEGER.fullmatch(text) if type(text) is str else None
    if match is not None and is_inexact(integer := int(match[1])):
        raise Inexact(integer)


def first_inexact(value: Json) -> int | None:
    """Find such an integer in a value; None if there is none."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            waiting.extend(value.values())
        elif type(value) is list:
            waiting.extend(value)
        elif is_inexact(value):
            return int(value)
    return None


def exact_literals(source: str, found: list[Token]) -> str:
    """Write an expression with a text in the place of each number in it that is such an integer."""
    for index in range(len(found) - 1, -1, -1):
        token = found[index]
        if token.kind != "number" or not token.text.isdigit() or not is_inexact(int(token.text)):
            continue
        start, sign = token.start, ""
        if index and found[index - 1].text == "-" and not (index > 1 and found[index - 2].is_complete):
            start, sign = found[index - 1].start, "-"
        source = f'{source[:start]}"{_MARK}{sign}{token.text}"{source[token.end :]}'
    return source


def explained(reason: str, values: Json) -> str:
    """Write why an expression failed so that it tells of such an integer, if it was given one."""
    found = first_inexact(values)
    if found is None and _MARK not in reason:
        return reason
    number = "" if found is None else f" {cut(str(found), 40)}"
    return f"{reason.replace(_MARK, '')} (its numbers cannot hold the integer{number} exactly)"


def moves_only(found: Iterable[Token], functions: Iterable[str]) -> bool:
    """Say whether an expression does no more than move and compare; ``functions`` are JSONata's names and ours."""
    computing = frozenset(functions) - MOVES
    return not any(
        (token.kind == "operator" and token.text in _COMPUTES)
        or (token.kind == "variable" and token.text[1:] in computing)
        for token in found
    )


def packed(values: dict[str, Json], text: bytes, *, is_moving: bool) -> dict[str, Json]:
    """Give the values, whose JSON ``text`` is, with a text in the place of each such integer; or they themselves.

    Raises:
        Inexact: There is one, and the expression does more than move and compare.
    """
    if not _LONG.search(text):
        return values
    found = first_inexact(values)
    if found is None:
        return values
    if not is_moving:
        raise Inexact(found)
    changed: dict[str, Json] = _pack(values)
    return changed


def _pack(value: Json) -> Json:
    if type(value) is dict:
        return {name: _pack(member) for name, member in value.items()}
    if type(value) is list:
        return [_pack(item) for item in value]
    return f"{_MARK}{value}" if is_inexact(value) else value


def unpacked(text: str, value: Json) -> Json:
    """Give a result with its integers again; ``text`` is its JSON.

    Raises:
        Inexact: The text in the place of one was made part of another text.
    """
    return _unpack(value) if _MARK in text else value


def _unpack(value: Json) -> Json:
    if type(value) is dict:
        return {_name(name): _unpack(member) for name, member in value.items()}
    if type(value) is list:
        return [_unpack(item) for item in value]
    if type(value) is str and value.startswith(_MARK) and _INTEGER.fullmatch(value[len(_MARK) :]):
        return int(value[len(_MARK) :])
    return value


def _name(name: str) -> str:
    digits = name.removeprefix(_MARK)
    if digits != name and _INTEGER.fullmatch(digits):
        raise Inexact(int(digits))
    return name
