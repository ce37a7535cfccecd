"""Checks and copies of values from an embedding program: later changes by the program cannot reach the engine.

What comes over HTTP has been read from a text, so it is that already.
"""

from __future__ import annotations

from typing import Any

from perdure.engine.errors import Invalid
from perdure.engine.log.codec import encode_json
from perdure.engine.steps.values import NotJson, ValueTooLarge, json_copy


def json_value(field: str, value: Any, size_max: int) -> Any:
    """A copy of a value that is JSON of at most `size_max` bytes. Raises `Invalid`, which says what it is instead."""
    try:
        return json_copy(value, size_max)
    except (NotJson, ValueTooLarge) as problem:
        raise Invalid(f"{field}: it must be a JSON value, but it is {problem}", {"field": field}) from None


def texts(**given: str | None) -> None:
    """Raise `Invalid` for what is neither null nor a text that can be written: half a surrogate pair cannot be."""
    for field, value in given.items():
        if value is not None and not _is_text(value):
            raise Invalid(f"{field}: it must be a text of whole Unicode characters", {"field": field})


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def can_be_written(command: object) -> bool:
    """Whether a command can be encoded; if not, that is an error of the caller and not a defect."""
    try:
        encode_json(command)
    except Exception:  # noqa: BLE001 whatever its values raise
        return False
    return True
