"""What an engine raises: a `Refused` for what cannot be done as asked, an `Unavailable` for what cannot be done now."""

from perdure.engine.errors import (
    AmbiguousWait,
    Conflict,
    EngineFailed,
    Invalid,
    NotFound,
    NotWaiting,
    PerdureError,
    Refused,
    Unauthorized,
    Unavailable,
    UnnamedWait,
    WaitExpired,
)

__all__ = [
    "AmbiguousWait",
    "Conflict",
    "EngineFailed",
    "Invalid",
    "NotFound",
    "NotWaiting",
    "PerdureError",
    "Refused",
    "Unauthorized",
    "Unavailable",
    "UnnamedWait",
    "WaitExpired",
]
