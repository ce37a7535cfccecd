"""The exceptions that an engine raises. `api` maps each to an HTTP status by its `code`.

PerdureError
├── Refused                 a request that was understood and refused; nothing changed
│   ├── Invalid             VALIDATION_ERROR   a field is wrong; the message names field, problem and what is accepted
│   ├── NotFound            NOT_FOUND
│   ├── Conflict            CONFLICT           the state does not allow it
│   │   ├── KeyReused                          the idempotency key belongs to another request
│   │   └── TooSoon                            not yet: so many seconds later it does
│   ├── NotWaiting          NOT_WAITING        no wait that the call could mean has opened
│   ├── AmbiguousWait       AMBIGUOUS_WAIT     several waits are open; `details["waits"]` lists them
│   ├── UnnamedWait         NAME_THE_WAIT      the workflow wants every resume to name its wait; `details` likewise
│   ├── WaitExpired         WAIT_EXPIRED       that wait timed out or was cancelled
│   └── PreconditionFailed  PRECONDITION_FAILED  it is no longer what the caller has seen
├── Unauthorized            UNAUTHORIZED       there is no key, or it is unknown, revoked or expired
│   └── NoKey                                  there is none
├── RateLimited             RATE_LIMITED       somebody asks for too much at once; nothing was done
├── Unavailable             UNAVAILABLE        nothing was done; repeat the call later
└── EngineFailed            UNAVAILABLE        a commit failed and may be durable or not: the engine has stopped
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class PerdureError(Exception):
    """Anything that an engine raises on purpose. `details` are JSON values."""

    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str, details: Mapping[str, Any] | None = None, *, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})
        self.position = position
        """Where the log stood when the answer became true, if it rests on the log."""


class Refused(PerdureError):
    """The request was understood and refused."""


class Invalid(Refused):
    """A field is wrong."""

    code = "VALIDATION_ERROR"


class NotFound(Refused):
    """The request names something that does not exist, or that the caller may not see."""

    code = "NOT_FOUND"


class Conflict(Refused):
    """The state does not allow it."""

    code = "CONFLICT"


class KeyReused(Conflict):
    """The idempotency key was used for another request."""


class TooSoon(Conflict):
    """The state does not allow it yet; repeat the call after so many seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotWaiting(Refused):
    """No wait that the call could mean has opened."""

    code = "NOT_WAITING"


class AmbiguousWait(Refused):
    """Several waits are open, and the call names none."""

    code = "AMBIGUOUS_WAIT"


class UnnamedWait(Refused):
    """The call names no wait, and the workflow wants that (`settings.resume` is `named`)."""

    code = "NAME_THE_WAIT"


class WaitExpired(Refused):
    """The wait that the call means is over, and was not resumed."""

    code = "WAIT_EXPIRED"


class PreconditionFailed(Refused):
    """The thing is no longer what the caller has seen, and said that it must be."""

    code = "PRECONDITION_FAILED"


class Unauthorized(PerdureError):
    """There is no key, or it is unknown, revoked or expired; a key may end while its request is under way."""

    code = "UNAUTHORIZED"


class NoKey(Unauthorized):
    """The request carries no key."""


class RateLimited(PerdureError):
    """Somebody asks for too much at once. Nothing was done; repeat the call after so many seconds."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(PerdureError):
    """Nothing was done: the engine is draining, full, or cannot reach its store."""

    code = "UNAVAILABLE"


class EngineFailed(Unavailable):
    """The engine has stopped, since a commit's fate is unknown. A restart reads back what is on disk."""


REFUSALS: Mapping[str, type[PerdureError]] = {
    cls.code: cls
    for cls in (Invalid, NotFound, Conflict, NotWaiting, AmbiguousWait, UnnamedWait, WaitExpired, Unavailable)
}
