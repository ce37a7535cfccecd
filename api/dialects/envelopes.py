"""The envelope that most dialects have: `{"success", "data" or "error", "meta"?}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.api.http.routing import Reply

NO_HEADERS: Final[Mapping[str, str]] = {}


def data(
    value: Any,
    *,
    status: int = 200,
    meta: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
    position: int | None = None,
) -> Reply:
    """A success: `{"success": true, "data", "meta"?}`."""
    body = {"success": True, "data": value}
    return Reply(body if meta is None else {**body, "meta": meta}, status, headers, position)


def failure(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """A refusal: `{"success": false, "error": {"code", "message", "details"?}}`."""
    error = {"code": code, "message": message}
    return {"success": False, "error": {**error, "details": details} if details else error}
