"""The answers that the caller of a simulation may give for a task."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class TaskRequest(msgspec.Struct, frozen=True):
    """One attempt of a Task state: a step that is called, a child that is started, or a wait that is open.

    `attempt` counts from 0; `iteration` has (map state, index), outermost first. Of a mere wait `resource` is
    `wait_for_resume`.
    """

    state: str
    resource: str
    parameters: Any
    state_input: Any
    attempt: int = 0
    iteration: tuple[tuple[str, int], ...] = ()
    timeout_seconds: float | None = None
    heartbeat_seconds: int | None = None


class Succeeded(msgspec.Struct, frozen=True):
    """The task gives this output, a JSON value. Of a wait it is the payload that resumes it."""

    output: Any = None


class Failed(msgspec.Struct, frozen=True):
    """The task fails."""

    error: str | None = None
    cause: str | None = None


class Unanswered(msgspec.Struct, frozen=True):
    """The task never answers; if it has a time limit, it times out."""


Answer: TypeAlias = Succeeded | Failed | Unanswered
