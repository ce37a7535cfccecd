"""Request objects: members and query parameters as typed structs, and messages for invalid ones.

A struct declares what is accepted; `read` gives one, or raises `Invalid` with a message that names the field, what it
is, and what would be accepted. Unknown members are refused by name; `not_yet` of a struct names those whose feature
does not exist yet.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar

import msgspec
from msgspec import inspect as types

from perdure.engine.core import ids
from perdure.engine.errors import Invalid
from perdure.engine.shown import shown, shown_name

BODY: Final = "field"
QUERY: Final = "query parameter"
DIGITS_MAX: Final = 19
VERSION_MAX: Final = 2**31 - 1
INSTANT_MAX: Final = 253_402_300_799_999

UUID_FORM: Final = "a UUID such as 018bcfe5-6800-7000-8000-000000000000"

Uuid: TypeAlias = Annotated[str, msgspec.Meta(extra={"accepts": UUID_FORM}, extra_json_schema={"format": "uuid"})]
"""The text of an id; `id_of` reads it."""

Uuid7: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        extra={"accepts": UUID_FORM},
        extra_json_schema={
            "format": "uuid",
            "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$",
        },
    ),
]
"""The text of an id that we made: of version 7."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request object or the parameters of a query."""

    not_yet: ClassVar[Mapping[str, str]] = {}
    """Members whose feature does not exist yet, each with what to do instead, if anything."""


R = TypeVar("R", bound=Request)

_AT = re.compile(r"(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_TOKEN = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")


def read(kind: type[R], given: Mapping[str, Any], *, what: str = BODY) -> R:
    """The struct that `given` makes. Numbers may come as text of digits. Raises `Invalid`."""
    try:
        return msgspec.convert(_coerced(kind, given), kind)
    except msgspec.ValidationError as error:
        raise _invalid(kind, given, str(error), what) from None


def _coerced(kind: type[Request], given: Mapping[str, Any]) -> dict[str, Any]:
    """The members, with text of digits as integers, and `true` and `false` as such, where those are wanted."""
    coerced = dict(given)
    for field in members(kind):
        if field.encode_name in given:
            coerced[field.encode_name] = from_text(given[field.encode_name], field.type)
    return coerced


def from_text(value: Any, info: types.Type) -> Any:
    """The value of a text where an integer or a boolean is expected; any other value as it is."""
    kind = _bare(info)
    if not isinstance(value, str):
        return value
    if isinstance(kind, types.IntType) and value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX:
        return int(value)
    if isinstance(kind, types.BoolType) and value in ("true", "false"):
        return value == "true"
    return value


# --- what is wrong, in words -------------------------------------------------------------------------------------


def _invalid(kind: type[Request], given: Mapping[str, Any], error: str, what: str) -> Invalid:
    found = _AT.fullmatch(error)
    problem, path = (found["problem"], found["path"] or "") if found else (error, "")
    info, value, name = _at(kind, given, path)
    unknown, missing = _UNKNOWN.fullmatch(problem), _MISSING.fullmatch(problem)
    if unknown:
        return _unknown(info, shown_name(_joined(name, unknown["name"])), unknown["name"], what)
    if missing:
        field = next(f for f in _members(info) if f.encode_name == missing["name"])
        name = _joined(name, missing["name"])
        return Invalid(f"{name}: it is missing; {accepts(field.type)} is needed", {"field": name})
    if not name:
        return Invalid(f"the request is not accepted: {problem}")
    if isinstance(value, str) and isinstance(_bare(info), types.DictType | types.StructType):
        message = f"{name}: it is a JSON string; it must be an object, not the text of one"
        return Invalid(message, {"field": name})
    wanted = accepts(info).removesuffix(" or null") if what == QUERY else accepts(info)
    return Invalid(f"{name}: {shown(value)} is not accepted; it must be {wanted}", {"field": name})


def _at(kind: type[Request], given: Any, path: str) -> tuple[types.Type, Any, str]:
    """The declared type, the value and the name of the place that msgspec's path means."""
    info: types.Type = types.type_info(kind)
    value, name = given, ""
    for token in _TOKEN.finditer(path):
        info = _bare(info)
        if token["name"] is None:
            info = info.item_type if isinstance(info, types.ListType) else types.AnyType()
            value = value[int(token["index"])] if isinstance(value, list) and token["index"] != "..." else None
            name += f"[{token['index']}]"
        else:
            member = next((f for f in _members(info) if f.encode_name == token["name"]), None)
            info = member.type if member else types.AnyType()
            value = value.get(token["name"]) if isinstance(value, Mapping) else None
            name = _joined(name, token["name"])
    return info, value, name


