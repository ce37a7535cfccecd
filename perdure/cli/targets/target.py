"""Targets: the changes that any place of a log can make."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from perdure.engine.core.pause_events import Clocks
from perdure.engine.services.run_filters import Given


class Target(Protocol):
    """The changes that a command can make. Each returns after it is on disk; answers are JSON values.

    Raises `CommandFailed` if what was asked for is bad or not possible, `CommandNotRun` if it was not tried.
    """

    def create_workflow(
        self,
        name: str,
        definition: Any,
        description: str | None,
        *,
        is_draft: bool,
        settings: dict[str, Any],
        written_as: str,
    ) -> dict[str, Any]: ...

    def apply_workflow(
        self,
        name: str,
        definition: Any,
        description: str | None,
        *,
        is_draft: bool,
        settings: dict[str, Any],
        written_as: str,
    ) -> dict[str, Any]: ...

    def publish_workflow(self, workflow: str) -> dict[str, Any]: ...

    def archive_workflow(self, workflow: str) -> dict[str, Any]: ...

    def switch_schedules(self, workflow: str, schedule: str | None, *, is_enabled: bool) -> dict[str, Any]:
        """Pause or play one schedule of a workflow, or all: `items`, each with its `id` and `status`."""
        ...

    def run_schedule(self, workflow: str, schedule: str | None) -> dict[str, Any]:
        """Start a run of a schedule now; of the only one, if none is named."""
        ...

    def trigger(
        self, workflow: str, run_input: dict[str, Any], process_id: str | None, version: int | None
    ) -> dict[str, Any]: ...

    def resume(
        self, process_id: str, payload: Any, *, wait_id: str | None, state: str | None, hold_s: int
    ) -> dict[str, Any]: ...

    def terminate(self, process_id: str, payload: dict[str, Any]) -> dict[str, Any]: ...

    def redrive(self, process_id: str, reason: str | None) -> dict[str, Any]: ...

    def rerun(self, process_id: str, body: dict[str, Any]) -> dict[str, Any]: ...

    def fork(self, process_id: str, body: dict[str, Any]) -> dict[str, Any]: ...

    def release(self, process_id: str) -> dict[str, Any]: ...

    def pause(self, process_id: str, reason: str, *, clocks: Clocks) -> dict[str, Any]: ...

    def unpause(self, process_id: str, reason: str | None) -> dict[str, Any]: ...

    def start_bulk(
        self,
        action: str,
        workflow: str | None,
        filters: Given,
        reason: str | None,
        arguments: dict[str, Any],
        *,
        is_dry_run: bool,
    ) -> dict[str, Any]: ...

    def stop_bulk(self, bulk_id: str, reason: str | None) -> dict[str, Any]: ...

    def answer_task(
        self, token: str, what: Literal["success", "failure", "heartbeat"], body: Any
    ) -> dict[str, Any]: ...

    def organization(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The organization, after these of its settings were changed."""
        ...

    def create_key(self, name: str, scopes: list[str], expires_at: str | None, more: dict[str, Any]) -> dict[str, Any]:
        """Make a key; `more`: its `mode`, `user_id` and `role_ids`, as far as they are given."""
        ...

    def revoke_key(self, key: str) -> dict[str, Any]: ...
