"""A client of the HTTP API, blocking and awaited: see `perdure.api.client`, whose names these are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.client import (
    AmbiguousWait,
    Client,
    ClientError,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    MethodNotAllowed,
    NoAnswer,
    NotFound,
    NotWaiting,
    PayloadTooLarge,
    RateLimited,
    Refusal,
    Retries,
    StrangeAnswer,
    Unauthorized,
    Unavailable,
    UnnamedWait,
    Unreachable,
    WaitExpired,
    results,
)

if TYPE_CHECKING:
    from perdure.api.client import AsyncClient

__all__ = [
    "AmbiguousWait",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "Forbidden",
    "Internal",
    "Invalid",
    "MethodNotAllowed",
    "NoAnswer",
    "NotFound",
    "NotWaiting",
    "PayloadTooLarge",
    "RateLimited",
    "Refusal",
    "Retries",
    "StrangeAnswer",
    "Unauthorized",
    "Unavailable",
    "UnnamedWait",
    "Unreachable",
    "WaitExpired",
    "results",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncClient":
        from perdure.api.client import AsyncClient  # noqa: PLC0415 aiohttp takes longer than all the rest

        return AsyncClient
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
