"""JSON values, and `MISSING` for a value that is absent."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any
"""A decoded JSON value: dict, list, str, int, float, bool or None. Never mutated once it is known."""


class Missing(enum.Enum):
    """The type of MISSING: an enum, so that `is MISSING` narrows for type checkers."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""The value of a path that finds nothing; distinct from JSON's null."""

QUOTED_MAX: Final = 2000
"""Characters of a value that a cause quotes: an input may be a quarter of a megabyte."""

SHOWN_MAX: Final = 80
"""Characters of a foreign value that a message quotes: a message must not repeat a megabyte."""


JSON_TYPES: Final[Mapping[type, str]] = MappingProxyType(
    {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
)
"""The JSON names of the types of values."""


def is_number(value: Json) -> bool:
    """Say whether a value is a JSON number: true and false are not, though bool is an int in Python."""
    kind = type(value)
    return kind is int or kind is float


def compact(value: Json) -> str:
    """Write a value as JSON on one line, as AWS quotes inputs in its causes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def quoted(value: Json, most: int = QUOTED_MAX) -> str:
    """Write a value as JSON on one line for a cause or a message, cut to so many characters; never raises."""
    try:
        return cut(compact(value), most)
    except (RecursionError, ValueError):  # deeper than Python nests, or more digits than it writes
        return "…"


def cut(text: str, most: int = QUOTED_MAX) -> str:
    """Cut a text to so many characters, and say so."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shown(value: Json) -> str:
    """Quote a text from a definition for a message, cut to SHOWN_MAX characters."""
    text = cut(value, SHOWN_MAX) if isinstance(value, str) else quoted(value, SHOWN_MAX)
    return f"'{text}'"
