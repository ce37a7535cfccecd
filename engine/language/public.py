"""The public names of `engine.language`."""

from __future__ import annotations

from perdure.engine.language.analysis.drawing import mermaid
from perdure.engine.language.analysis.steps import executions_of, literal_errors, steps_of, warnings
from perdure.engine.language.analysis.waits import opens_several_waits
from perdure.engine.language.errors import DefinitionError, Problem, StatesError
from perdure.engine.language.evaluate.context import context_object
from perdure.engine.language.evaluate.environment import Environment, EvaluationContext
from perdure.engine.language.instants import format_instant, parse_instant
from perdure.engine.language.model.flows import Left
from perdure.engine.language.model.handlers import Catcher, Retrier
from perdure.engine.language.model.resources import Resource, parse_resource
from perdure.engine.language.model.states import (
    ChoiceState,
    Chosen,
    CompiledState,
    FailState,
    FlowingState,
    HandlingState,
    Machine,
    MapState,
    ParallelState,
    PassState,
    SucceedState,
    TaskState,
    WaitState,
    nested_in,
)
from perdure.engine.language.parse.definition import compile_machine, compile_state, problems, unsupported

__all__ = [
    "Catcher",
    "ChoiceState",
    "Chosen",
    "CompiledState",
    "DefinitionError",
    "Environment",
    "EvaluationContext",
    "FailState",
    "FlowingState",
    "HandlingState",
    "Left",
    "Machine",
    "MapState",
    "ParallelState",
    "PassState",
    "Problem",
    "Resource",
    "Retrier",
    "StatesError",
    "SucceedState",
    "TaskState",
    "WaitState",
    "compile_machine",
    "compile_state",
    "context_object",
    "executions_of",
    "format_instant",
    "literal_errors",
    "mermaid",
    "nested_in",
    "opens_several_waits",
    "parse_instant",
    "parse_resource",
    "problems",
    "steps_of",
    "unsupported",
    "warnings",
]
