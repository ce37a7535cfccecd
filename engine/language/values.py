"""JSON values as this package sees them, and the value that is not there."""

import enum
import json
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any
"""A decoded JSON value: dict, list, str, int, float, bool or None. Never mutated once it is known."""


class Missing(enum.Enum):
    """The type of MISSING: an enum, so that ``is MISSING`` narrows for type checkers."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""What a path gives that finds nothing; JSON's null is something."""

SHOWN_MAX: Final = 80
"""Characters of a foreign value that a message quotes: a message must not repeat a megabyte."""


def is_number(value: Json) -> bool:
    """Say whether a value is a JSON number: true and false are not, though bool is an int in Python."""
    kind = type(value)
    return kind is int or kind is float


def compact(value: Json) -> str:
    """Write a value as JSON on one line, as AWS quotes inputs in its causes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def shown(value: Json) -> str:
    """Quote a text from a definition for a message, cut to SHOWN_MAX characters."""
    text = value if isinstance(value, str) else compact(value)
    text = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
    return f"'{text}'"
