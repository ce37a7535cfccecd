"""Calls about one run: it is started by its workflow, looked at with its log, approved and retried.

`process_id` is the caller's own name for a run, or its execution id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import UNSET

from perdure.api.client import execution_results as results
from perdure.api.client.calls import Call, Iteration, Operation, Walk, given
from perdure.api.client.many_results import FoundPage, RunFound

_RUN: Final = "/v1/executions/{process_id}"


class ExecutionCalls:
    """Calls about one run, and those of a workflow."""

    @Operation
    def execute(
        self,
        workflow_id: str,
        run_input: Mapping[str, Any] | None = None,
        *,
        process_id: str | None = None,
        version: int | None = None,
        is_test: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[results.Executed]:
        """Start a run of a workflow; it is on disk when this returns. Members and errors are those of `trigger`."""
        body = given(input=None if run_input is None else dict(run_input), process_id=process_id, version=version)
        return Call(
            "POST",
            "/v1/workflows/{id}/execute",
            results.Executed,
            "data",
            values={"id": workflow_id},
            query={"test": is_test or None},
            body=body,
            idempotency_key=idempotency_key or True,
        )

    @Operation
    def run(self, process_id: str) -> Call[results.RunWhole]:
        """A run: its status, input and output, what it waits for, and the last lines of its log. Raises `NotFound`."""
        return Call("GET", _RUN, results.RunWhole, "data", values={"process_id": process_id}, is_safe=True)

    @Operation
    def runs_of(
        self,
        workflow_id: str,
        filters: Mapping[str, str] | None = None,
        *,
        sort: Literal["newest", "oldest"] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[FoundPage]:
        """A page of a workflow's runs, as `find_executions` has them; `cursor` is a page's `meta.next_cursor`."""
        return _runs(workflow_id, filters or {}, sort, cursor, limit)

    @Iteration
    def iter_runs_of(
        self,
        workflow_id: str,
        filters: Mapping[str, str] | None = None,
        *,
        sort: Literal["newest", "oldest"] | None = None,
    ) -> Walk[RunFound]:
        """All runs of a workflow that the filters let through: each that is there at the start once."""

        def then(page: FoundPage) -> Call[FoundPage] | None:
            following = page.meta.next_cursor
            return None if following is None else _runs(workflow_id, filters or {}, sort, following, 100)

        return Walk(_runs(workflow_id, filters or {}, sort, None, 100), lambda page: page.data, then)

    @Operation
    def decide_approval(
        self,
        process_id: str,
        approval_id: str,
        decision: Literal["approve", "reject"],
        *,
        comment: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[results.ApprovalShown]:
        """Answer an approval that a run asks for. Raises `NotFound`, `Forbidden`, `Conflict`, `WaitExpired`."""
        return Call(
            "POST",
            f"{_RUN}/approvals/{{approval_id}}",
            results.ApprovalShown,
            "data",
            values={"process_id": process_id, "approval_id": approval_id},
            body=given(decision=decision, comment=comment),
            idempotency_key=idempotency_key or True,
        )

    @Operation
    def retry(
        self,
        process_id: str,
        *,
        from_step: str | None = None,
        run_input: Any = UNSET,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[results.RetriedRun]:
        """Take a run up again where it failed; from a step, or with another input, another run is made of it.

        Raises `NotFound`, `Conflict`, `Invalid` (the step, or the input, does not fit).
        """
        body = given(from_step=from_step, reason=reason)
        body |= {} if run_input is UNSET else {"input": run_input}
        values = {"process_id": process_id}
        path = f"{_RUN}/retry"
        return Call(
            "POST", path, results.RetriedRun, "data", values=values, body=body, idempotency_key=idempotency_key or True
        )


def _runs(
    workflow_id: str, filters: Mapping[str, str], sort: str | None, cursor: str | None, limit: int | None
) -> Call[FoundPage]:
    query = {**filters, "sort": sort, "cursor": cursor, "limit": limit}
    return Call(
        "GET", "/v1/workflows/{id}/executions", FoundPage, values={"id": workflow_id}, query=query, is_safe=True
    )
