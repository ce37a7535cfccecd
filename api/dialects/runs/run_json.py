"""Runs as the runs API shows them."""

from __future__ import annotations

from typing import Any

from perdure.api.dialects.status_words import RUNS_WORDS, TRIGGERS
from perdure.api.http.instants import iso
from perdure.engine.core import ids
from perdure.engine.history.approvals import Approval
from perdure.engine.history.error_codes import StepError
from perdure.engine.history.log_lines import LogLine
from perdure.engine.history.step_records import StepAttempt, StepRecord
from perdure.engine.services.run_records import RunRecord


def run_json(run: RunRecord) -> dict[str, Any]:
    """A run, whole."""
    row = run.row
    shown = {
        "id": ids.text(row.execution_id),
        "workflowId": ids.text(row.workflow_id),
        "workflowVersion": run.version,
        "status": RUNS_WORDS.word(row.status),
        "suspended": run.suspended,
        "waitingFor": [
            {
                "kind": each.kind,
                "id": each.id,
                "stepId": each.step_id,
                "title": each.title,
                "since": iso(each.since),
                "dueAt": iso(each.due_at),
            }
            for each in run.waiting_for
        ],
        "triggerType": TRIGGERS.get(run.trigger, "api"),
        "input": run.input,
        "output": run.output if row.status == "completed" else None,
        "error": run.error and {"code": run.error.code, "message": run.error.message, "step": run.error.step},
        "steps": [step_json(step) for step in run.steps],
        "approvals": [approval_json(each) for each in run.approvals],
        "startedAt": iso(run.started_at),
        "completedAt": iso(run.ended_at),
        "durationMs": run.duration_ms,
        "createdAt": iso(row.created_at),
    }
    if run.queue_position is not None:
        shown["queuePosition"] = run.queue_position
    if run.truncated:
        shown["truncated"] = True
    return shown


def step_json(step: StepRecord) -> dict[str, Any]:
    """A step, with those in it."""
    shown = {
        "id": step.id,
        "name": step.name,
        "type": step.type,
        "status": step.status,
        "startedAt": iso(step.started_at),
        "completedAt": iso(step.completed_at),
        "durationMs": step.duration_ms,
        "attempts": len(step.attempts),
        "attemptLog": [_attempt_json(each) for each in step.attempts],
        "input": step.input,
        "output": step.output,
    }
    if step.error is not None:
        shown["error"] = _error_json(step.error)
    if step.parts:
        shown["parts"] = [
            {"kind": part.kind, "number": part.number, "steps": [step_json(each) for each in part.steps]}
            for part in step.parts
        ]
    return shown


def _attempt_json(attempt: StepAttempt) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "attempt": attempt.attempt,
        "startedAt": iso(attempt.started_at),
        "completedAt": iso(attempt.completed_at),
    }
    return shown if attempt.error is None else {**shown, "error": _error_json(attempt.error)}


def _error_json(error: StepError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def approval_json(approval: Approval) -> dict[str, Any]:
    """An approval, with all answers to it."""
    return {
        "id": approval.id,
        "stepId": approval.step_id,
        "title": approval.title,
        "description": approval.description,
        "approvers": list(approval.approvers),
        "required": approval.required,
        "status": approval.status,
        "requestedAt": iso(approval.requested_at),
        "dueAt": iso(approval.due_at),
        "answers": [
            {"decision": each.decision, "by": each.by, "at": iso(each.at), "comment": each.comment}
            for each in approval.answers
        ],
    }


def line_json(line: LogLine) -> dict[str, Any]:
    """A line of a run's log."""
    shown = {"at": iso(line.at), "level": line.level, "nodeId": line.node_id, "message": line.message}
    return shown if line.data is None else {**shown, "data": line.data}
