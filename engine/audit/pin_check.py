"""Checks the pins of a log: the events that they name are at their positions, and those between in order.

`store/LOG_FORMAT.md`, "Pins", says what a pin is.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from perdure.engine.core.pinned import LogPinned
from perdure.engine.log.verification import Break
from perdure.engine.runtime.streams.stream_types import STREAM_TYPES
from perdure.store.chain import LOG_DOMAIN
from perdure.store.records import EventRow


class _Pin(NamedTuple):
    told: LogPinned
    row: EventRow

    def broken(self, reason: str) -> Break:
        return Break(self.row.stream_id, self.row.seq, reason)


class PinCheck:
    """Compares pins, all of which are added first, with the log as it is walked by position."""

    def __init__(self) -> None:
        self._pins: dict[int, list[_Pin]] = {}
        self._last_use: dict[int, int] = {}
        self._starts: list[int] | None = None
        self._digests: dict[int, Any] = {}
        self._breaks: list[Break] = []

    def add(self, row: EventRow) -> None:
        """Note a pin; one that does not read as one has failed the fold of its stream."""
        told = STREAM_TYPES["organization"].vocabulary.read(row).event
        if isinstance(told, LogPinned):
            self._pins.setdefault(told.position, []).append(_Pin(told, row))
            if told.after is not None:
                self._last_use[told.after] = max(told.position, self._last_use.get(told.after, 0))

    def feed(self, position: int, hash_: Any) -> None:
        """The next event of the log. What is no hash at all (a file may hold anything) counts as an empty one."""
        hash_ = hash_ if isinstance(hash_, bytes) else b""
        if self._starts is None:
            self._starts = sorted(self._last_use, reverse=True)
        while self._starts and self._starts[-1] < position:
            self._digests[self._starts.pop()] = hashlib.sha256(LOG_DOMAIN)
        for digest in self._digests.values():  # one, but where two pins were made at once
            digest.update(hash_)
        for pin in self._pins.pop(position, ()):
            self._compare(pin, hash_)
        for start in [start for start in self._digests if self._last_use[start] <= position]:
            del self._digests[start]

    def _compare(self, pin: _Pin, hash_: bytes) -> None:
        told = pin.told
        if hash_.hex() != told.sha256:
            self._breaks.append(_moved(pin))
        elif told.after is not None:
            digest = self._digests.get(told.after)
            if digest is None or digest.hexdigest() != told.log_sha256:
                where = f"the events at positions {told.after + 1} to {told.position}"
                self._breaks.append(pin.broken(f"{where} are not those that were pinned, or not in that order"))

    def breaks(self) -> list[Break]:
        """What does not hold, asked for when the log is at its end."""
        return self._breaks + [_moved(pin) for pins in self._pins.values() for pin in pins]


def _moved(pin: _Pin) -> Break:
    position = pin.told.position
    return pin.broken(
        f"another event than was pinned stands at position {position}: some before it were taken away or put in"
    )
