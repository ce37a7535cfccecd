"""Requests and answers about many runs: found by filter, counted, and changed in bulk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from perdure.api.dialects.schemas import Count, Instant, Number, RunStatus, Shape, TriggerType, Version
from perdure.api.http.paging import LIMIT_DEFAULT, WideLimit
from perdure.api.validation import Request, Uuid
from perdure.engine.services.run_filters import FILTERS, Filter, Sort

FIELD_OF: Final[Mapping[str, str]] = {
    each.name: f"{each.name}_" if each.name == "from" else each.name for each in FILTERS
}
"""The member of a query that has a filter: words of Python's cannot be one."""


def _text_of(each: Filter) -> Any:
    meta = msgspec.Meta(description=each.words, extra={"accepts": each.accepts}, extra_json_schema=dict(each.schema))
    return Annotated[str, meta] | None


class Sorted(Request, frozen=True):
    """A page of runs, and its order; `after` is that of the page before."""

    sort: Sort = "newest"
    limit: WideLimit = LIMIT_DEFAULT
    after: Annotated[str, msgspec.Meta(max_length=128)] | None = None


RunsQuery: Final = msgspec.defstruct(
    "RunsQuery",
    [(FIELD_OF[each.name], _text_of(each), None) for each in FILTERS],
    bases=(Sorted,),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={field: name for name, field in FIELD_OF.items()},
    namespace={"__doc__": "A page of the runs that all the filters let through."},
    module=__name__,
)


def filters_of(query: Any) -> dict[str, str]:
    """The filters that a query gives, by name."""
    found = {name: getattr(query, field) for name, field in FIELD_OF.items()}
    return {name: text for name, text in found.items() if text is not None}


class RunFound(Shape, frozen=True):
    """A run. `error` is a reserved name, or one that the definition has; any other is in the run's events."""

    execution_id: Uuid
    process_id: str
    workflow_id: Uuid
    workflow_name: str | None
    workflow_version: Version
    status: RunStatus
    state: str | None
    trigger: TriggerType
    error: str | None
    created_at: Instant
    modified_at: Instant
    modified_by: str | None
    ended_at: Instant | None
    parent_execution_id: Uuid | None


class AfterCursor(Shape, frozen=True):
    """`after`: what asks for the next page, if there may be more. A page may be short, or empty, and have one."""

    limit: Number
    has_more: bool
    after: str | None


class CountsQuery(Request, frozen=True):
    """The workflow whose runs are counted; without one all are."""

    workflow_id: Uuid | None = None


class WorkflowTotals(Shape, frozen=True):
    """The number of runs of a workflow, in all and by status."""

    workflow_id: Uuid
    workflow_name: str | None
    total: Count
    by_status: dict[RunStatus, Count]


class RunTotals(Shape, frozen=True):
    """The number of runs, in all, by status and by workflow."""

    total: Count
    by_status: dict[RunStatus, Count]
    by_workflow: list[WorkflowTotals]
