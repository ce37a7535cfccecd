"""Steps: the functions that Task states call. Register yours in a `Registry`, and give it to `Engine.open`."""

from perdure.engine.steps import *  # noqa: F403
from perdure.engine.steps import __all__ as __all__  # noqa: PLC0414 type checkers read it so
