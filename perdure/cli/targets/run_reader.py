"""Readers of runs, wherever their log is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

from perdure.engine.services.run_filters import Given, Sort

ListedStatus: TypeAlias = Literal["draft", "published", "paused", "archived"]


class RunReader(Protocol):
    """Runs, and what belongs to them, as they can be looked at. Answers are JSON values, alike everywhere.

    Raises `CommandFailed`, `CommandNotRun`.
    """

    def shown(self, run_id: str) -> dict[str, Any]:
        """A run with its values, its steps and its open waits, by process id or execution id."""
        ...

    def drawn(self, run_id: str) -> str:
        """The drawing of its definition, with the way that it took."""
        ...

    def history(
        self, workflow: str | None, filters: Given, sort: Sort, limit: int, after: str | None
    ) -> dict[str, Any]:
        """A page of runs that match all filters: `items`, and `after`, which asks for the next one."""
        ...

    def counts(self, workflow: str | None) -> dict[str, Any]:
        """How many runs there are, in all, by status and by workflow."""
        ...

    def events(self, run_id: str, tell: Callable[[dict[str, Any]], None], *, follow: bool) -> None:
        """Tell a run's events, in order; to follow it goes on with those that are added until the run has ended."""
        ...

    def waits(self, workflow: str | None, process_id: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """A page of open waits, oldest first: `items`, and `after`, which asks for the next one."""
        ...

    def workflows(self, search: str | None, status: ListedStatus | None, limit: int, page: int) -> dict[str, Any]:
        """A page of workflows, newest first: `items`, `page`, and the `total` of all pages."""
        ...

    def workflow(self, wanted: str, version: int | None) -> dict[str, Any]:
        """A workflow with its definition, by its name or id; its latest version unless another one is asked for."""
        ...

    def document(self, wanted: str, version: int | None, form: str) -> Any:
        """A version of a workflow in a format: the document if it was written so, else what shows its definition."""
        ...

    def schedules(self, workflow: str) -> dict[str, Any]:
        """The schedules of a workflow: `items`, each with its last decisions and its next slots."""
        ...

    def bulk_jobs(self, limit: int, after: str | None) -> dict[str, Any]:
        """A page of bulk jobs, newest first: `items`, and `after`, which asks for the next one."""
        ...

    def bulk_job(self, bulk_id: str) -> dict[str, Any]:
        """A bulk job with its order and the failures that are listed."""
        ...

    def keys(self) -> dict[str, Any]:
        """The keys that are to be seen: `items`."""
        ...
