"""Environments for tests: what an execution lends to the expressions of one state."""

from typing import Any

from perdure.engine.language import Environment, compile_state
from perdure.engine.language.values import MISSING


class World:
    """A world of constants."""

    now_ms = 1_704_067_200_000
    expression_timeout_s: float | None = None

    def __init__(self, context=None, variables=None):
        self._context = {} if context is None else context
        self._variables = variables or {}

    def context(self):
        return self._context

    def variable(self, name):
        return self._variables.get(name, MISSING)

    def random_bytes(self, count):
        return bytes(range(count))


def compiled(source: Any) -> Any:
    """A compiled state; the test knows of which type it is."""
    return compile_state(source)


def env(value=None, context=None, variables=None, **parts):
    """An environment with this raw input."""
    env = Environment(World(context, variables), value)
    for name, part in parts.items():
        setattr(env, name, part)
    return env
