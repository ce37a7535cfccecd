"""Perdure: a durable state-machine engine. `Engine` embeds it in a Python program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.engine import Engine, Execution, ExecutionSummary, Page, Result, Workflow

__all__ = ["Engine", "Execution", "ExecutionSummary", "Page", "Result", "Workflow"]


def __getattr__(name: str) -> Any:
    """Import the engine when it is first asked for: the core and the command line need little of it."""
    if name in __all__:
        from engine import engine  # noqa: PLC0415

        return getattr(engine, name)
    message = f"module 'engine' has no attribute {name!r}"
    raise AttributeError(message)
