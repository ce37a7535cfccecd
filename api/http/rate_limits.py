"""Rate limits by plan: what every answer to a key says of them, and what is refused beyond them."""

from __future__ import annotations

import math
from typing import Any, Final

from perdure.engine.errors import RateLimited
from perdure.engine.runtime.clock import Clock
from perdure.engine.services.access import Access
from perdure.engine.services.plans import PLANS, PlanLimits, RequestCounts, Standing

SECOND_MS: Final = 1000


class RateLimits:
    """Counts the requests of each organization whose plan has a limit."""

    def __init__(self, access: Access, counts: RequestCounts, clock: Clock) -> None:
        self._access = access
        self._counts = counts
        self._clock = clock

    async def take(self, organization_id: bytes, state: dict[str, Any]) -> None:
        """Count a request, and say in `state` what its answer must tell. Raises `RateLimited`.

        Nothing is written, and nothing is read but the plan, once after each of its changes.
        """
        limits = PLANS[await self._access.plan(organization_id)]
        if limits is None:
            return
        standing = self._counts.take(organization_id, limits)
        state.setdefault("answer_headers", {}).update(self._headers(standing))
        if not standing.is_taken:
            seconds = max(1, math.ceil(standing.free_in_ms / SECOND_MS))
            raise RateLimited(_beyond(standing, limits, seconds), seconds)

    def _headers(self, standing: Standing) -> dict[str, str]:
        reset = math.ceil((self._clock.now() + standing.free_in_ms) / SECOND_MS)
        return {
            "X-RateLimit-Limit": str(standing.limit),
            "X-RateLimit-Remaining": str(standing.remaining),
            "X-RateLimit-Reset": str(reset),
        }


def _beyond(standing: Standing, limits: PlanLimits, seconds: int) -> str:
    span = "day" if standing.limit == limits.day else "minute"
    return f"the organization's plan allows {standing.limit:,} requests in a {span}; repeat the call in {seconds} s"
