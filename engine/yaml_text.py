"""Definitions written in YAML: read as the JSON value that they mean, and nothing more.

Only what JSON has comes out: no dates, no tags, no numbers by way of clocks (`1:30`), `yes` is a text. An anchor may be
used again, but not so that a short text means a huge value.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from perdure.engine.errors import Invalid

DEPTH_MAX: Final = 64
VALUES_MAX: Final = 100_000
"""So many values a text may mean, each use of an anchor counted whole."""

_PLAIN: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def looks_like_json(text: str | bytes) -> bool:
    """Whether a text is to be read as JSON: it begins with a bracket."""
    start = text.lstrip()[:1]
    return start in ("{", "[", b"{", b"[")


def read_yaml(text: str | bytes) -> Any:
    """The JSON value that a YAML text (1.2, core schema) means. Raises `Invalid`, saying what is wrong and where."""
    import yaml  # noqa: PLC0415 most definitions are JSON

    built = _Built()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            built.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Invalid(f"not YAML: {error.problem or error.context}{_at(mark)}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"not YAML: {error}") from None
    return built.value()


def _at(mark: Any) -> str:
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


class _Open:
    """A list or an object that is being filled; `weight` counts the values in it."""

    def __init__(self, value: list[Any] | dict[str, Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.weight = 1
        self.key: str | None = None


class _Built:
    """The value that the parser's events make, without recursion."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values: list[Any] = []

    def value(self) -> Any:
        if len(self._values) != 1:
            raise Invalid(f"a YAML text must hold one document; this one has {len(self._values)}")
        return self._values[0]

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if getattr(event, "tag", None) is not None:
            raise Invalid(f"the tag {event.tag} is not accepted{_at(event.start_mark)}")
        if kind == "ScalarEvent":
            self._add(_scalar(event), 1, event.anchor, event)
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise Invalid(f"nothing is named {event.anchor!r} before its use{_at(event.start_mark)}")
            self._add(*self._anchors[event.anchor], None, event)
        elif kind in {"SequenceStartEvent", "MappingStartEvent"}:
            if len(self._open) >= DEPTH_MAX:
                raise Invalid(f"it is more than {DEPTH_MAX} levels deep{_at(event.start_mark)}")
            self._open.append(_Open([] if kind == "SequenceStartEvent" else {}, event.anchor))
        elif kind in {"SequenceEndEvent", "MappingEndEvent"}:
            done = self._open.pop()
            self._add(done.value, done.weight, done.anchor, event)

    def _add(self, value: Any, weight: int, anchor: str | None, event: Any) -> None:
        """Put a value where it belongs: into what is open, or as the whole."""
        if anchor is not None:
            self._anchors[anchor] = value, weight
        if not self._open:
            self._values.append(value)
            return
        into = self._open[-1]
        into.weight += weight
        if into.weight > VALUES_MAX:
            raise Invalid(f"it means more than {VALUES_MAX} values{_at(event.start_mark)}")
        if isinstance(into.value, list):
            into.value.append(value)
        elif into.key is None:
            into.key = _member(value, into.value, event)
        else:
            into.value[into.key] = value
            into.key = None


def _member(name: Any, members: dict[str, Any], event: Any) -> str:
    if not isinstance(name, str):
        raise Invalid(f"the name of a member must be a text{_at(event.start_mark)}")
    if name in members:
        raise Invalid(f"the member {name!r} stands twice{_at(event.start_mark)}")
    return name


def _scalar(event: Any) -> Any:
    """A plain scalar as the core schema reads it; a quoted or folded one is a text."""
    text: str = event.value
    if event.style is not None:
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    if _INTEGER.fullmatch(text) and len(text) <= 4000:  # noqa: PLR2004 more digits Python does not read
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise Invalid(f"the number {text[:40]} is out of range{_at(event.start_mark)}")
        return number
    return text
