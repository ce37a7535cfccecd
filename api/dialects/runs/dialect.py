"""The runs API: workflows of steps and their runs, in camelCase."""

from __future__ import annotations

from typing import Any, Final

from perdure.api.dialects.envelopes import failure
from perdure.api.dialects.schemas import Refusal
from perdure.api.dialects.spellings import RUNS_WORDS
from perdure.api.http.dialect import Dialect, camel_case
from perdure.api.http.routing import Route

WORKFLOWS: Final = "Runs API: workflows"
RUNS: Final = "Runs API: runs"

RUNS_API: Final = Dialect(
    name="runs",
    document_prefix="runs",
    prefix="/api/v1/",
    error_envelope=failure,
    error_schema=Refusal,
    casing=camel_case,
    scope_spelling=RUNS_WORDS,
    field_names={"after": "cursor", "trigger.cron_expression": "trigger.cron"},
    tags={
        WORKFLOWS: "Workflows as lists of steps: drafts, activated, paused, archived, and their versions.",
        RUNS: "Runs with their steps, attempts, approvals and logs.",
    },
)


def route(tag: str, method: str, path: str, scope: str, handler: Any, **more: Any) -> Route:
    """A route of the runs API, under this heading of the document."""
    return Route(
        dialect=RUNS_API,
        tag=tag,
        method=method,
        path=f"{RUNS_API.prefix}{path}",
        scope=scope,
        handler=handler,
        **more,
    )


def cursor_meta(cursor: str | None) -> dict[str, Any]:
    """Where a page stands."""
    return {"cursor": cursor, "hasMore": cursor is not None}
