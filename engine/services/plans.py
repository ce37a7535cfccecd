"""Plans: how many requests an organization may send, and how that is counted.

What counts stands behind `RequestCounts`, so that a server of many nodes may count otherwise than `Windows` does, in
the memory of this one.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from perdure.engine.core.settings import PlanName
from perdure.engine.runtime.clock import Clock

MINUTE_MS: Final = 60_000
DAY_MS: Final = 24 * 60 * MINUTE_MS

ORGANIZATIONS_MAX: Final = 10_000
"""Of so many organizations the requests are counted at once."""


class PlanLimits(NamedTuple):
    """The most requests in any minute, and in any day."""

    minute: int
    day: int


PLANS: Final[Mapping[PlanName, PlanLimits | None]] = {
    "free": PlanLimits(60, 1_000),
    "starter": PlanLimits(120, 10_000),
    "pro": PlanLimits(300, 50_000),
    "business": PlanLimits(600, 200_000),
    "unlimited": None,
}
"""What each plan allows; none: everything."""


class Standing(NamedTuple):
    """The fate of a request, and how its organization stands after it.

    `limit` and `remaining` are of the window that is nearer to its end. In `free_in_ms` one request more may be sent
    than `remaining` says; a request that was not taken may be sent then.
    """

    is_taken: bool
    limit: int
    remaining: int
    free_in_ms: int


class RequestCounts(Protocol):
    """Counts the requests of organizations."""

    def take(self, organization_id: bytes, limits: PlanLimits) -> Standing:
        """Count a request, if it is within these limits; what is beyond costs nothing and counts nothing."""
        ...


class _Window:
    """Requests of the last `length_ms`, in steps of `grain_ms`: those of a step leave together, never too early."""

    __slots__ = ("_counts", "_ends", "_grain_ms", "_length_ms", "count")

    def __init__(self, length_ms: int, grain_ms: int) -> None:
        self._length_ms, self._grain_ms = length_ms, grain_ms
        # By step: its last moment, and how many came in it. As arrays, since a day of many organizations is long.
        self._ends, self._counts = array("q"), array("I")
        self.count = 0

    def pass_to(self, now: int) -> None:
        """Let go of what is too old."""
        old = 0
        while old < len(self._ends) and self._ends[old] + self._length_ms <= now:
            old += 1
        if old:
            self.count -= sum(self._counts[:old])
            del self._ends[:old], self._counts[:old]

    def add(self, now: int) -> None:
        """Count a request."""
        end = now - now % self._grain_ms + self._grain_ms - 1
        if not self._ends or self._ends[-1] != end:
            self._ends.append(end)
            self._counts.append(0)
        self._counts[-1] += 1
        self.count += 1

    def free_in(self, now: int, limit: int) -> int:
        """After how many ms more than now may be sent. A plan may have become smaller than what was counted."""
        left = self.count
        for end, count in zip(self._ends, self._counts, strict=True):
            left -= count
            if left < limit:
                return end + self._length_ms - now
        return 0


class _Counted:
    """The requests of one organization: those of a minute to the millisecond, those of a day by minutes."""

    __slots__ = ("day", "minute")

    def __init__(self) -> None:
        self.minute = _Window(MINUTE_MS, 1)
        self.day = _Window(DAY_MS, MINUTE_MS)

    def take(self, now: int, limits: PlanLimits) -> Standing:
        windows = ((self.minute, limits.minute), (self.day, limits.day))
        for window, _ in windows:
            window.pass_to(now)
        full = [(window, limit) for window, limit in windows if window.count >= limit]
        if full:
            waits = [(window.free_in(now, limit), limit) for window, limit in full]
            free_in, limit = max(waits)
            return Standing(is_taken=False, limit=limit, remaining=0, free_in_ms=free_in)
        for window, _ in windows:
            window.add(now)
        nearest, limit = min(windows, key=lambda each: each[1] - each[0].count)
        left = limit - nearest.count
        return Standing(is_taken=True, limit=limit, remaining=left, free_in_ms=nearest.free_in(now, nearest.count))

    def pass_to(self, now: int) -> bool:
        """Let go of what is too old; whether nothing is left."""
        self.minute.pass_to(now)
        self.day.pass_to(now)
        return self.day.count == 0


class Windows:
    """Counts in memory: exact on one node, and forgotten when it stops.

    Of too many organizations the one goes first that has sent nothing for longest, if it has sent nothing for a day.
    If there is none, all of them are in use, and one more is told to come back: who has such a plan is named by an
    operator, so nobody from outside can make them many.
    """

    def __init__(self, clock: Clock, organizations_max: int = ORGANIZATIONS_MAX) -> None:
        self._clock = clock
        self._max = organizations_max
        self._counted: OrderedDict[bytes, _Counted] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counted)

    def take(self, organization_id: bytes, limits: PlanLimits) -> Standing:
        """Count a request."""
        now = self._clock.ticks()
        counted = self._counted.get(organization_id)
        if counted is None:
            if not self._has_room(now):
                return Standing(is_taken=False, limit=limits.minute, remaining=0, free_in_ms=MINUTE_MS)
            counted = self._counted[organization_id] = _Counted()
        standing = counted.take(now, limits)
        if standing.is_taken:
            self._counted.move_to_end(organization_id)
        return standing

    def _has_room(self, now: int) -> bool:
        if len(self._counted) < self._max:
            return True
        oldest = next(iter(self._counted))
        if not self._counted[oldest].pass_to(now):
            return False
        del self._counted[oldest]
        return True
