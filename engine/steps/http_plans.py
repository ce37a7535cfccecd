"""Rules for several requests of `http_request`: how pages follow each other, and how many may be sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from perdure.engine.steps.http_action import ITEMS, ITEMS_MAX, PAGES, PAGES_MAX, RATE_MAX, RATE_SECONDS_MAX
from perdure.engine.steps.http_fields import invalid, object_of, text_of_field, whole_of
from perdure.engine.steps.registry import StepFailed

RATE_LIMITED: Final = "Http.RateLimited"
TURN_MAX_S: Final = 300.0
"""Seconds that a request waits for its turn at most; one that would wait longer fails, and may be retried."""
HOSTS_MAX: Final = 1_000

_PAGINATION: Final = ("type", "itemsPath", "cursorPath", "cursorParam", "maxPages", "maxItems")
_TYPES: Final = ("link", "cursor")
_PATH_MAX: Final = 500


class Pagination(NamedTuple):
    """Rules for going from page to page.

    `is_cursor`: whether a page says what to send for the next one; else a link leads to it.
    `items`: the way to the items of a page, from its body.
    `cursor`: the way to what is sent, as the parameter `parameter` of the query.
    """

    is_cursor: bool
    items: tuple[str, ...] = ()
    cursor: tuple[str, ...] = ()
    parameter: str = "cursor"
    pages_max: int = PAGES
    items_max: int = ITEMS


class RateLimit(NamedTuple):
    """A limit: so many requests to a host in any span of so many seconds."""

    requests: int
    seconds: float


def read_pagination(value: Any) -> Pagination:
    """Check `pagination`. Raises StepFailed: `Http.InvalidInput`, naming the field."""
    given = object_of(value, "pagination", _PAGINATION, ("type",))
    kind = given["type"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise invalid(f"pagination.type must be one of {', '.join(_TYPES)}")
    if kind == "cursor" and "cursorPath" not in given:
        raise invalid("pagination.cursorPath is missing: it says where a page has the cursor")
    if kind == "link" and ("cursorPath" in given or "cursorParam" in given):
        raise invalid("pagination.cursorPath and cursorParam belong to the type cursor")
    items = given.get("itemsPath", "")
    return Pagination(
        kind == "cursor",
        _path(items, "itemsPath") if items != "" else (),
        _path(given["cursorPath"], "cursorPath") if kind == "cursor" else (),
        text_of_field(given.get("cursorParam", "cursor"), "pagination.cursorParam", 200),
        whole_of(given.get("maxPages", PAGES), "pagination.maxPages", PAGES_MAX),
        whole_of(given.get("maxItems", ITEMS), "pagination.maxItems", ITEMS_MAX),
    )


def _path(value: Any, name: str) -> tuple[str, ...]:
    text = text_of_field(value, f"pagination.{name}", _PATH_MAX)
    return tuple(part for part in text.removeprefix("$").split(".") if part)


def read_rate_limit(value: Any) -> RateLimit:
    """Check `rateLimit`. Raises StepFailed: `Http.InvalidInput`, naming the field."""
    given = object_of(value, "rateLimit", RateLimit._fields, RateLimit._fields)
    seconds = given["seconds"]
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= RATE_SECONDS_MAX:
        raise invalid(f"rateLimit.seconds must be a number above 0, at most {RATE_SECONDS_MAX}")
    return RateLimit(whole_of(given["requests"], "rateLimit.requests", RATE_MAX), float(seconds))


class HostLimits:
    """Gives requests their turns, by workspace and host. It knows this process's requests, and no other's.

    A turn is given for an instant, and none before an earlier one; so any limit that a request names holds with all
    that went before it, whatever limits those named.
    """

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._turns: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    async def turn(self, workspace: str, host: str, limit: RateLimit) -> None:
        """Wait until a request may be sent.

        Raises StepFailed: `Http.RateLimited`, if that takes longer than TURN_MAX_S; its turn is left to others.
        """
        now = self._clock() if self._clock is not None else asyncio.get_running_loop().time()
        turns = self._turns.setdefault((workspace, host), deque(maxlen=RATE_MAX))
        self._turns.move_to_end((workspace, host))
        due = max(now, turns[-1]) if turns else now
        if len(turns) >= limit.requests:
            due = max(due, turns[-limit.requests] + limit.seconds)
        if due - now > TURN_MAX_S:
            raise StepFailed(RATE_LIMITED, f"The turn of a request to {host} comes in {due - now:.0f} s: too late.")
        turns.append(due)
        self._let_go(now)
        if due > now:
            await self._sleep(due - now)

    def _let_go(self, now: float) -> None:
        """Forget the host that was asked least recently, if there are too many and its turns are long over."""
        if len(self._turns) > HOSTS_MAX:
            oldest = next(iter(self._turns))
            if not self._turns[oldest] or self._turns[oldest][-1] < now - RATE_SECONDS_MAX:
                del self._turns[oldest]
