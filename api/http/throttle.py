"""Throttling: an address that sends wrong keys is refused for a while, unless it sends a valid one."""

from __future__ import annotations

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

from perdure.engine.errors import RateLimited
from perdure.engine.runtime.clock import Clock

WRONG_MAX: Final = 20
"""So many wrong keys an address may send at once."""

REFILL_MS: Final = 1000
"""After so long it may send another."""

DOUBTED_MAX: Final = 10
"""So many keys that may be right are looked up all the same at once, whatever address they come from."""

DOUBTED_REFILL_MS: Final = 200
"""After so long another one is."""

ADDRESSES_MAX: Final = 10_000

_NETWORK_BITS: Final = 64
"""Of an address of version 6: whoever has one has all that begin alike."""


class Throttle:
    """Counts the wrong keys of each address. A restart forgets; of very many addresses the oldest are forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._doubted = (0.0, 0)

    def is_over(self, address: str) -> bool:
        """Whether an address has sent too many."""
        return self._count(address) > WRONG_MAX - 1

    def check(self, address: str, *, may_be_right: bool = False) -> None:
        """Raise `RateLimited`, saying for how long, if an address has sent too many.

        One that may be right all the same is let through now and then, and is not to be counted as wrong.
        """
        over = self._count(address) - WRONG_MAX + 1
        if over > 0 and not (may_be_right and self._may_look()):
            seconds = math.ceil(over * REFILL_MS / 1000)
            raise RateLimited(f"too many wrong keys came from this address; repeat the call in {seconds} s", seconds)

    def _may_look(self) -> bool:
        now = self._clock.ticks()
        count = _left(self._doubted, now, DOUBTED_REFILL_MS)
        if count > DOUBTED_MAX - 1:
            return False
        self._doubted = (count + 1, now)
        return True

    def wrong(self, address: str) -> None:
        """Note a wrong key."""
        place = _network(address)
        self._wrong[place] = (self._count(address) + 1, self._clock.ticks())
        self._wrong.move_to_end(place)
        if len(self._wrong) > ADDRESSES_MAX:
            self._wrong.popitem(last=False)

    def _count(self, address: str) -> float:
        """How many it has sent, less those that time has taken back."""
        return _left(self._wrong.get(_network(address), (0.0, 0)), self._clock.ticks(), REFILL_MS)


def _left(counted: tuple[float, int], now: int, refill_ms: int) -> float:
    """What is left of a count of an earlier instant."""
    count, at = counted
    return max(0.0, count - max(0, now - at) / refill_ms)


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:  # a socket of another family
        return address
    if not isinstance(found, IPv6Address):
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(int(found) >> _NETWORK_BITS)
