"""Perdure: a durable state-machine engine. `Engine` embeds it in a Python program.

What programs import is `perdure` and its public modules: `perdure.steps` (what Task states call), `perdure.testing`
(runs in virtual time), `perdure.language` (definitions), `perdure.history` (what events tell), `perdure.errors` and
`perdure.client`. What lies under `perdure.engine`, `perdure.api` and `perdure.store` may change with any release; in a
checkout these three are links to the folders beside this one (`engine/adr/0028-one-import-package.md`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.engine import (
        Engine,
        Execution,
        ExecutionSummary,
        Limits,
        Page,
        Result,
        Wait,
        Workflow,
        WorkflowSummary,
        tune_interpreter,
    )

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


def __getattr__(name: str) -> Any:
    """Import the engine when it is first asked for: the command line and the language need little of it."""
    if name in __all__:
        from perdure import engine  # noqa: PLC0415

        return getattr(engine, name)
    message = f"module 'perdure' has no attribute {name!r}"
    raise AttributeError(message)
