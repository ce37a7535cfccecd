"""Runs as the resource API shows them one by one."""

from __future__ import annotations

from typing import Any

from perdure.api.dialects.resource.executions.finding import run_json
from perdure.api.http.instants import iso
from perdure.engine.history.approvals import Approval
from perdure.engine.history.log_lines import LogLine
from perdure.engine.services.finding import FoundRun
from perdure.engine.services.run_records import WholeRun


def whole_json(whole: WholeRun, workflow_name: str | None) -> dict[str, Any]:
    """A run with its values, what it waits for, and its log."""
    run = whole.record
    error = run.error
    return {
        **run_json(FoundRun(run.row, run.process_id, workflow_name)),
        "input": run.input,
        "output": run.output if run.row.status == "completed" else None,
        "failure": error and {"code": error.code, "message": error.message, "node_id": error.step},
        "waiting_for": [
            {
                "kind": each.kind,
                "id": each.id,
                "node_id": each.step_id,
                "title": each.title,
                "since": iso(each.since),
                "due_at": iso(each.due_at),
            }
            for each in run.waiting_for
        ],
        "approvals": [approval_json(each) for each in run.approvals],
        "queue_position": run.queue_position,
        "logs": [_line(each) for each in whole.lines],
        "logs_truncated": whole.is_cut,
    }


def approval_json(approval: Approval) -> dict[str, Any]:
    """A question to people, with the answers to it."""
    return {
        "id": approval.id,
        "node_id": approval.step_id,
        "title": approval.title,
        "description": approval.description,
        "approvers": list(approval.approvers),
        "required": approval.required,
        "status": approval.status,
        "requested_at": iso(approval.requested_at),
        "due_at": iso(approval.due_at),
        "answers": [
            {"decision": each.decision, "by": each.by, "at": iso(each.at), "comment": each.comment}
            for each in approval.answers
        ],
    }


def _line(line: LogLine) -> dict[str, Any]:
    shown = {"at": iso(line.at), "level": line.level, "node_id": line.node_id, "message": line.message}
    return shown if line.data is None else {**shown, "data": line.data}