def _unknown(info: types.Type, name: str, last: str, what: str) -> Invalid:
    details = {"field": name}
    owner = _bare(info)
    not_yet = getattr(owner.cls, "not_yet", {}) if isinstance(owner, types.StructType) else {}
    if last in not_yet:
        instead = f"; {not_yet[last]}" if not_yet[last] else ""
        return Invalid(f"{name}: it is not supported yet{instead}", details)
    known = [field.encode_name for field in _members(info)]
    close = difflib.get_close_matches(last, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    there = f"there are: {', '.join(known)}" if known else "there are none"
    return Invalid(f"{name}: there is no such {what}{hint}; {there}", details)


def accepts(info: types.Type) -> str:
    """The values that a type accepts, in words."""
    if isinstance(info, types.Metadata):
        return str((info.extra or {}).get("accepts") or accepts(info.type))
    words = _WORDS.get(type(info))
    return "another value" if words is None else words(info)


def _integer(info: types.IntType) -> str:
    return "an integer" + _between(info.ge, info.le)


def _text(info: types.StrType) -> str:
    low, high = info.min_length, info.max_length
    return "a text" if not low and high is None else f"a text{_sized(low, high)} characters"


def _list(info: types.ListType) -> str:
    least = f" of at least {info.min_length}" if info.min_length else ""
    return f"a list{least}, each of it {accepts(info.item_type)}"


_WORDS: Final[Mapping[type[types.Type], Callable[[Any], str]]] = {
    types.BoolType: lambda _: "true or false",
    types.DateTimeType: lambda _: "a time such as 2030-01-31T12:00:00Z",
    types.DictType: lambda _: "an object",
    types.IntType: _integer,
    types.ListType: _list,
    types.LiteralType: lambda info: " or ".join(repr(value) for value in info.values),
    types.NoneType: lambda _: "null",
    types.StrType: _text,
    types.StructType: lambda _: "an object",
    types.UnionType: lambda info: " or ".join(accepts(each) for each in info.types),
}


def _between(low: int | None, high: int | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""


def _sized(low: int | None, high: int | None) -> str:
    if high is None:
        return f" of at least {low}"
    return f" of {low} to {high}" if low else f" of at most {high}"


@lru_cache(maxsize=256)
def members(kind: type[msgspec.Struct]) -> tuple[types.Field, ...]:
    """The declared members of a struct."""
    return _members(types.type_info(kind))


def _members(info: types.Type) -> tuple[types.Field, ...]:
    bare = _bare(info)
    return bare.fields if isinstance(bare, types.StructType) else ()


def _bare(info: types.Type) -> types.Type:
    """A type without what is said about it, and without its null."""
    while True:
        if isinstance(info, types.Metadata):
            info = info.type
        elif isinstance(info, types.UnionType):
            info = next(t for t in info.types if not isinstance(t, types.NoneType))
        else:
            return info


def _joined(name: str, member: str) -> str:
    return f"{name}.{member}" if name else member


# --- values ------------------------------------------------------------------------------------------------------


def id_of(name: str, text: str) -> bytes:
    """The id that a text shows, with or without a prefix such as `run_`. Raises `Invalid`, naming the field."""
    try:
        return ids.parse(ids.unprefixed(text))
    except ValueError:
        raise Invalid(f"{name}: {shown(text)} is not accepted; it must be {UUID_FORM}", {"field": name}) from None


def version_number(name: str, text: str) -> int:
    """The number of a version that a text in a path shows. Raises `Invalid`, naming the field."""
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX and 0 < int(text) <= VERSION_MAX):
        message = f"{name}: {shown(text)} is not accepted; it must be an integer from 1 to {VERSION_MAX}"
        raise Invalid(message, {"field": name})
    return int(text)


def milliseconds(name: str, instant: datetime) -> int:
    """An instant in milliseconds since the epoch; without an offset it is UTC. Raises `Invalid` after the year 9999."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    found = round(aware.timestamp() * 1000)
    if found > INSTANT_MAX:
        raise Invalid(f"{name}: it must be a time before the year 10000", {"field": name})
    return found
