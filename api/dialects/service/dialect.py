"""The service API: workflows of steps that recur, called from a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.api.dialects.schemas import Shape
from perdure.api.dialects.spellings import SERVICE_PREFIX
from perdure.api.http.dialect import Dialect
from perdure.api.http.routing import Reply, Route
from perdure.engine.errors import KeyReused, NoKey

WORKFLOWS: Final = "Service API: workflows"
RUNS: Final = "Service API: runs"
STEP_TYPES: Final = "Service API: step types"


class ServiceError(Shape, frozen=True):
    """The error of a refusal: its code, what is wrong in words, and details, one for each problem."""

    code: str
    message: str
    details: list[Any]


class ServiceRefusal(Shape, frozen=True):
    """A refusal of the service API."""

    error: ServiceError


def _failure(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """`{"error": {"code", "message", "details": []}}`: each problem of its own if there are several."""
    errors = details.get("errors")
    found = errors if isinstance(errors, list) else [dict(details)] if details else []
    return {"error": {"code": code, "message": message, "details": found}}


SERVICE: Final = Dialect(
    name="service",
    document_prefix="service",
    prefix="/api/v1/services/workflows/",
    error_envelope=_failure,
    error_schema=ServiceRefusal,
    error_codes={
        "VALIDATION_ERROR": "validation_failed",
        "UNAUTHORIZED": "invalid_api_key",
        "FORBIDDEN": "insufficient_scope",
        "NOT_FOUND": "not_found",
        "METHOD_NOT_ALLOWED": "method_not_allowed",
        "CONFLICT": "conflict",
        "PRECONDITION_FAILED": "precondition_failed",
        "PAYLOAD_TOO_LARGE": "payload_too_large",
        "RATE_LIMITED": "rate_limit_exceeded",
        "INTERNAL_ERROR": "internal_error",
        "UNAVAILABLE": "unavailable",
    },
    error_codes_of={NoKey: "missing_authorization", KeyReused: "idempotency_key_conflict"},
    scope_spelling=SERVICE_PREFIX,
    request_id_headers=("Request-Id",),
    tags={
        WORKFLOWS: "Workflows as their steps, on a schedule or started by hand.",
        RUNS: "Runs of workflows.",
        STEP_TYPES: "What a step can do.",
    },
)


def data(value: Any, *, status: int = 200, meta: Mapping[str, Any] | None = None, position: int | None = None) -> Reply:
    """A success: `{"data", "meta"?}`."""
    return Reply({"data": value} if meta is None else {"data": value, "meta": meta}, status, position=position)


def route(tag: str, method: str, path: str, scope: str, handler: Any, **more: Any) -> Route:
    """A route of the service API, under this heading of the document."""
    return Route(
        dialect=SERVICE,
        tag=tag,
        method=method,
        path=f"{SERVICE.prefix}{path}",
        scope=scope,
        handler=handler,
        **more,
    )
