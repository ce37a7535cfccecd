"""The external dependencies of a definition: the steps that it calls, and the errors that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perdure.engine.language.diagnostics import JsonPointer
from perdure.engine.language.errors import Problem
from perdure.engine.language.evaluate.jsonata.compile import is_jsonata
from perdure.engine.language.model.resources import WAIT_FOR_RESUME, Resource, parse_resource, step_named
from perdure.engine.language.model.states import Machine, MapState, ParallelState, TaskState
from perdure.engine.language.values import Json, shown


def literal_errors(machine: Machine) -> frozenset[str]:
    """Give the error names that stand in the definition itself, nested machines included."""
    return machine.literal_errors


def steps_of(definition_or_machine: Mapping[str, Json] | Machine) -> Iterator[tuple[str, str]]:
    """List the registered steps that a definition calls, so that a caller can ask its registry for them.

    Yields a JSON Pointer to where the step is named, and its name. Steps that only a run can tell (`FunctionName.$`)
    are left out, and so is what is not well-formed.
    """
    if isinstance(definition_or_machine, Machine):
        yield from _steps_in(definition_or_machine, JsonPointer())
        return
    for pointer, states in _machines_in(definition_or_machine, JsonPointer()):
        for name, source in states.items():
            resource = _resource(source)
            if resource is not None:
                holder = "Parameters" if "Parameters" in source else "Arguments"
                step = step_named(resource, source.get(holder))
                if step is not None:
                    yield _pointer(pointer / name, resource, holder), step


def _steps_in(machine: Machine, pointer: JsonPointer) -> Iterator[tuple[str, str]]:
    for name, state in machine.states.items():
        at = pointer / "States" / name
        if isinstance(state, TaskState):
            if state.step is not None:
                holder = "Parameters" if state.query_language == "JSONPath" else "Arguments"
                yield _pointer(at, state.resource, holder), state.step
        elif isinstance(state, MapState):
            yield from _steps_in(state.processor, at / state.processor_field)
        elif isinstance(state, ParallelState):
            for index, branch in enumerate(state.branches):
                yield from _steps_in(branch, at / "Branches" / index)


def _pointer(state: JsonPointer, resource: Resource, holder: str) -> str:
    return str(state / holder / "FunctionName" if resource.is_lambda_invoke else state / "Resource")


def executions_of(definition: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    """List the executions that a definition starts and of which it says itself what of.

    Yields a JSON Pointer to the StateMachineArn, the state's name, and what stands there. What only a run can tell
    (`StateMachineArn.$`, an expression) is left out, and so is what is not well-formed.
    """
    for pointer, states in _machines_in(definition, JsonPointer()):
        for name, source in states.items():
            resource = _resource(source)
            if resource is None or not resource.starts_execution:
                continue
            for holder in ("Parameters", "Arguments"):
                given = source.get(holder)
                target = given.get("StateMachineArn") if type(given) is dict else None
                if type(target) is str and not (holder == "Arguments" and is_jsonata(target)):
                    yield str(pointer / name / holder / "StateMachineArn"), name, target


def _machines_in(source: Json, pointer: JsonPointer) -> Iterator[tuple[JsonPointer, dict[str, Json]]]:
    """List the states of what may be malformed, and of the machines in it, each with its pointer."""
    states = source.get("States") if isinstance(source, Mapping) else None
    if type(states) is not dict:
        return
    yield pointer / "States", states
    for name, state in states.items():
        if type(state) is not dict:
            continue
        at = pointer / "States" / name
        for field in ("ItemProcessor", "Iterator"):
            yield from _machines_in(state.get(field), at / field)
        branches = state.get("Branches")
        for index, branch in enumerate(branches if type(branches) is list else ()):
            yield from _machines_in(branch, at / "Branches" / index)


def _resource(source: Json) -> Resource | None:
    """Read the resource of what may not be a Task, or malformed."""
    if type(source) is not dict or source.get("Type") != "Task" or type(source.get("Resource")) is not str:
        return None
    try:
        return parse_resource(source["Resource"])
    except ValueError:
        return None


def warnings(definition: Mapping[str, Json]) -> list[Problem]:
    """Find what is valid, but probably not meant; never raises.

    A step whose outside party answers before the wait that follows it is open loses that answer: the wait
    must be open before the step is called, which is what NAME.waitForResume does.
    """
    found = []
    for pointer, states in _machines_in(definition, JsonPointer()):
        resources = {name: _resource(source) for name, source in states.items()}
        for name, resource in resources.items():
            following = states[name].get("Next") if resource is not None else None
            wait = resources.get(following) if type(following) is str else None
            if resource is None or wait is None or resource.kind != "step" or wait.kind != "wait":
                continue
            message = (
                f"an answer that comes before the wait {shown(following)} is open is lost; "
                f"use {resource.text}.{WAIT_FOR_RESUME} in one state instead"
            )
            found.append(Problem(str(pointer / name / "Resource"), message))
    return found
