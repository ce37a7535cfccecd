"""Held calls (long polls): each keeps a connection, of which a server has a limited number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Holds:
    """Counts held calls: at most `most` at once, null for any number, and half of them from one workspace."""

    def __init__(self) -> None:
        self.most: int | None = None
        self._counts: Counter[bytes] = Counter()

    @contextmanager
    def hold(self, workspace_id: bytes) -> Iterator[bool]:
        """Count a call of a workspace while it is held; false if the limit is reached."""
        if not self._has_room(workspace_id):
            yield False
            return
        self._counts[workspace_id] += 1
        try:
            yield True
        finally:
            self._counts[workspace_id] -= 1
            if not self._counts[workspace_id]:
                del self._counts[workspace_id]

    def _has_room(self, workspace_id: bytes) -> bool:
        if self.most is None:
            return True
        return self._counts.total() < self.most and self._counts[workspace_id] < max(1, self.most // 2)
