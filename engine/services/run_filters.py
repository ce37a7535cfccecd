"""Filters on runs as data: what each is called, what it accepts, and what of a run it looks at.

A filter is a row of `FILTERS`. The API's query, its document, the command line, bulk jobs and cursors are made from
the rows. A column of executions that is to be filtered by is one row more (and an index, if it is often asked for).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from perdure.engine.core import ids
from perdure.engine.core.transitions import Status
from perdure.engine.errors import Invalid
from perdure.engine.shown import shown
from perdure.store.run_filter import RunFilter

if TYPE_CHECKING:  # a command line that lists filters needs none of the driver
    from perdure.engine.runtime.callers import Caller

Sort: TypeAlias = Literal["newest", "oldest"]

Given: TypeAlias = Mapping[str, str]
"""Filters by name, as texts; of those that take several values they are separated by commas."""

STATUSES: Final = tuple(dict.fromkeys(("pending", *(status for status in get_args(Status) if status != "new"))))
TRIGGERS: Final = ("REQUEST", "SCHEDULE", "WEBHOOK", "FORM", "MANUAL")
NAME_MAX: Final = 80
PREFIX_MAX: Final = 128
ERROR_MAX: Final = 1024
INSTANT_MAX: Final = 253_402_300_799_999

_RESERVED: Final = "States."
"""How the names begin that the States Language reserves."""


class Filter(NamedTuple):
    """A filter. `member` is what it sets of a `RunFilter`, none: `column` of the executions must have its value.

    `read` gives the value of a text, or raises ValueError; `accepts` says what it takes. `is_many`: of a list of such
    texts. `schema` is what the document of the API says beyond that it is a text.
    """

    name: str
    words: str
    accepts: str
    read: Callable[[str], Any]
    column: str = ""
    member: str = ""
    is_many: bool = False
    schema: Mapping[str, Any] = {}


def _one_of(accepted: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in accepted:
            raise ValueError(text)
        return text

    return read


def _text(length_max: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not 0 < len(text) <= length_max or "\0" in text:
            raise ValueError(text)
        return text

    return read


def _instant(text: str) -> int:
    """Milliseconds since the epoch; a time without an offset is UTC."""
    read = datetime.fromisoformat(text)
    found = round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= found <= INSTANT_MAX:
        raise ValueError(text)
    return found


def _id(text: str) -> bytes:
    """An id, with or without a prefix such as `wf_`."""
    return ids.parse(ids.unprefixed(text))


def _sized(length_max: int) -> dict[str, Any]:
    return {"minLength": 1, "maxLength": length_max}


def _listed(accepted: tuple[str, ...]) -> dict[str, Any]:
    """A list of some of these, separated by commas."""
    one = f"({'|'.join(accepted)})"
    return {"pattern": f"^{one}(,{one})*$"}


_UUID: Final = "a UUID such as 018bcfe5-6800-7000-8000-000000000000"
_TIME: Final = "a time such as 2030-01-31T12:00:00Z, from 1970 on"
_MOMENT: Final = {"format": "date-time", "pattern": "^(19[7-9]|2)[0-9]"}

FILTERS: Final = (
    Filter("workflow_id", "Only runs of this workflow.", _UUID, _id, "workflow_id", schema={"format": "uuid"}),
    Filter(
        "status",
        "Only runs with this status; several are separated by commas.",
        f"one or several of {', '.join(STATUSES)}",
        _one_of(STATUSES),
        "status",
        is_many=True,
        schema=_listed(STATUSES),
    ),
    Filter(
        "state",
        "Only runs that are at this top-level state, or ended there.",
        f"the name of a state, of 1 to {NAME_MAX} characters",
        _text(NAME_MAX),
        "state",
        schema=_sized(NAME_MAX),
    ),
    Filter(
        "trigger",
        "Only runs that were started this way.",
        f"one of {', '.join(TRIGGERS)}",
        _one_of(TRIGGERS),
        "trigger_type",
        schema={"enum": list(TRIGGERS)},
    ),
    Filter(
        "process_id_prefix",
        "Only runs whose process id begins so.",
        f"the beginning of a process id, of 1 to {PREFIX_MAX} characters",
        _text(PREFIX_MAX),
        member="process_id",
        schema=_sized(PREFIX_MAX),
    ),
    Filter(
        "error",
        "Only runs that failed with an error of exactly this name.",
        f"the name of an error, of 1 to {ERROR_MAX} characters",
        _text(ERROR_MAX),
        member="error",
        schema=_sized(ERROR_MAX),
    ),
    Filter(
        "from", "Only runs that began at this time or later.", _TIME, _instant, member="created_from", schema=_MOMENT
    ),
    Filter("to", "Only runs that began at this time or earlier.", _TIME, _instant, member="created_to", schema=_MOMENT),
)
"""All filters, in the order in which they are shown."""

BY_NAME: Final[Mapping[str, Filter]] = {each.name: each for each in FILTERS}


def run_filter(caller: Caller, given: Given) -> RunFilter:
    """The filter of executions that these make, in the caller's workspace. Raises `Invalid`, naming the field."""
    wanted = RunFilter(caller.organization_id, caller.workspace_id)
    values: dict[str, list[Any]] = {}
    for name, text in given.items():
        each = BY_NAME.get(name)
        if each is None:
            message = f"{name}: there is no such filter; there are: {', '.join(BY_NAME)}"
            raise Invalid(message, {"field": name})
        read = [_read(each, part) for part in (text.split(",") if each.is_many else [text])]
        if each.column:
            values[each.column] = read
        else:
            wanted = wanted._replace(**{each.member: read[0]})
    is_reserved = wanted.error is not None and wanted.error.startswith(_RESERVED)
    return wanted._replace(values=values, is_reserved=is_reserved)


