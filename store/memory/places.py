"""Places in limits and the lines before them, in memory."""

from __future__ import annotations

from perdure.store.memory.log import MemoryLog
from perdure.store.memory.tables import Index, MemoryTable
from perdure.store.records import InLine, QueuedRow, QueueRow, SlotRow


class MemoryPlaces(MemoryLog):
    """The tables of places and lines, and `Places` over them."""

    def __init__(self) -> None:
        super().__init__()
        self._in_line = Index[QueueRow](lambda row: row.limit_key, lambda row: (self._position_of(row), row))
        self._queue = MemoryTable(QueueRow, self._in_line)
        self._taken = Index[SlotRow](lambda row: row.limit_key, lambda row: row.place)
        self._slots_of = Index[SlotRow](lambda row: row.stream_id, lambda row: row)
        self._slots = MemoryTable(SlotRow, self._taken, self._slots_of)

    def _position_of(self, row: QueueRow) -> int:
        """Where the event stands in the log since which an execution stands in line."""
        return self._events[row.execution_id][row.seq - 1].position

    async def first_in_line(self, limit_key: bytes, *, after: int = 0) -> QueuedRow | None:
        entries = self._in_line.above(limit_key, (after + 1,), 1)
        return QueuedRow(*entries[0]) if entries else None

    async def in_line(self, execution_id: bytes) -> InLine | None:
        row = self._queue.rows.get((execution_id,))
        if row is None:
            return None
        position = self._position_of(row)
        return InLine(row, sum(other < position for other, _ in self._in_line.all(row.limit_key)))

    async def lines(self, *, after: bytes = b"", limit: int = 1000) -> list[bytes]:
        return sorted({row.limit_key for row in self._queue.rows.values() if row.limit_key > after})[:limit]

    async def places_taken(self, limit_key: bytes) -> list[int]:
        return self._taken.all(limit_key)
