"""Schedules as rows (part of `store.records`, which all others import)."""

from __future__ import annotations

from typing import NamedTuple


class ScheduleRow(NamedTuple):
    """A schedule of a workflow, as its stream tells of it. `timing` is JSON: its calendar.

    `status` is `active`, `paused`, or `removed` while runs of it are still to start; `is_main` is 0 or 1. `next_at` is
    its first slot that is not decided, `due_at` the same unless nothing is to come of it: it is paused, or its workflow
    is. `buffered_at` is a slot that waits for the end of `last_run_id`, the latest run that it has started.
    `starting` counts the runs that are not known to have started. `decisions` are the seqs of the last decisions, and
    `revision` that of the last change, in the workflow's stream.
    """

    schedule_id: bytes
    workflow_id: bytes
    organization_id: bytes
    workspace_id: bytes
    status: str
    timing: str
    overlap: str
    catch_up: str
    is_main: int
    input_ref: str | None
    due_at: int | None
    next_at: int | None
    buffered_at: int | None
    last_run_id: bytes | None
    starting: int
    decisions: str
    revision: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
