"""Calls about schedules, and the pause of a whole workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from perdure.api.client import results, schedule_results
from perdure.api.client.calls import Call, Operation

_ALL: Final = "/v1/workflows/{id}/schedules"
_ONE: Final = "/v1/workflows/{id}/schedules/{schedule_id}"


class ScheduleCalls:
    """Calls about schedules.

    A schedule has members as the server names them: `cron_expression` with `timezone`, or `interval` (`value`, `unit`);
    `enabled`, `start_at`, `end_at`, `overlap`, `catch_up`, `input`.
    """

    @Operation
    def schedules(self, workflow_id: str) -> Call[list[schedule_results.ScheduleShown]]:
        """The schedules of a workflow, with their last decisions and next slots. Raises `NotFound`."""
        return Call("GET", _ALL, list[schedule_results.ScheduleShown], "data", values={"id": workflow_id}, is_safe=True)

    @Operation
    def schedule(self, workflow_id: str, schedule_id: str) -> Call[schedule_results.ScheduleShown]:
        """A schedule of a workflow, with its last decisions and next slots. Raises `NotFound`."""
        values = {"id": workflow_id, "schedule_id": schedule_id}
        return Call("GET", _ONE, schedule_results.ScheduleShown, "data", values=values, is_safe=True)

    @Operation
    def create_schedule(self, workflow_id: str, schedule: Mapping[str, Any]) -> Call[schedule_results.ScheduleShown]:
        """Add a schedule to a workflow. Raises `NotFound`, `Invalid`, `Conflict`.

        Is not repeated by itself if its answer is lost, since that might make two.
        """
        values = {"id": workflow_id}
        return Call("POST", _ALL, schedule_results.ScheduleShown, "data", values=values, body=dict(schedule))

    @Operation
    def change_schedule(
        self, workflow_id: str, schedule_id: str, changes: Mapping[str, Any]
    ) -> Call[schedule_results.ScheduleShown]:
        """Change what is given of a schedule. Raises `NotFound`, `Invalid`, `Conflict`."""
        values = {"id": workflow_id, "schedule_id": schedule_id}
        return Call(
            "PATCH", _ONE, schedule_results.ScheduleShown, "data", values=values, body=dict(changes), is_safe=True
        )

    @Operation
    def remove_schedule(self, workflow_id: str, schedule_id: str) -> Call[schedule_results.RemovedSchedule]:
        """Remove a schedule; the runs that it has decided on start all the same. Raises `NotFound`, `Conflict`."""
        values = {"id": workflow_id, "schedule_id": schedule_id}
        return Call("DELETE", _ONE, schedule_results.RemovedSchedule, "data", values=values)

    @Operation
    def run_schedule(
        self, workflow_id: str, schedule_id: str, *, idempotency_key: str | None = None
    ) -> Call[schedule_results.RunStarted]:
        """Start a run of a schedule now. Raises `NotFound`, `Conflict`. Repeated, it starts no second run."""
        values, key = {"id": workflow_id, "schedule_id": schedule_id}, idempotency_key or True
        return Call("POST", f"{_ONE}/run-now", schedule_results.RunStarted, "data", values=values, idempotency_key=key)

    @Operation
    def toggle_schedules(
        self, workflow_id: str, workflow_version: int, action: Literal["PAUSE", "PLAY"]
    ) -> Call[schedule_results.Toggled]:
        """Pause all schedules of a workflow, or let them go on. Raises `NotFound`, `Conflict` (it has none)."""
        body = {"workflow_id": workflow_id, "workflow_version": workflow_version, "action": action}
        return Call("POST", "/v2/workflows/toggleScheduledWorkflow", schedule_results.Toggled, body=body, is_safe=True)

    @Operation
    def pause_workflow(self, workflow_id: str) -> Call[results.WorkflowShown]:
        """Let no run of a workflow start; what runs goes on. Raises `NotFound`, `Conflict` (it is archived)."""
        path, values = "/v1/workflows/{id}/pause", {"id": workflow_id}
        return Call("POST", path, results.WorkflowShown, "data", values=values, is_safe=True)

    @Operation
    def unpause_workflow(self, workflow_id: str) -> Call[results.WorkflowShown]:
        """Let runs of a workflow start again; likewise."""
        path, values = "/v1/workflows/{id}/resume", {"id": workflow_id}
        return Call("POST", path, results.WorkflowShown, "data", values=values, is_safe=True)
