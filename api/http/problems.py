"""Error responses: the table from error code to HTTP status, and the envelopes.

There is one table from error code to HTTP status. An exception of the engine carries its code; those that only HTTP
knows are here. Each dialect has an envelope that holds them (`api/CONTRACT.md`, "Errors").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, ClassVar, Final

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response

from perdure.api.http.dialect import Dialect
from perdure.engine.core.transitions import TERMINAL
from perdure.engine.errors import (
    EngineFailed,
    Invalid,
    NotFound,
    PerdureError,
    RateLimited,
    TooSoon,
    Unauthorized,
    Unavailable,
)
from perdure.store.errors import StoreError

_log = structlog.get_logger("perdure.api")

STATUS: Final[Mapping[str, int]] = {
    "VALIDATION_ERROR": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "NOT_WAITING": 409,
    "AMBIGUOUS_WAIT": 409,
    "NAME_THE_WAIT": 409,
    "WAIT_EXPIRED": 409,
    "PRECONDITION_FAILED": 412,
    "PAYLOAD_TOO_LARGE": 413,
    "RATE_LIMITED": 429,
    "INTERNAL_ERROR": 500,
    "UNAVAILABLE": 503,
}

RETRY_AFTER_S: Final[Mapping[str, int]] = {"NOT_WAITING": 2, "UNAVAILABLE": 1}
"""When a repetition may do better: a wait that has not opened yet, a server that drains or restarts."""


class MethodNotAllowed(PerdureError):
    """The path is known, and has no such method."""

    code = "METHOD_NOT_ALLOWED"


class PayloadTooLarge(PerdureError):
    """The body is longer than the setting allows."""

    code = "PAYLOAD_TOO_LARGE"


class _OfHttp(Invalid):
    """A field is wrong, in a way for which HTTP has a status of its own."""

    status: ClassVar[int]


class UnsupportedType(_OfHttp):
    """The body says that it is something else than JSON."""

    status = 415


class RequestTooSlow(_OfHttp):
    """The request did not come in time."""

    status = 408


class HeadersTooLarge(_OfHttp):
    """The headers are longer than is taken."""

    status = 431


class Internal(PerdureError):
    """A defect of ours, or of what we stand on; the log knows more, the caller need not."""


def no_such_method(allowed: Iterable[str]) -> MethodNotAllowed:
    """The path is known, and has these methods."""
    methods = sorted(allowed)
    return MethodNotAllowed(f"there is no such method here; there are: {', '.join(methods)}", {"allowed": methods})


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(body), status, dict(headers or {}), media_type="application/json")


def refusal(
    dialect: Dialect,
    error: Exception,
    headers: Mapping[str, str] | None = None,
    *,
    state: MutableMapping[str, Any] | None = None,
) -> Response:
    """The answer to a request that failed, as its dialect tells it; the request's `state` is told the code."""
    problem = as_problem(error)
    if state is not None:
        state["refusal"] = problem.code
    return json_response(dialect.refusal(problem), status_of(problem), {**headers_of(problem), **(headers or {})})


def status_of(error: PerdureError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, _OfHttp):
        return error.status
    return STATUS.get(error.code, 500)


def headers_of(error: PerdureError) -> dict[str, str]:
    """The headers that go with an error."""
    headers = {}
    if error.code in RETRY_AFTER_S and error.details.get("status") not in TERMINAL:  # what has ended stays as it is
        headers["Retry-After"] = str(RETRY_AFTER_S[error.code])
    if isinstance(error, RateLimited | TooSoon):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="perdure"'
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.details["allowed"])
    return headers


def as_problem(error: Exception) -> PerdureError:
    """Any exception as one that may be shown: what nobody raised on purpose is logged, and hidden."""
    if isinstance(error, PerdureError) and error.code in STATUS and not isinstance(error, EngineFailed):
        return error
    if isinstance(error, EngineFailed):
        return Unavailable("the engine has stopped after a failed commit; repeat the call when it is back")
    if isinstance(error, StoreError):
        _log.error("store_failed", exc_info=error)
        return Unavailable("the database does not answer; repeat the call later")
    if isinstance(error, HTTPException):
        return _of_framework(error)
    _log.error("request_failed", exc_info=error)
    return Internal("something went wrong on our side; the log has it under this answer's X-Request-Id")


def _of_framework(error: HTTPException) -> PerdureError:
    headers = error.headers or {}
    if error.status_code == 405:  # noqa: PLR2004 a status is its own name
        return no_such_method(filter(None, headers.get("Allow", "").replace(" ", "").split(",")))
    if error.status_code == 404:  # noqa: PLR2004
        return NotFound("there is no such path")
    _log.error("request_failed", exc_info=error)
    return Internal("something went wrong on our side; the log has it under this answer's X-Request-Id")
