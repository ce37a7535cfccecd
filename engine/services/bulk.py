"""Bulk jobs as callers have them: started, tried without doing anything, and stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from perdure.engine.core import bulk, ids
from perdure.engine.errors import Invalid
from perdure.engine.runtime.callers import Caller
from perdure.engine.runtime.node import NodeParts
from perdure.engine.services.bulk_actions import BulkAction, action_of
from perdure.engine.services.bulk_reads import BulkReads
from perdure.engine.services.finding import COUNT_LOOKS_MAX, Counted, Finding
from perdure.engine.services.run_filters import Given
from perdure.engine.services.sending import send
from perdure.store.records import BulkRow
from perdure.store.run_filter import RunFilter

REASON_MAX: Final = 1024
EXPECTED_LOOKS_MAX: Final = 20
"""So many pages are looked at for how many runs a job is about; of more, nobody says how many there are."""


class BulkOrder(NamedTuple):
    """An order: an action, for the runs that the filters let through, and the reason."""

    action: str
    filters: Given
    reason: str | None = None
    arguments: Mapping[str, Any] = {}


class BulkCommands:
    """Commands about bulk jobs, limited to the caller's workspace; `reads` has what is read of them."""

    def __init__(self, node: NodeParts, finding: Finding, on_started: Callable[[bytes, bytes], None]) -> None:
        self._node = node
        self.reads = BulkReads(node.store)
        self._finding = finding
        self._on_started = on_started

    async def count(self, caller: Caller, order: BulkOrder) -> Counted:
        """How many runs a job would be about now. Raises `Invalid`, `NotFound` (the workflow)."""
        return await self._finding.count(caller, await self._wanted(caller, order), looks_max=COUNT_LOOKS_MAX)

    async def start(self, caller: Caller, order: BulkOrder) -> BulkRow:
        """Start a job; it is on disk when this returns. Raises `Invalid`, `NotFound` (the workflow)."""
        wanted = await self._wanted(caller, order)
        counted = await self._finding.count(caller, wanted, looks_max=EXPECTED_LOOKS_MAX)
        bulk_id = self._node.processor.new_id()
        payload: dict[str, Any] = {"filters": dict(order.filters)}
        if order.reason is not None:
            payload["reason"] = order.reason
        if order.arguments:
            payload["arguments"] = dict(order.arguments)
        expected = counted.total if counted.is_exact else None
        command = bulk.StartBulk(ids.text(caller.workspace_id), order.action, payload, expected)
        await send(self._node, caller, "bulk", bulk_id, command)
        self._on_started(bulk_id, caller.organization_id)
        return await self.reads.row(caller, bulk_id)

    async def stop(self, caller: Caller, bulk_id: bytes, reason: str | None = None) -> BulkRow:
        """Stop a job: the turn that is under way ends, and no other begins. One that has ended stays as it is.

        Raises `NotFound`.
        """
        _check_reason(reason)
        await self.reads.row(caller, bulk_id)
        await send(self._node, caller, "bulk", bulk_id, bulk.StopBulk("asked", reason))
        return await self.reads.row(caller, bulk_id)

    async def _wanted(self, caller: Caller, order: BulkOrder) -> RunFilter:
        """Which runs an order is about now. Raises `Invalid`, `NotFound` (the workflow)."""
        action = action_of(order.action)
        if not order.filters:
            raise Invalid("filter: it is empty; name at least one, such as a status", {"field": "filter"})
        for name in order.arguments:
            if name not in action.arguments:
                raise Invalid(f"{name}: it does not go with the action {order.action!r}", {"field": name})
        _check_reason(order.reason)
        try:
            wanted = await self._finding.wanted(caller, order.filters)
        except Invalid as problem:  # the filters are members of the order
            field = problem.details.get("field")
            raise Invalid(f"filter.{problem.message}", {**problem.details, "field": f"filter.{field}"}) from None
        return narrowed(wanted, action)


def narrowed(wanted: RunFilter, action: BulkAction) -> RunFilter:
    """The filter without runs that the action can do nothing with, unless the order names statuses itself."""
    if "status" in wanted.values:
        return wanted
    return wanted._replace(values={**wanted.values, "status": list(action.statuses)})


def _check_reason(reason: str | None) -> None:
    if reason is not None and not 0 < len(reason) <= REASON_MAX:
        raise Invalid(f"reason: it must be a text of 1 to {REASON_MAX} characters", {"field": "reason"})
