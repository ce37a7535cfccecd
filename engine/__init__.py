"""Perdure: a durable state-machine engine. `Engine` embeds it in a Python program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.told import Execution, ExecutionSummary, Page, Result, Wait, Workflow, WorkflowSummary

__all__ = ["Engine", "Execution", "ExecutionSummary", "Page", "Result", "Wait", "Workflow", "WorkflowSummary"]


def __getattr__(name: str) -> Any:
    """Import the engine when it is first asked for: the core and the command line need little of it."""
    if name in __all__:
        from engine import engine, told  # noqa: PLC0415

        return getattr(engine if name == "Engine" else told, name)
    message = f"module 'engine' has no attribute {name!r}"
    raise AttributeError(message)
