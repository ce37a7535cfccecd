"""Checks that a definition is JSON of bounded size and depth, which all later passes rely on.

After this module has passed a value, it holds dicts, lists, strings that are Unicode, finite numbers, bools
and None only, and is at most DEPTH_MAX deep, so that recursion over it is safe.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.values import Json, shown

DEPTH_MAX: Final = 64

INTEGER_BITS_MAX: Final = 14_000
"""Bits of an integer, about 4,200 digits: Python neither reads nor writes more than 4,300."""

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS: Final = re.compile(r"[][{}]")


class _Refusal(ValueError):
    """Why a text or a value cannot be a definition."""


def read_definition(definition_or_text: object, diagnostics: Diagnostics) -> Json:
    """Decode a definition if it is text, and check its shape.

    Returns the decoded definition; None, with one diagnostic at "", if its shape is wrong.
    """
    try:
        if isinstance(definition_or_text, (bytes, bytearray, str)):
            return _checked(_decoded(definition_or_text))
        if isinstance(definition_or_text, Mapping) and type(definition_or_text) is not dict:
            return _checked(dict(definition_or_text))
        return _checked(definition_or_text)
    except _Refusal as refusal:
        diagnostics.add(JsonPointer(), str(refusal))
        return None


def _decoded(text: str | bytes | bytearray) -> Json:
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
    except UnicodeDecodeError:
        raise _Refusal("the text is not UTF-8") from None
    if _depth(text) > DEPTH_MAX:  # before the decoder, which recurses
        raise _Refusal(f"the definition is more than {DEPTH_MAX} levels deep")
    try:
        return json.loads(text, object_pairs_hook=_members, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _Refusal(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except _Refusal:
        raise
    except ValueError:  # more digits than Python reads
        raise _Refusal("a number has too many digits") from None


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKETS.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _Refusal(f"an object has the member {_printable(name)} twice")
    return members


def _refuse_constant(name: str) -> None:
    raise _Refusal(f"not JSON: {name} is no number")


def _printable(name: str) -> str:
    return shown(name.encode("utf-8", "replace").decode())


def _checked(definition: Any) -> Json:
    level: list[Any] = [definition]
    depth = 0
    while level:
        below: list[Any] = []
        for value in level:
            _check_value(value, below)
        depth += 1
        if below and depth > DEPTH_MAX:
            raise _Refusal(f"the definition is more than {DEPTH_MAX} levels deep")
        level = below
    return definition


def _check_value(value: Any, below: list[Any]) -> None:
    """Check one value, and add what it holds to the next level."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_unicode(value)
    elif kind is dict:
        for name in value:
            if type(name) is not str:
                raise _Refusal("the name of a member is not a string")
            _check_unicode(name)
        below.extend(value.values())
    elif kind is list:
        below.extend(value)
    elif kind is float or kind is int:
        _check_number(value)
    elif kind is not bool and value is not None:
        raise _Refusal(f"a value of type {kind.__name__} is not JSON")


def _check_number(value: float) -> None:
    if type(value) is int:
        if value.bit_length() > INTEGER_BITS_MAX:
            raise _Refusal("a number has too many digits")
    elif not math.isfinite(value):
        raise _Refusal("a number is not finite")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise _Refusal("a string is not Unicode: it holds half of a surrogate pair") from None
