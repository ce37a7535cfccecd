"""The exceptions that a client raises.

ClientError                       all of them; `retryable`: the same call may do better later
├── Unreachable                   no connection was made: nothing was sent, and so nothing was done
├── NoAnswer                      it was sent, and no whole answer came: whether it was done is not known
├── StrangeAnswer                 the answer is none of Perdure's: another program, a proxy, or a much newer server
└── Refusal                       what the server says: `code`, `message`, `details`, `status`, `retry_after_s`
    ├── Invalid                   VALIDATION_ERROR     a field is wrong; `details["field"]` or `["errors"]` say which
    ├── Unauthorized              UNAUTHORIZED         there is no key, or it is unknown, revoked or expired
    ├── Forbidden                 FORBIDDEN            the key lacks a scope
    ├── NotFound                  NOT_FOUND
    ├── MethodNotAllowed          METHOD_NOT_ALLOWED   the server is older than this call
    ├── Conflict                  CONFLICT             the state does not allow it
    │   ├── NotWaiting            NOT_WAITING          no wait that the call could mean has opened
    │   ├── AmbiguousWait         AMBIGUOUS_WAIT       several waits are open: `details["waits"]`
    │   ├── UnnamedWait           NAME_THE_WAIT        the workflow wants every resume to name its wait: likewise
    │   └── WaitExpired           WAIT_EXPIRED         that wait timed out or was cancelled
    ├── PreconditionFailed        PRECONDITION_FAILED  it is no longer what the caller has seen
    ├── PayloadTooLarge           PAYLOAD_TOO_LARGE
    ├── RateLimited               RATE_LIMITED         too many wrong keys, or too much at once; nothing was done
    ├── Internal                  INTERNAL_ERROR       a defect of the server's; its log has it under `request_id`
    └── Unavailable               UNAVAILABLE          the server drains, restarts, or its disk does not answer

Wrong arguments that a client sees by itself, such as an address that is none, are a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


class ClientError(Exception):
    """A call had no success. `request_id` names it in the server's log, whether an answer came or not."""

    retryable = False
    retry_after_s: float | None = None
    """The server's own word for when."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.request_id: str | None = None


class Unreachable(ClientError):
    """No connection was made. `retryable` is false where another try is of no use, as for a bad certificate."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class NoAnswer(ClientError):
    """It was sent, and no whole answer came in time; whether it was done is not known."""

    retryable = True


class StrangeAnswer(ClientError):
    """An answer that is none of Perdure's, with its status."""

    def __init__(self, message: str, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.retryable = status in _GATEWAY


class Refusal(ClientError):
    """The server's answer is that it was not done, or for `Unavailable` that this is not known."""

    code: str = ""
    """The server's word for the kind; of one that is newer than this client it is the only sign."""

    def __init__(
        self,
        message: str,
        code: str,
        status: int,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s
        self.retryable = retry_after_s is not None or status in _LATER

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class Invalid(Refusal):
    """A field is wrong; the message says which, how, and what would be accepted."""


class Unauthorized(Refusal):
    """There is no key, or it is unknown, revoked or expired."""


class Forbidden(Refusal):
    """The key lacks a scope, which the message names."""


class NotFound(Refusal):
    """The call names something that does not exist, or that this key may not see."""


class MethodNotAllowed(Refusal):
    """The path has no such method."""


class Conflict(Refusal):
    """The state does not allow it."""


class NotWaiting(Conflict):
    """No wait that the resume could mean has opened; `details` has the run's status and state."""


class AmbiguousWait(Conflict):
    """Several waits are open, and the resume named none; `details["waits"]` lists them."""


class UnnamedWait(Conflict):
    """The workflow wants every resume to name its wait; `details["waits"]` lists those that are open."""


class WaitExpired(Conflict):
    """That wait, or task, timed out or was cancelled."""


class PreconditionFailed(Refusal):
    """The thing is no longer what the caller has seen, and said that it must be."""


class PayloadTooLarge(Refusal):
    """The body is longer than the server takes."""


class RateLimited(Refusal):
    """Too many wrong keys came from this address, or the workspace asks for too much at once; nothing was done."""


class Internal(Refusal):
    """A defect of the server's."""


class Unavailable(Refusal):
    """The server drains, restarts, or its database does not answer."""


REFUSALS: Final[Mapping[str, type[Refusal]]] = {
    "VALIDATION_ERROR": Invalid,
    "UNAUTHORIZED": Unauthorized,
    "FORBIDDEN": Forbidden,
    "NOT_FOUND": NotFound,
    "METHOD_NOT_ALLOWED": MethodNotAllowed,
    "CONFLICT": Conflict,
    "NOT_WAITING": NotWaiting,
    "AMBIGUOUS_WAIT": AmbiguousWait,
    "NAME_THE_WAIT": UnnamedWait,
    "WAIT_EXPIRED": WaitExpired,
    "PRECONDITION_FAILED": PreconditionFailed,
    "PAYLOAD_TOO_LARGE": PayloadTooLarge,
    "RATE_LIMITED": RateLimited,
    "INTERNAL_ERROR": Internal,
    "UNAVAILABLE": Unavailable,
}

BY_STATUS: Final[Mapping[int, type[Refusal]]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    412: PreconditionFailed,
    413: PayloadTooLarge,
    429: RateLimited,
    500: Internal,
    503: Unavailable,
}
"""What a code is taken for that is newer than this client."""

_LATER: Final = frozenset({408, 429, 503})
_GATEWAY: Final = frozenset({429, 502, 503, 504})
