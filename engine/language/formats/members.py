"""Reads the members of an object of a document: each is checked, and what is not known is a problem."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from perdure.engine.language.diagnostics import NEAR_MAX, Diagnostics, JsonPointer
from perdure.engine.language.formats.flow import DocumentError
from perdure.engine.language.parse.shape import read_definition
from perdure.engine.language.values import Json, is_number, shown
from perdure.engine.suggestions import did_you_mean

TIME_MAX_MS: Final = 99_999_999_000
"""The longest time that a document may give: what a machine can, a little over three years."""


class Members:
    """The members of one object.

    Each method reads one; if it is not there it gives the default, if it is wrong it adds a problem and gives the
    default as well.
    """

    def __init__(self, source: Mapping[str, Json], pointer: JsonPointer, diagnostics: Diagnostics) -> None:
        self.source = source
        self.pointer = pointer
        self._diagnostics = diagnostics

    def __contains__(self, name: object) -> bool:
        return name in self.source

    def get(self, name: str) -> Json:
        """Give a member as it is; null if it is not there."""
        return self.source.get(name)

    def refuse(self, name: str, message: str) -> None:
        """Add a problem at a member; at the object itself if the name is empty."""
        self._diagnostics.add(self.pointer / name if name else self.pointer, message)

    def refuse_at(self, pointer: JsonPointer, message: str) -> None:
        """Add a problem of something within a member."""
        self._diagnostics.add(pointer, message)

    def check(self, known: Collection[str], what: str = "") -> None:
        """Add a problem for each member that is none of these."""
        for name in self.source:
            if self._diagnostics.is_full:
                return
            if name not in known:
                near = did_you_mean(name, known) if len(name) <= NEAR_MAX else ""
                there = f" There are {', '.join(known)}." if not near and known else ""
                self.refuse(name, f"unknown member {shown(name)}{what}.{near or there}")

    def text(self, name: str, default: str | None = None, *, most: int = 10_000) -> str | None:
        """Read a text, which is not empty."""
        value = self.get(name)
        if value is None:
            return default
        if type(value) is str and 0 < len(value) <= most:
            return value
        self.refuse(name, f"must be a text of 1 to {most} characters")
        return default

    def needed_text(self, name: str, *, most: int = 10_000) -> str:
        """Read a text that must be there; empty, with a problem, if it is not."""
        if self.get(name) is None:
            self.refuse("", f"{name} is missing")
            return ""
        return self.text(name, "", most=most) or ""

    def flag(self, name: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self.get(name)
        if value is None:
            return default
        if type(value) is not bool:
            self.refuse(name, "must be true or false")
            return default
        return value

    def one_of(self, name: str, words: Collection[str], default: str) -> str:
        """Read one of some words."""
        value = self.get(name)
        if value is None:
            return default
        if type(value) is str and value in words:
            return value
        near = did_you_mean(value, words) if type(value) is str and len(value) <= NEAR_MAX else ""
        self.refuse(name, f"must be one of {', '.join(words)}.{near}")
        return default

    def number(self, name: str, lowest: float, highest: float) -> float | None:
        """Read a number of a range."""
        value = self.get(name)
        if value is None:
            return None
        if is_number(value) and lowest <= value <= highest:
            return float(value) if type(value) is float else value
        self.refuse(name, f"must be a number from {lowest} to {highest}")
        return None

    def whole(self, name: str, lowest: int, highest: int, default: int) -> int:
        """Read a whole number of a range."""
        value = self.get(name)
        if value is None:
            return default
        if type(value) is int and lowest <= value <= highest:
            return value
        self.refuse(name, f"must be a whole number from {lowest} to {highest}")
        return default

    def milliseconds(self, *names: str) -> float | None:
        """Read a time in milliseconds that may go by several names."""
        given = [name for name in names if self.get(name) is not None]
        if len(given) > 1:
            self.refuse(given[1], f"means the same as {given[0]}: give one of them")
        return self.number(given[0], 1, TIME_MAX_MS) if given else None

    def texts(self, name: str) -> list[str]:
        """Read a list of texts."""
        value = self.get(name)
        if value is None:
            return []
        if type(value) is list and all(type(item) is str and item for item in value):
            return value
        self.refuse(name, "must be a list of texts")
        return []

    def object(self, name: str) -> dict[str, Json] | None:
        """Read an object; None if it is not there."""
        value = self.get(name)
        if value is None or type(value) is dict:
            return value
        self.refuse(name, "must be an object")
        return None

    def inner(self, name: str) -> Members:
        """Give the members of an object in this one; of an empty one if it is not there."""
        return Members(self.object(name) or {}, self.pointer / name, self._diagnostics)


def listed(names: Iterable[str]) -> str:
    """List names for a message."""
    return ", ".join(names)


def members_of(document: object, diagnostics: Diagnostics, what: str) -> Members:
    """The members of a document, which `what` names. Raises `DocumentError`: it is no JSON object."""
    source = read_definition(document, diagnostics)
    if not diagnostics.problems and type(source) is not dict:
        diagnostics.add(JsonPointer(), f"{what} is a JSON object")
    if diagnostics.problems:
        raise DocumentError(diagnostics.problems)
    return Members(source, JsonPointer(), diagnostics)
