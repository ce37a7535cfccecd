"""Calls about many runs: found by filter, counted, and changed in bulk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET

from perdure.api.client import many_results as results
from perdure.api.client.calls import Call, Iteration, Operation, Walk, given

_RUNS = "/v1/executions"
_BULK = "/v1/bulk"


class ManyRunCalls:
    """Calls about many runs.

    `filters` have the names that the API gives them: `workflow_id`, `status` (several are separated by commas; in the
    API's words or the engine's), `status_detail` (the engine's words alone), `state`, `trigger`, `process_id_prefix`,
    `error`, `from` and `to` (times in ISO 8601). A run must match all of them.
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

    # --- bulk jobs -----------------------------------------------------------------------------------------------

    @Operation
    def start_bulk(
        self,
        action: str,
        filters: Mapping[str, str],
        *,
        reason: str | None = None,
        payload: Any = UNSET,
        is_dry_run: bool = False,
    ) -> Call[results.BulkAsked]:
        """Start a job that gives a command to all runs that match: `terminate` or `resume`, each as for one run.

        It goes on by itself on the server; a dry run only counts. `payload` is what each resume gives. Is not repeated
        by itself if its answer is lost. Raises `Invalid`, `NotFound` (the workflow), `Forbidden`.
        """
        body = given(action=action, filter=dict(filters), reason=reason, dry_run=is_dry_run or None)
        if payload is not UNSET:
            body["payload"] = payload
        return Call("POST", _BULK, results.BulkAsked, "data", body=body)

    @Operation
    def bulk_jobs(self, *, after: str | None = None, limit: int | None = None) -> Call[results.BulkPage]:
        """A page of bulk jobs, newest first, 1 to 100, 20 unless given; `after` is a page's `meta.after`."""
        return Call("GET", _BULK, results.BulkPage, query={"after": after, "limit": limit}, is_safe=True)

    @Operation
    def bulk_job(self, bulk_id: str) -> Call[results.BulkWhole]:
        """How far a bulk job is, and the first runs that refused. Raises `NotFound`."""
        return Call("GET", f"{_BULK}/{{id}}", results.BulkWhole, "data", values={"id": bulk_id}, is_safe=True)

    @Operation
    def stop_bulk(self, bulk_id: str, *, reason: str | None = None) -> Call[results.BulkListed]:
        """Stop a bulk job: the runs whose turn it is are done, and no others; one that has ended stays as it is.

        Raises `NotFound`, `Forbidden`.
        """
        path, body = f"{_BULK}/{{id}}/stop", given(reason=reason)
        return Call("POST", path, results.BulkListed, "data", values={"id": bulk_id}, body=body, is_safe=True)


def _found(
    filters: Mapping[str, str], sort: str | None, after: str | None, limit: int | None
) -> Call[results.FoundPage]:
    query: dict[str, Any] = {**filters, "sort": sort, "after": after, "limit": limit}
    return Call("GET", _RUNS, results.FoundPage, query=query, is_safe=True)
