"""The input of a scheduled run, made from the schedule's template.

A template is a payload template of the States Language (JSONPath): a member whose name ends in `.$` is a path or an
intrinsic function over the slot's data (`engine.services.slots.facts_of`). It is checked when the schedule is made, as
the Parameters of a Pass state would be; the same slot gives the same input, also when it is asked for again.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from perdure.engine.errors import Invalid
from perdure.engine.language import Environment, StatesError, problems
from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.evaluate.templates import compile_template
from perdure.engine.services.slots import facts_of

_SAMPLE: Final = "00000000-0000-7000-8000-000000000000"


def check_template(template: Any, field: str) -> None:
    """Raise `Invalid` unless runs can be given what this template makes."""
    if not isinstance(template, dict):
        raise Invalid(f"{field}: it must be an object", {"field": field})
    state = {"Type": "Pass", "Parameters": template, "End": True}
    found = problems({"StartAt": "Input", "States": {"Input": state}})
    if found:
        prefix = "/States/Input/Parameters"
        errors = [{"path": each.path.removeprefix(prefix), "message": each.message} for each in found]
        first = f"{errors[0]['path'] or '/'}: {errors[0]['message']}"
        raise Invalid(f"{field}: {first}", {"field": field, "errors": errors})
    try:
        input_of(template, facts_of(_SAMPLE, 0, "UTC"), _SAMPLE)
    except StatesError as error:
        raise Invalid(f"{field}: {error.cause}", {"field": field}) from None


def input_of(template: Any, facts: dict[str, Any], run: str) -> Any:
    """The input of a run: the slot's data if there is no template. Raises `StatesError`."""
    if template is None:
        return facts
    compiled = compile_template(template, JsonPointer(), Diagnostics())
    return compiled.evaluate(facts, Environment(_Slot(facts, run), facts))


class _Slot:
    """The surroundings of a template: nothing but the slot, and randomness that a repeat draws again."""

    def __init__(self, facts: dict[str, Any], run: str) -> None:
        self._facts, self._run, self._pieces = facts, run, 0
        self.now_ms = 0
        self.expression_timeout_s = None

    def context(self) -> dict[str, Any]:
        return {"Schedule": self._facts}

    def variable(self, name: str) -> Any:
        raise StatesError("States.ParameterPathFailure", f"a schedule has no variable {name!r}")

    def random_bytes(self, count: int) -> bytes:
        self._pieces += 1
        return hashlib.shake_256(f"{self._run} {self._pieces}".encode()).digest(count)
