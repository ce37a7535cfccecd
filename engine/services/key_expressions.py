"""Key expressions: what `settings.concurrencyKey` finds in the input of a run.

A JSONPath that starts at the input (`$.customer`), or a JSONata expression (`{% $states.input.customer %}`), with the
limits that both have in a definition. It sees the input and nothing else: no variables, no context object.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

from perdure.engine.errors import Invalid
from perdure.engine.language.errors import StatesError, TooSlow
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import selection
from perdure.engine.language.evaluate.jsonata.compile import compile_jsonata, is_jsonata
from perdure.engine.language.evaluate.paths import compile_path
from perdure.engine.language.values import MISSING, Json, Missing
from perdure.engine.shown import shown

TIMEOUT_S: Final = 0.05
"""So long an expression may take: the caller waits for it, and so do others."""

KEY_MAX: Final = 1_024
"""So many characters a key has at most that is a text."""

KeyOf: TypeAlias = Callable[[Any], str | int | float | bool]


class _InputAlone(msgspec.Struct, eq=False):
    """An `EvaluationContext` of an expression that sees nothing but an input."""

    now_ms: int = 0
    expression_timeout_s: float | None = TIMEOUT_S

    def context(self) -> dict[str, Json]:
        return {}

    def variable(self, name: str) -> Json | Missing:  # noqa: ARG002 there are none
        return MISSING

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)


def check_expression(text: str) -> None:
    """Check an expression. Raises ValueError, which says what is wrong with it."""
    if is_jsonata(text):
        compile_jsonata(text)
    elif not text.startswith("$"):
        raise ValueError("it must be a JSONPath into the input ($.customer) or a JSONata expression ({% … %})")
    elif compile_path(text).root:
        raise ValueError("it sees the input alone: a path in it starts with $. or $[")


@lru_cache(maxsize=1024)
def key_of(text: str) -> KeyOf:
    """The function that gives the key in an input; it raises `Invalid` if there is none."""
    expression = compile_jsonata(text) if is_jsonata(text) else selection(compile_path(text))

    def find(run_input: Any) -> str | int | float | bool:
        try:
            found = expression.evaluate(run_input, Environment(_InputAlone(), run_input))
        except StatesError as problem:
            raise _invalid(text, f"gives no key: {problem.cause}") from None
        except TooSlow:
            raise _invalid(text, f"takes longer than {round(TIMEOUT_S * 1000)} ms") from None
        if isinstance(found, bool | int | float) or (isinstance(found, str) and 0 < len(found) <= KEY_MAX):
            return found
        what = f"gives {shown(found)}; a key is a text of 1 to {KEY_MAX:,} characters, a number, true or false"
        raise _invalid(text, what)

    return find


def _invalid(text: str, problem: str) -> Invalid:
    return Invalid(f"input: settings.concurrencyKey of the workflow, {shown(text)}, {problem}", {"field": "input"})
