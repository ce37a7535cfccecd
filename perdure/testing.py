"""For your tests: runs in virtual time, one state by itself, given-when-then, and a clock that is pushed."""

from perdure.engine.testing import *  # noqa: F403
from perdure.engine.testing import __all__ as __all__  # noqa: PLC0414 type checkers read it so
