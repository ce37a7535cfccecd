"""How large a value would be as JSON text, told before it is one.

A template puts the same value in many places by reference, and so does each state after it: what is a few objects in
memory may be gigabytes of text. So the places are counted, not the objects, and the count stops at the limit.
"""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.engine.language.values import Json

LEVELS_MAX: Final = 256
"""Levels of arrays and objects that a value may have: whoever encodes it recurses."""

_CHARACTER_MAX: Final = 6  # of "\\u0000", the longest that JSON makes of a character
_SCALAR: Final = 26  # of the longest float, with a comma
_encode = msgspec.json.Encoder().encode


def exceeds(value: Json, limit: int) -> bool:
    """Say whether a value has more than `limit` bytes of JSON text, or more than LEVELS_MAX levels.

    It takes no longer than a value of `limit` bytes takes, however large this one is.
    """
    return measured(value, limit) is None


def measured(value: Json, limit: int) -> int | None:
    """How many bytes of JSON text a value has at the least; null if `exceeds` says that it is too large.

    It has more only for characters that JSON or UTF-8 writes longer.
    """
    kind = type(value)
    if kind is not dict and kind is not list and kind is not str:
        return 1
    least, most = _bounds(value, limit)
    if least <= limit < most:
        least = len(_encode(value))
    return None if least > limit else least


def size_of(value: Json) -> int:
    """How many bytes of JSON text a value has that is bounded already."""
    return len(_encode(value))


def is_longer(value: Json, limit: int) -> bool:
    """Say whether the text has more than `limit` bytes, of a value that was read from a text or is bounded already.

    No part of such a value stands in many places: to encode it takes a tenth of the time that it takes to look at it.
    """
    return len(_encode(value)) > limit


def _bounds(value: Json, limit: int) -> tuple[int, int]:
    """The least and the most bytes that the text has; the least is above `limit` as soon as that is known."""
    least = most = 0
    level: list[Json] = [value]
    for _ in range(LEVELS_MAX + 1):
        deeper: list[Json] = []
        for item in level:
            kind = type(item)
            if kind is str:
                least += len(item) + 2
                most += len(item) * _CHARACTER_MAX + 2
            elif kind is dict:
                names = sum(map(len, item))
                least += 4 * len(item) + 1 + names
                most += 4 * len(item) + 2 + names * _CHARACTER_MAX
                deeper += item.values()
            elif kind is list:
                least += len(item) + 1
                most += len(item) + 2
                deeper += item
            else:
                least += 1
                most += _SCALAR if kind is not int else item.bit_length() // 3 + 3
            if least > limit:
                return least, most
        if not deeper:
            return least, most
        level = deeper
    return limit + 1, limit + 1
