"""The process API: runs and workflows as other systems call and see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.api.dialects.process.schemas import ProcessRefusal
from perdure.api.http.dialect import Dialect
from perdure.api.http.routing import Route


def _failure(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """`{"message", "error": {"code", "details"?}}`."""
    return {"message": message, "error": {"code": code, "details": details} if details else {"code": code}}


PROCESS: Final = Dialect(
    name="process",
    prefix="/v2/workflows/",
    error_envelope=_failure,
    error_schema=ProcessRefusal,
    tags={"Processes": "Runs and workflows as other systems call and see them, by process id."},
)


def route(method: str, path: str, scope: str, handler: Any, **more: Any) -> Route:
    """A route of the process API; the document names it by its path."""
    name = path.partition("/")[0] + ("Version" if "{workflow_version}" in path else "")
    more.setdefault("operation_id", name)
    return Route(dialect=PROCESS, method=method, path=f"{PROCESS.prefix}{path}", scope=scope, handler=handler, **more)
