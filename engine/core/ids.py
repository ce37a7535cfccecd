"""Ids: UUIDs of version 7 (RFC 9562), kept as 16 bytes, shown as text.

They sort by creation, which makes them the keyset of every page and four times cheaper to append to an index than
random ones. Chance is passed in.

They are no secrets: an id tells when it was made. That each is above all before it holds for one generator; a node
seeds its own with the highest that it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_RANDOM_BITS = 74
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TEXT = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_PREFIX = re.compile(r"(?:wf|run|exec|conn|tbl|agent|form|cred|whk|evt)_(?=[0-9a-fA-F]{8}-)")


class IdGenerator:
    """Makes ids that ascend strictly, however many are drawn within a millisecond and wherever the clock jumps.

    `random(n)` gives n random bytes. Within one millisecond the 74 random bits are counted up by a random step
    (RFC 9562, section 6.2, method 2), so that an id does not tell its successor.
    """

    __slots__ = ("_ms", "_random", "_tail")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._ms = 0
        self._tail = 0

    def next(self, now: int) -> bytes:
        """The next id; `now` is in milliseconds since the epoch. It may run backwards, the ids do not."""
        if now > self._ms:
            self._ms = now
            # The top bit starts at 0: room to count up without reaching into the next millisecond.
            self._tail = int.from_bytes(self._random(10), "big") >> 7
        else:
            self._tail += 1 + int.from_bytes(self._random(4), "big")
            if self._tail >> _RANDOM_BITS:
                self._ms += 1
                self._tail = int.from_bytes(self._random(10), "big") >> 7
        return _layout(self._ms, self._tail)

    def seed(self, seen: bytes) -> None:
        """Make every later id greater than `seen`, an id of version 7 (another node's clock may be ahead of ours)."""
        number = int.from_bytes(seen, "big")
        ms = number >> 80
        tail = ((number >> 64) & 0xFFF) << 62 | number & ((1 << 62) - 1)
        self._ms, self._tail = max((self._ms, self._tail), (ms, tail))


def _layout(ms: int, tail: int) -> bytes:
    """48 bits of time, version 7, 12 bits, variant 10, 62 bits (RFC 9562, section 5.7)."""
    number = ms << 80 | 7 << 76 | (tail >> 62) << 64 | 2 << 62 | tail & ((1 << 62) - 1)
    return number.to_bytes(16, "big")


@lru_cache(maxsize=4096)
def text(value: bytes) -> str:
    """The text of an id: 36 characters, lower case."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse(value: str) -> bytes:
    """The id of a text. Raises `ValueError` unless it has the form of a UUID (36 characters)."""
    if not _TEXT.fullmatch(value):
        message = "not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
        raise ValueError(message)
    return bytes.fromhex(value.replace("-", ""))


def is_id(value: str) -> bool:
    """Whether a text has the form of an id."""
    return _TEXT.fullmatch(value) is not None


def unprefixed(value: str) -> str:
    """A text without the prefix that some put before an id to say of what it is (`wf_`, `exec_`), if it has one."""
    bare = _PREFIX.sub("", value, count=1) if _PREFIX.match(value) else value
    return bare if is_id(bare) else value


def is_version_7(value: bytes) -> bool:
    """Whether an id is a UUID of version 7, variant RFC 9562."""
    return value[6] >> 4 == 7 and value[8] >> 6 == 2  # noqa: PLR2004 the numbers of the RFC


@lru_cache(maxsize=1024)
def percent_encoded(value: str) -> str:
    """Text with everything but ASCII letters, digits, `-`, `.`, `_` and `~` percent-encoded (RFC 3986)."""
    if value.isascii() and value.isalnum():
        return value
    return "".join(
        chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in value.encode("utf-8", "surrogatepass")
    )
