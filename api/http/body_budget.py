"""How many bytes of bodies are under way at once, in all and of one workspace."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Final, Self

from perdure.engine.errors import RateLimited

BYTES_MIN: Final = 64 * 1024 * 1024
BODIES_MIN: Final = 4
RETRY_AFTER_S: Final = 1


class BodyBudget:
    """Counts bytes as they come, and until their request is answered.

    No workspace has more than are left free for all others: one has half of all, two have a third each, and there is
    always room for whoever comes next.
    """

    def __init__(self, body_max_bytes: int) -> None:
        self.most = max(BYTES_MIN, BODIES_MIN * body_max_bytes)
        self.taken = 0
        self._of: Counter[bytes] = Counter()

    def take(self, workspace_id: bytes, count: int) -> None:
        """Count so many bytes more of a workspace. Raises `RateLimited` if that is too much."""
        if self._of[workspace_id] + count > self.most - self.taken - count:
            raise RateLimited(
                f"the bodies of this workspace that are under way have {self._of[workspace_id]} bytes, and the next "
                f"{count} would be more than are left for all others; repeat the call in {RETRY_AFTER_S} s",
                RETRY_AFTER_S,
            )
        self._of[workspace_id] += count
        self.taken += count

    def give_back(self, workspace_id: bytes, count: int) -> None:
        """Count so many bytes less."""
        self.taken -= count
        self._of[workspace_id] -= count
        if not self._of[workspace_id]:
            del self._of[workspace_id]


class CountedBody:
    """One body: what was taken for it is given back at the end of the block."""

    def __init__(self, budget: BodyBudget, workspace_id: bytes) -> None:
        self._budget = budget
        self._workspace_id = workspace_id
        self._taken = 0

    def take(self, count: int) -> None:
        """Count so many bytes more. Raises `RateLimited`."""
        self._budget.take(self._workspace_id, count)
        self._taken += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._taken:
            self._budget.give_back(self._workspace_id, self._taken)
