"""A sorted collection in pieces: adding and removing cost the same beside a million entries as beside a thousand."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final

PIECE_MAX: Final = 1024
"""A piece of more entries is cut in two."""


class Ordered:
    """Entries of any one type that can be compared, ascending; each is in it once."""

    __slots__ = ("_lasts", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[list[Any]] = []
        self._lasts: list[Any] = []  # the last entry of each piece; none is empty

    def add(self, entry: Any) -> None:
        """Put in an entry that is not in it."""
        if not self._pieces:
            self._pieces.append([entry])
            self._lasts.append(entry)
            return
        at = min(bisect_left(self._lasts, entry), len(self._pieces) - 1)
        piece = self._pieces[at]
        insort(piece, entry)
        if len(piece) > PIECE_MAX:
            half = len(piece) // 2
            self._pieces[at : at + 1] = [piece[:half], piece[half:]]
            self._lasts[at : at + 1] = [piece[half - 1], piece[-1]]
        else:
            self._lasts[at] = piece[-1]

    def remove(self, entry: Any) -> None:
        """Take out an entry that is in it."""
        at = bisect_left(self._lasts, entry)
        piece = self._pieces[at]
        del piece[bisect_left(piece, entry)]
        if piece:
            self._lasts[at] = piece[-1]
        else:
            del self._pieces[at], self._lasts[at]

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._pieces)

    def above(self, entry: Any) -> Iterator[Any]:
        """The entries above this one, ascending."""
        at = bisect_right(self._lasts, entry)
        if at < len(self._pieces):
            piece = self._pieces[at]
            yield from islice(piece, bisect_right(piece, entry), None)
            yield from chain.from_iterable(islice(self._pieces, at + 1, None))

    def below(self, entry: Any | None) -> Iterator[Any]:
        """The entries below this one, or all, descending."""
        at = len(self._pieces) if entry is None else bisect_left(self._lasts, entry)
        if at < len(self._pieces):
            piece = self._pieces[at]
            yield from reversed(piece[: bisect_left(piece, entry)])
        for each in reversed(self._pieces[:at]):
            yield from reversed(each)
