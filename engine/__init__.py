"""Perdure: a durable state-machine engine. `Engine` embeds it in a Python program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.engine.embedded import Engine
    from perdure.engine.views import Execution, ExecutionSummary, Page, Result, Wait, Workflow, WorkflowSummary

if __name__ == "engine":  # found under the folder's name, in a checkout
    from perdure.checkout import alias

    alias("engine")

__all__ = ["Engine", "Execution", "ExecutionSummary", "Page", "Result", "Wait", "Workflow", "WorkflowSummary"]


def __getattr__(name: str) -> Any:
    """Import the engine when it is first asked for: the core and the command line need little of it."""
    if name in __all__:
        from perdure.engine import embedded, views  # noqa: PLC0415

        return getattr(embedded if name == "Engine" else views, name)
    message = f"module 'engine' has no attribute {name!r}"
    raise AttributeError(message)
