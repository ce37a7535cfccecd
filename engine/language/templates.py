"""Payload templates of JSONPath states: Parameters, ResultSelector, ItemSelector, Assign and others.

A template is JSON in which a member whose name ends in ``.$`` is replaced by the member without that ending, its value
by what its path finds or its intrinsic function gives. Everything else stands for itself, and is shared with every
payload made from the template, since nobody mutates a value.
"""

from typing import Final

from engine.language.environment import Environment
from engine.language.expressions import Evaluate, Expression, parameter
from engine.language.findings import Findings, Place
from engine.language.intrinsics import compile_intrinsic
from engine.language.paths import compile_path
from engine.language.values import Json, shown

DYNAMIC: Final = ".$"
INTRINSIC: Final = "States."


def compile_template(source: Json, place: Place, findings: Findings) -> Expression:
    """Compile a payload template; tell the findings what is wrong with it.

    Returns:
        The template, of which parts are missing if anything was found.
    """
    evaluate = _Compiler(findings).node(source, place)
    return Expression(source, evaluate or (lambda _value, _env: source))


class _Compiler:
    """Compiles one template; a part that is static, and stands for itself, compiles to None."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def node(self, value: Json, place: Place) -> Evaluate | None:
        if type(value) is dict:
            return self.members(value, place)
        if type(value) is list:
            return self.items(value, place)
        return None

    def members(self, members: dict[str, Json], place: Place) -> Evaluate | None:
        static: dict[str, Json] = {}
        dynamic: list[tuple[str, Evaluate]] = []
        for name, value in members.items():
            at = place / name
            if name.endswith(DYNAMIC):
                target, evaluate = name[: -len(DYNAMIC)], self.reference(name, value, at)
                if target in members:
                    self.findings.add(at, f"the object has both {shown(target)} and {shown(name)}")
            else:
                target, evaluate = name, self.node(value, at)
            static[target] = value  # of a dynamic member too: this fixes the order of the members
            if evaluate is not None:
                dynamic.append((target, evaluate))
        return _fill_members(static, dynamic) if dynamic else None

    def items(self, items: list[Json], place: Place) -> Evaluate | None:
        dynamic = [
            (index, evaluate)
            for index, item in enumerate(items)
            if (evaluate := self.node(item, place / index)) is not None
        ]
        return _fill_items(items, dynamic) if dynamic else None

    def reference(self, name: str, value: Json, place: Place) -> Evaluate | None:
        if type(value) is not str:
            message = "the value of a member whose name ends in .$ must be a path or an intrinsic function"
            self.findings.add(place, message)
            return None
        try:
            if value.startswith(INTRINSIC):
                return compile_intrinsic(value, accepts_old=self.findings.accepts_old).evaluate
            return parameter(compile_path(value), name).evaluate
        except ValueError as error:
            self.findings.add(place, str(error))
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
