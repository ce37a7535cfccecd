"""The definition language: Amazon States Language, from JSON to compiled states.

Pure: nothing here knows the time, chance, the disk or the engine. ``problems`` checks a definition,
``compile_machine`` compiles it, and the states of the Machine say what each does with its input and result.
"""

from engine.language.context import context_object
from engine.language.definition import compile_machine, compile_state, problems, unsupported
from engine.language.drawing import mermaid
from engine.language.environment import Environment, World
from engine.language.errors import DefinitionError, Problem, StatesError
from engine.language.flows import Left
from engine.language.handlers import Catcher, Retrier
from engine.language.instants import format_instant, parse_instant
from engine.language.machine import Machine, nested_in
from engine.language.resources import Resource, parse_resource
from engine.language.states import (
    ChoiceState,
    Chosen,
    FailState,
    FlowingState,
    HandlingState,
    MapState,
    ParallelState,
    PassState,
    State,
    SucceedState,
    TaskState,
    WaitState,
)
from engine.language.steps import literal_errors, steps_of, warnings
from engine.language.waits import opens_several_waits

__all__ = [
    "Catcher",
    "ChoiceState",
    "Chosen",
    "DefinitionError",
    "Environment",
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
    "State",
    "StatesError",
    "SucceedState",
    "TaskState",
    "WaitState",
    "World",
    "compile_machine",
    "compile_state",
    "context_object",
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
