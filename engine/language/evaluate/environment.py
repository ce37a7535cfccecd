"""The environment of an evaluation: input, result, variables, context object, time and randomness."""

from __future__ import annotations

from typing import Protocol

import msgspec

from perdure.engine.language.values import MISSING, Json, Missing


class EvaluationContext(Protocol):
    """The data of an execution that expressions of one state may read; each is computed when it is first read."""

    @property
    def now_ms(self) -> int:
        """The instant of the decision, in milliseconds since 1970."""
        ...

    @property
    def expression_timeout_s(self) -> float | None:
        """Seconds of real time that an expression may take now before it raises TooSlow; None: as long as any may."""
        ...

    def context(self) -> dict[str, Json]:
        """The context object (`$$`, `$states.context`)."""
        ...

    def variable(self, name: str) -> Json | Missing:
        """The variable of that name, of this scope or the nearest one around it; MISSING if there is none."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """So many random bytes, others each time, but the same ones if the decision is made again."""
        ...


class Environment(msgspec.Struct, eq=False):
    """The environment of one evaluation.

    `evaluation`: the data of the execution.
    `input`: the state's raw input (`$states.input`).
    `result`: what its task, branches or iterations gave (`$states.result`); MISSING before that.
    `error_output`: what a Catch caught (`$states.errorOutput`); MISSING elsewhere.
    `trace`: where to note the data after each step of input and output processing, by its name in the answers of
        TestState (`afterInputPath`, …); None to note nothing.
    """

    evaluation: EvaluationContext
    input: Json
    result: Json | Missing = MISSING
    error_output: Json | Missing = MISSING
    trace: dict[str, Json] | None = None
    _context: dict[str, Json] | None = None

    @property
    def context(self) -> dict[str, Json]:
        """The context object, made when first asked for."""
        if self._context is None:
            self._context = self.evaluation.context()
        return self._context
