"""ResultPath: merges a state's result into its raw input."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.engine.language import errors
from perdure.engine.language.errors import StatesError
from perdure.engine.language.evaluate.paths import Path, Steps
from perdure.engine.language.values import MISSING, Json, quoted


class ResultPath(msgspec.Struct, frozen=True):
    """A compiled ResultPath that is neither absent nor `$`.

    `text`: as written; "null" discards the result.
    `steps`: the way to the place; None discards the result.
    """

    text: str
    steps: Steps | None

    def put(self, raw_input: Json, result: Json) -> Json:
        """Give the raw input with the result in its place.

        Only what lies on the way is copied; the rest is shared with the input. Objects that are not there
        are made; arrays are not, and do not grow (States Language spec, InputPath and ResultPath).

        Raises StatesError: something else than an object or an array's item is in the way.
        """
        if self.steps is None:
            return raw_input
        written = _written(raw_input, self.steps, 0, result)
        if written is MISSING:
            raise StatesError(
                errors.RESULT_PATH_CONFLICT,
                f"Unable to apply ReferencePath {self.text} to input {quoted(raw_input)}",
            )
        return written


DISCARD: Final = ResultPath("null", None)


def result_path(path: Path) -> ResultPath | None:
    """Make a ResultPath of a reference path; None for `$`, which replaces the input by the result."""
    return ResultPath(path.text, path.steps) if path.steps else None


def _written(value: Json, steps: Steps, depth: int, result: Json) -> Json:
    """Give value with the result at steps[depth:], or MISSING if there is no way."""
    if depth == len(steps):
        return result
    step = steps[depth]
    if isinstance(step, str):
        if type(value) is not dict:
            return MISSING
        below = _written(value.get(step, {}), steps, depth + 1, result)
        return MISSING if below is MISSING else {**value, step: below}
    if type(value) is not list or not -len(value) <= step < len(value):
        return MISSING
    below = _written(value[step], steps, depth + 1, result)
    if below is MISSING:
        return MISSING
    copy = value.copy()
    copy[step] = below
    return copy
