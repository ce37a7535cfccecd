"""Payload templates of JSONPath states: Parameters, ResultSelector, ItemSelector, Assign and others.

A template is JSON in which a member whose name ends in `.$` is replaced by the member without that ending, its value
by what its path finds or its intrinsic function gives. Everything else stands for itself, and is shared with every
payload made from the template, since nobody mutates a value.
"""

from __future__ import annotations

from typing import Final

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import Evaluate, Expression, parameter
from perdure.engine.language.evaluate.intrinsics import compile_intrinsic
from perdure.engine.language.evaluate.paths import compile_path
from perdure.engine.language.values import Json, shown

DYNAMIC: Final = ".$"
INTRINSIC: Final = "States."


def compile_template(source: Json, pointer: JsonPointer, diagnostics: Diagnostics) -> Expression:
    """Compile a payload template; add what is wrong with it to the diagnostics.

    Returns the template, of which parts are missing if anything was found.
    """
    evaluate = _Compiler(diagnostics).node(source, pointer)
    return Expression(source, evaluate or (lambda _value, _env: source))


class _Compiler:
    """Compiles one template; a part that is static, and stands for itself, compiles to None."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics

    def node(self, value: Json, pointer: JsonPointer) -> Evaluate | None:
        if type(value) is dict:
            return self.members(value, pointer)
        if type(value) is list:
            return self.items(value, pointer)
        return None

    def members(self, members: dict[str, Json], pointer: JsonPointer) -> Evaluate | None:
        static: dict[str, Json] = {}
        dynamic: list[tuple[str, Evaluate]] = []
        for name, value in members.items():
            at = pointer / name
            if name.endswith(DYNAMIC):
                target, evaluate = name[: -len(DYNAMIC)], self.reference(name, value, at)
                if target in members:
                    self.diagnostics.add(at, f"the object has both {shown(target)} and {shown(name)}")
            else:
                target, evaluate = name, self.node(value, at)
            static[target] = value  # of a dynamic member too: this fixes the order of the members
            if evaluate is not None:
                dynamic.append((target, evaluate))
        return _fill_members(static, dynamic) if dynamic else None

    def items(self, items: list[Json], pointer: JsonPointer) -> Evaluate | None:
        dynamic = [
            (index, evaluate)
            for index, item in enumerate(items)
            if (evaluate := self.node(item, pointer / index)) is not None
        ]
        return _fill_items(items, dynamic) if dynamic else None

    def reference(self, name: str, value: Json, pointer: JsonPointer) -> Evaluate | None:
        if type(value) is not str:
            message = "the value of a member whose name ends in .$ must be a path or an intrinsic function"
            self.diagnostics.add(pointer, message)
            return None
        try:
            if value.startswith(INTRINSIC):
                return compile_intrinsic(value, accepts_old=self.diagnostics.accepts_old).evaluate
            return parameter(compile_path(value), name).evaluate
        except ValueError as error:
            self.diagnostics.add(pointer, str(error))
            return None


def _fill_members(static: dict[str, Json], dynamic: list[tuple[str, Evaluate]]) -> Evaluate:
    def evaluate(value: Json, env: Environment) -> Json:
        payload = static.copy()
        for name, find in dynamic:
            payload[name] = find(value, env)
        return payload

    return evaluate


def _fill_items(static: list[Json], dynamic: list[tuple[int, Evaluate]]) -> Evaluate:
    def evaluate(value: Json, env: Environment) -> Json:
        payload = static.copy()
        for index, find in dynamic:
            payload[index] = find(value, env)
        return payload

    return evaluate
