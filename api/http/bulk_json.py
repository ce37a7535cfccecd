"""Bulk jobs as JSON, as every API and the command line show them."""

from __future__ import annotations

from typing import Any

from perdure.api.http.instants import iso
from perdure.engine.core import ids
from perdure.engine.log.codec import decode_json
from perdure.engine.services.bulk_reads import BulkShown
from perdure.store.records import BulkRow


def bulk_json(row: BulkRow) -> dict[str, Any]:
    """A job of a list."""
    return {
        "id": ids.text(row.bulk_id),
        "action": row.action,
        "status": row.status,
        "expected": row.expected,
        "done": row.done,
        "unchanged": row.unchanged,
        "failed": row.failed,
        "failed_by_code": decode_json(row.codes),
        "why": row.why,
        "created_at": iso(row.created_at),
        "created_by": row.created_by,
        "modified_at": iso(row.modified_at),
        "ended_at": iso(row.ended_at),
    }


def bulk_whole_json(shown: BulkShown) -> dict[str, Any]:
    """A job with its order and the failures that are listed."""
    more = {"filter": dict(shown.filters), "reason": shown.reason, "failures": shown.failures}
    return {**bulk_json(shown.row), **more}
