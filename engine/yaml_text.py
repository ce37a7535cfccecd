"""Definitions in YAML: parsed to the JSON value that they mean; anything that is not JSON is rejected.

Only what JSON has comes out: no dates, no tags, no numbers by way of clocks (`1:30`), `yes` is a text. An anchor may be
used again, but not so that a short text means a huge or a deep value.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NamedTuple

from perdure.engine.errors import Invalid

DEPTH_MAX: Final = 64
VALUES_MAX: Final = 100_000
"""So many values a text may mean, each use of an anchor counted whole."""
SIZE_MAX: Final = 16 * 1024 * 1024
"""So many characters its texts and numbers may have, likewise."""
SHOWN_MAX: Final = 60

_PLAIN: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
# A byte-order mark in the middle is no text for one parser, and none at all for another.
_NOT_IN_YAML: Final = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def looks_like_json(text: str | bytes) -> bool:
    """Whether a text is to be read as JSON: it begins with a bracket."""
    start = text.lstrip()[:1]
    return start in ("{", "[", b"{", b"[")


def read_yaml(text: str | bytes, size_max: int = SIZE_MAX) -> Any:
    """The JSON value that a YAML text (1.2, core schema) means. Raises `Invalid`, saying what is wrong and where."""
    import yaml  # noqa: PLC0415 most definitions are JSON

    text = (text if isinstance(text, str) else _decoded(text)).removeprefix("\ufeff")
    _check_characters(text)
    built = _Built(size_max)
    try:
        # In C where that was built, in a fifteenth of the time.
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            built.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Invalid(f"not YAML: {error.problem or error.context}{_at(mark)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid(f"not YAML: {error}") from None
    return built.value()


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + 1, error.start - raw.rfind(b"\n", 0, error.start)
        raise Invalid(f"not YAML: it is not UTF-8 at line {line}, byte {byte}") from None


def _check_characters(text: str) -> None:
    found = _NOT_IN_YAML.search(text)
    if found is not None:
        at = found.start()
        where = f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"
        raise Invalid(f"not YAML: the character U+{ord(found[0]):04X} must not stand in it, as at {where}")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def _at(mark: Any) -> str:
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


class _Value(NamedTuple):
    """A value, how many values that is, how many characters they have, and how many levels."""

    value: Any
    values: int = 1
    size: int = 0
    depth: int = 0


class _Open:
    """A list or an object that is being filled."""

    def __init__(self, value: list[Any] | dict[str, Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.values = 1
        self.size = 0
        self.depth = 1
        self.key: str | None = None

    def done(self) -> _Value:
        return _Value(self.value, self.values, self.size, self.depth)


class _Built:
    """The value that the parser's events make, without recursion."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._open: list[_Open] = []
        self._anchors: dict[str, _Value] = {}
        self._values: list[Any] = []

    def value(self) -> Any:
        if len(self._values) != 1:
            raise Invalid(f"a YAML text must hold one document; this one has {len(self._values)}")
        return self._values[0]

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if getattr(event, "tag", None) is not None:
            raise Invalid(f"the tag {_short(event.tag)} is not accepted{_at(event.start_mark)}")
        if kind == "ScalarEvent":
            self._add(_Value(_scalar(event), size=len(event.value)), event.anchor, event)
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise Invalid(f"nothing is named {_short(event.anchor)!r} before its use{_at(event.start_mark)}")
            self._add(self._anchors[event.anchor], None, event)
        elif kind in {"SequenceStartEvent", "MappingStartEvent"}:
            self._check_depth(1, event)
            self._open.append(_Open([] if kind == "SequenceStartEvent" else {}, event.anchor))
        elif kind in {"SequenceEndEvent", "MappingEndEvent"}:
            closed = self._open.pop()
            self._add(closed.done(), closed.anchor, event)

    def _check_depth(self, further: int, event: Any) -> None:
        if len(self._open) + further > DEPTH_MAX:
            raise Invalid(f"it is more than {DEPTH_MAX} levels deep{_at(event.start_mark)}")

    def _add(self, added: _Value, anchor: str | None, event: Any) -> None:
        """Put a value where it belongs: into what is open, or as the whole."""
        if anchor is not None:
            self._anchors[anchor] = added
        if not self._open:
            self._values.append(added.value)
            return
        into = self._open[-1]
        self._count(into, added, event)
        if isinstance(into.value, list):
            into.value.append(added.value)
        elif into.key is None:
            into.key = _member(added.value, into.value, event)
        else:
            into.value[into.key] = added.value
            into.key = None

    def _count(self, into: _Open, added: _Value, event: Any) -> None:
        self._check_depth(added.depth, event)
        into.depth = max(into.depth, added.depth + 1)
        into.values += added.values
        into.size += added.size
        if into.values > VALUES_MAX:
            raise Invalid(f"it means more than {VALUES_MAX} values{_at(event.start_mark)}")
        if into.size > self._size_max:
            raise Invalid(f"it means more than {self._size_max} characters{_at(event.start_mark)}")


def _member(name: Any, members: dict[str, Any], event: Any) -> str:
    if not isinstance(name, str):
        raise Invalid(f"the name of a member must be a text{_at(event.start_mark)}")
    if name in members:
        raise Invalid(f"the member {_short(name)!r} stands twice{_at(event.start_mark)}")
    return name


def _scalar(event: Any) -> Any:
    """A plain scalar as the core schema reads it; a quoted or folded one is a text."""
    text: str = event.value
    if not text.isascii() and _SURROGATE.search(text):
        raise Invalid(f"a text has half of a surrogate pair, which is no character{_at(event.start_mark)}")
    if event.style:  # "" or null if it is plain
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    if _INTEGER.fullmatch(text) and len(text) <= 4000:  # noqa: PLR2004 more digits Python does not read
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise Invalid(f"the number {_short(text)} is out of range{_at(event.start_mark)}")
        return number
    return text
