"""Data flows: input and output processing of a state, in each of the two query languages.

    JSONPath   InputPath > Parameters > (work) > ResultSelector > Assign, ResultPath > OutputPath
    JSONata    Arguments > (work) > Assign, Output

Both have the same methods, so that no state needs to know which language it is written in. Fields that are
absent, or `$`, are None, and cost nothing: the very object that went in comes out.

Assign and the output see the variables as they were: what is assigned holds from the next state on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from perdure.engine.language.evaluate.environment import Environment
from perdure.engine.language.evaluate.expressions import Expression
from perdure.engine.language.model.results import ResultPath
from perdure.engine.language.values import Json

NONE_ASSIGNED: Final[dict[str, Json]] = {}
"""The assigned variables of every state that assigns none."""


class Left(NamedTuple):
    """The result of leaving a state: its output, and the variables that it assigns."""

    output: Json
    assigned: dict[str, Json]


class PathFlow(msgspec.Struct, frozen=True, kw_only=True):
    """The data flow of JSONPath."""

    input_path: Expression | None = None
    parameters: Expression | None = None
    result_selector: Expression | None = None
    assign: Expression | None = None
    result_path: ResultPath | None = None
    output_path: Expression | None = None

    def filtered(self, env: Environment) -> Json:
        """Apply InputPath: the value from which the paths of all other fields start.

        Raises StatesError: a path finds nothing. This holds for every method here.
        """
        value = env.input if self.input_path is None else self.input_path.evaluate(env.input, env)
        if env.trace is not None:
            env.trace["afterInputPath"] = value
        return value

    def arguments(self, env: Environment) -> Json:
        """Apply InputPath, then Parameters."""
        value = self.filtered(env)
        if self.parameters is not None:
            value = self.parameters.evaluate(value, env)
        if env.trace is not None:
            env.trace["afterParameters"] = value
        return value

    def leave(self, result: Json, env: Environment) -> Left:
        """Apply ResultSelector and Assign to the result, put that into the raw input, and apply OutputPath.

        Assign sees what ResultSelector made, before ResultPath (recorded: test_mixed_query_language.py,
        test_task_dataflow_to_state).
        """
        if self.result_selector is not None:
            result = self.result_selector.evaluate(result, env)
        placed = result if self.result_path is None else self.result_path.put(env.input, result)
        if env.trace is not None:
            env.trace.update(afterResultSelector=result, afterResultPath=placed)
        assigned = NONE_ASSIGNED if self.assign is None else self.assign.evaluate(result, env)
        return Left(placed if self.output_path is None else self.output_path.evaluate(placed, env), assigned)


class JsonataFlow(msgspec.Struct, frozen=True, kw_only=True):
    """The data flow of JSONata."""

    template: Expression | None = None
    """Arguments."""
    assign: Expression | None = None
    output: Expression | None = None

    def filtered(self, env: Environment) -> Json:
        """Give the raw input: JSONata has no InputPath."""
        return env.input

    def arguments(self, env: Environment) -> Json:
        """Evaluate Arguments; without it, give the raw input.

        Raises StatesError: an expression fails.
        """
        if self.template is None:
            return env.input
        value = self.template.evaluate(env.input, env)
        if env.trace is not None:
            env.trace["afterArguments"] = value
        return value

    def leave(self, result: Json, env: Environment) -> Left:
        """Evaluate Assign and Output; without Output, the result is the output.

        Raises StatesError: an expression fails.
        """
        assigned = NONE_ASSIGNED if self.assign is None else self.assign.evaluate(env.input, env)
        return Left(result if self.output is None else self.output.evaluate(env.input, env), assigned)


Flow: TypeAlias = PathFlow | JsonataFlow

_FLOWS: Final[Mapping[str, type[Flow]]] = {"JSONPath": PathFlow, "JSONata": JsonataFlow}


def split_flow(query_language: str, attributes: dict[str, Json]) -> tuple[Flow, dict[str, Json]]:
    """Make the data flow of the attributes that belong to it; give it, and the attributes that do not."""
    kind = _FLOWS[query_language]
    names = set(kind.__struct_fields__)
    flow = kind(**{name: value for name, value in attributes.items() if name in names})
    return flow, {name: value for name, value in attributes.items() if name not in names}
