"""Diagnostics: problems collected while a definition is parsed, each with a JSON Pointer."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

from perdure.engine.language.errors import Problem

PROBLEMS_MAX: Final = 1000
"""The most problems that are reported at once. A definition of a megabyte can hold a hundred thousand; nobody reads
them."""

POINTER_MAX: Final = 1000
"""The most characters of a pointer; a longer one is cut to the pointer of an enclosing value."""

NEAR_MAX: Final = 40
"""Characters of a name that is compared with the known names: that takes quadratic time."""

COMPARISONS_MAX: Final = 20_000
"""Names that are compared with each other in search of what was meant, for all problems together."""


class JsonPointer:
    """A JSON Pointer (RFC 6901) to a value of a definition.

    It knows its way to the top and writes it down only when asked. Pointers made on the way down would take
    quadratic time and memory where a very long name stands above very many values.
    """

    __slots__ = ("key", "parent")

    def __init__(self, parent: JsonPointer | None = None, key: str | int = "") -> None:
        self.parent = parent
        self.key = key

    def __truediv__(self, key: str | int) -> JsonPointer:
        """Return the pointer to a member or an item of this value."""
        return JsonPointer(self, key)

    def __str__(self) -> str:
        """Return the pointer as text, of at most POINTER_MAX characters."""
        keys: list[str] = []
        pointer = self
        while pointer.parent is not None:
            keys.append(str(pointer.key))
            pointer = pointer.parent
        text = ""
        for key in reversed(keys):
            if len(text) + len(key) > POINTER_MAX:
                break
            text += "/" + key.replace("~", "~0").replace("/", "~1")
        return text


class Diagnostics:
    """Collects problems in the order in which they are found, which is document order."""

    __slots__ = ("_comparisons_left", "accepts_old", "count", "is_compiled", "problems")

    def __init__(self, *, accepts_old: bool = False, is_compiled: bool = False) -> None:
        self.problems: list[Problem] = []
        self.accepts_old = accepts_old
        """Whether a definition may hold what was accepted when it was created: one that is stored keeps running."""
        self.is_compiled = is_compiled
        """Whether the definition was compiled from another format: it may hold what one written by hand may not."""
        self.count = 0
        """The number of problems found, including those that are not reported."""
        self._comparisons_left = COMPARISONS_MAX

    @property
    def is_full(self) -> bool:
        """Whether PROBLEMS_MAX is reached."""
        return len(self.problems) >= PROBLEMS_MAX

    def add(self, pointer: JsonPointer, message: str) -> None:
        """Add a problem, unless there are enough."""
        self.count += 1
        if not self.is_full:
            self.problems.append(Problem(str(pointer), message))

    def add_new(self, pointer: JsonPointer, message: str) -> None:
        """Add a problem of which earlier versions did not know, so that definitions that are stored may have it."""
        if not self.accepts_old:
            self.add(pointer, message)

    def suggestion(self, name: str, known: Collection[str]) -> str:
        """Say which known name was probably meant, as the end of a message; "" if none is near."""
        if self.is_full or len(name) > NEAR_MAX or len(known) > self._comparisons_left:
            return ""
        self._comparisons_left -= len(known)
        folded = {other.casefold(): other for other in known}
        near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
        return f"; did you mean {folded[near[0]]}?" if near else ""