def _read(each: Filter, text: str) -> Any:
    try:
        return each.read(text)
    except (ValueError, OverflowError):
        message = f"{each.name}: {shown(text)} is not accepted; it must be {each.accepts}"
        raise Invalid(message, {"field": each.name}) from None


# --- cursors ---------------------------------------------------------------------------------------------------------

_CURSOR_VERSION: Final = b"\1"
_DIGEST_BYTES: Final = 8
_ID_BYTES: Final = 16


def cursor(given: Given, sort: Sort, position: bytes) -> str:
    """The text that goes on beyond a position, with the same filter in the same order.

    It has no more in it than where that is, so it never expires.
    """
    return urlsafe_b64encode(_CURSOR_VERSION + _digest(given, sort) + position).rstrip(b"=").decode()


def position_of(text: str, given: Given, sort: Sort, field: str = "after") -> bytes:
    """The position that a cursor goes on beyond. Raises `Invalid` for one of another filter, or none of ours.

    `field` is what the caller sent it as.
    """
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        raw = b""
    head = len(_CURSOR_VERSION) + _DIGEST_BYTES
    if len(raw) != head + _ID_BYTES or not raw.startswith(_CURSOR_VERSION):
        last = "after" if field == "after" else f"next_{field}"
        message = f"{field}: {shown(text)} is not accepted; it must be `{last}` of the `meta` of a page"
        raise Invalid(message, {"field": field})
    if raw[len(_CURSOR_VERSION) : head] != _digest(given, sort):
        message = f"{field}: it belongs to a page of other filters, or sorted the other way; send the same with it"
        raise Invalid(message, {"field": field})
    return raw[head:]


def _digest(given: Given, sort: Sort) -> bytes:
    meant = {name: sorted(set(text.split(","))) if BY_NAME[name].is_many else text for name, text in given.items()}
    return hashlib.sha256(msgspec.json.encode([sort, sorted(meant.items())])).digest()[:_DIGEST_BYTES]
