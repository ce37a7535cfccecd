"""The engine: durable executions of Amazon States Language, and what `perdure` exports to programs that embed it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perdure.engine.embedded import Engine
    from perdure.engine.limits import Limits
    from perdure.engine.runtime.tuning import tune_interpreter
    from perdure.engine.views import Execution, ExecutionSummary, Page, Result, Wait, Workflow, WorkflowSummary

if __name__ == "engine":  # found under the folder's name, in a checkout
    from perdure.checkout import alias

    alias("engine")

__all__ = [
    "Engine",
    "Execution",
    "ExecutionSummary",
    "Limits",
    "Page",
    "Result",
    "Wait",
    "Workflow",
    "WorkflowSummary",
    "tune_interpreter",
]

_MODULES: Final = {"Engine": "embedded", "Limits": "limits", "tune_interpreter": "runtime.tuning"}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is first asked for: the core and the command line need little of it."""
    if name in __all__:
        return getattr(importlib.import_module(f"perdure.engine.{_MODULES.get(name, 'views')}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
