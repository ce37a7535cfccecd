"""Results of reads for an audit: those of a stream as they are at one moment, and what does not belong."""

from __future__ import annotations

from typing import Final, NamedTuple

from perdure.store.records import CountRow, Owned, StreamRow


class Seen(NamedTuple):
    """A stream's head and its rows, all read at one moment."""

    stream: StreamRow
    rows: list[Owned]


class Stray(NamedTuple):
    """A row whose stream does not exist; `stream_id` is the one that it names."""

    table: str
    stream_id: bytes


MISPLACED: Final = "queue.position"
"""Stands for the table of a stray that is in line at another position than its event's."""


class Miscount(NamedTuple):
    """A count that is not as many as there are; `total` is 0 where there is no row, or where nothing is counted."""

    row: CountRow
    there: int
