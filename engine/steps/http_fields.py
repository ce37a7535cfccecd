"""The small members of `http_request` that several others are made of: pairs of names and values, authorization."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Any, Final

from perdure.engine.log.codec import encode_json
from perdure.engine.steps.registry import StepFailed
from perdure.engine.suggestions import did_you_mean

INVALID_INPUT: Final = "Http.InvalidInput"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_AUTH: Final[Mapping[str, tuple[str, ...]]] = {"basic": ("username", "password"), "bearer": ("token",)}


def invalid(problem: str) -> StepFailed:
    """The failure for an input that is wrong, in words without their full stop."""
    return StepFailed(INVALID_INPUT, f"{problem}.", is_retryable=False)


def object_of(value: Any, field: str, names: Collection[str], required: Collection[str] = ()) -> dict[str, Any]:
    """Check an object's members. Raises StepFailed, naming the field."""
    if not isinstance(value, dict):
        raise invalid(f"{field} must be an object")
    for name in value:
        if name not in names:
            near = did_you_mean(name[:200], names).rstrip("?")
            raise invalid(f"{field}.{name} is no field of it; there are {', '.join(names)}.{near}".rstrip("."))
    for name in required:
        if name not in value:
            raise invalid(f"{field}.{name} is missing")
    return value


def whole_of(value: Any, field: str, most: int) -> int:
    """Check a whole number from 1 on. Raises StepFailed, naming the field."""
    if type(value) is not int or not 1 <= value <= most:
        raise invalid(f"{field} must be a whole number from 1 to {most}")
    return value


def text_of_field(value: Any, field: str, most: int) -> str:
    """Check a text that is not empty. Raises StepFailed, naming the field."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise invalid(f"{field} must be text of 1 to {most} characters")
    return value


def pairs_of(value: Any, field: str) -> list[tuple[str, str]]:
    """Names and values of a query or a form. Raises StepFailed, naming the field."""
    if not isinstance(value, dict):
        raise invalid(f"{field} must be an object")
    pairs: list[tuple[str, str]] = []
    for name, member in value.items():
        for item in member if isinstance(member, list) else [member]:
            if not isinstance(item, str | int | float):
                raise invalid(f"{field}.{name} must be text, a number, true, false, or an array of these")
            pairs.append((name, item if isinstance(item, str) else encode_json(item).decode()))
    return pairs


def authorization(value: Any) -> str:
    """The Authorization header that `auth` means (RFC 7617, RFC 6750). Raises StepFailed, quoting no secret."""
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _AUTH:
        raise invalid(f"auth must be an object whose type is one of {', '.join(_AUTH)}")
    names = _AUTH[kind]
    given = object_of(value, "auth", ("type", *names), names)
    for name in names:
        if not isinstance(given[name], str) or _CONTROL.search(given[name]):
            raise invalid(f"auth.{name} must be text without control characters")
    if kind == "bearer":
        if _TOKEN.fullmatch(given["token"]) is None:
            raise invalid("auth.token must be text of visible ASCII characters without spaces")
        return f"Bearer {given['token']}"
    if ":" in given["username"]:
        raise invalid("auth.username must hold no colon")
    pair = ":".join(given[name] for name in names)
    return f"Basic {b64encode(pair.encode()).decode()}"
