"""Salted digests of requests, over canonical JSON: requests are compared without being stored.

The canonical form is written down in `store/LOG_FORMAT.md`, "Beside the log".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Final

_EXACT_MAX: Final = 2**53


def canonical(value: Any) -> bytes:
    """A JSON value as one text, the same for equal values.

    Members are sorted by code point, without white space; integers are exact, a float with an integral value below
    2⁵³ is an integer, and other floats have the shortest form that reads back the same.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_MAX:
        return int(value)
    return value


def request_digest(salt: bytes, value: Any) -> bytes:
    """HMAC-SHA-256 of a request under a salt of its own."""
    return hmac.digest(salt, canonical(value), hashlib.sha256)


def is_same_request(salt: bytes, digest: bytes, value: Any) -> bool:
    """Whether `value` is the request that was digested."""
    return hmac.compare_digest(request_digest(salt, value), digest)
