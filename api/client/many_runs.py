"""Calls about many runs: found by filter, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from perdure.api.client import results
from perdure.api.client.calls import Call, Iteration, Operation, Walk

_RUNS = "/v1/executions"


class ManyRunCalls:
    """Calls about many runs.

    `filters` have the names that the API gives them: `workflow_id`, `status` (several are separated by commas),
    `state`, `trigger`, `process_id_prefix`, `error`, `from` and `to` (times in ISO 8601). A run must match all of them.
    """

    @Operation
    def find_executions(
        self,
        filters: Mapping[str, str] | None = None,
        *,
        sort: Literal["newest", "oldest"] | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Call[results.FoundPage]:
        """A page of the runs that the filters let through, 1 to 100, 20 unless given; newest first unless sorted so.

        `after` is a page's `meta.after`; it belongs to the filters and the order of that page. A page may be short, or
        empty, though there are more. Raises `NotFound` (the workflow), `Invalid`.
        """
        return _found(filters or {}, sort, after, limit)

    @Iteration
    def iter_found_executions(
        self, filters: Mapping[str, str] | None = None, *, sort: Literal["newest", "oldest"] | None = None
    ) -> Walk[results.RunFound]:
        """All runs that the filters let through: each that is there at the start once. Raises what a page raises."""

        def then(page: results.FoundPage) -> Call[results.FoundPage] | None:
            return None if page.meta.after is None else _found(filters or {}, sort, page.meta.after, 100)

        return Walk(_found(filters or {}, sort, None, 100), lambda page: page.data, then)

    @Operation
    def execution_counts(self, *, workflow_id: str | None = None) -> Call[results.RunTotals]:
        """How many runs there are by status and by workflow; of one workflow if it is named. Raises `NotFound`."""
        query = {"workflow_id": workflow_id}
        return Call("GET", f"{_RUNS}/counts", results.RunTotals, "data", query=query, is_safe=True)


def _found(
    filters: Mapping[str, str], sort: str | None, after: str | None, limit: int | None
) -> Call[results.FoundPage]:
    query: dict[str, Any] = {**filters, "sort": sort, "after": after, "limit": limit}
    return Call("GET", _RUNS, results.FoundPage, query=query, is_safe=True)
