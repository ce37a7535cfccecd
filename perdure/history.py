"""The events of an execution, told: the history of Step Functions, logs, outlines, pictures."""

from perdure.engine.history import *  # noqa: F403
from perdure.engine.history import __all__ as __all__  # noqa: PLC0414 type checkers read it so
