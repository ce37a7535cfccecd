"""Perdure: a durable state-machine engine. `Engine` embeds it in a Python program."""

from engine.engine import Engine, Execution, ExecutionSummary, Page, Result, Workflow

__all__ = ["Engine", "Execution", "ExecutionSummary", "Page", "Result", "Workflow"]
