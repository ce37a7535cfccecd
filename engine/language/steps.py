"""What a definition needs from outside: the steps that it calls, and the errors that it names."""

from collections.abc import Iterator, Mapping

from engine.language.errors import Problem
from engine.language.findings import Place
from engine.language.machine import Machine
from engine.language.resources import WAIT_FOR_RESUME, Resource, parse_resource, step_named
from engine.language.states import FailState, TaskState
from engine.language.values import Json, shown


def literal_errors(machine: Machine) -> frozenset[str]:
    """Give the error names that stand in the definition itself."""
    return frozenset(
        state.error for state in machine.states.values() if type(state) is FailState and state.error is not None
    )


def steps_of(definition_or_machine: Mapping[str, Json] | Machine) -> Iterator[tuple[str, str]]:
    """List the registered steps that a definition calls, so that a caller can ask its registry for them.

    Yields:
        A JSON Pointer to where the step is named, and its name. Steps that only a run can tell
        (``FunctionName.$``) are left out, and so is what is not well-formed.
    """
    if isinstance(definition_or_machine, Machine):
        for name, state in definition_or_machine.states.items():
            if type(state) is TaskState and state.step is not None:
                yield _pointer(name, state.resource), state.step
        return
    for name, source in _sources(definition_or_machine).items():
        resource = _resource(source)
        step = None if resource is None else step_named(resource, source.get("Parameters"))
        if resource is not None and step is not None:
            yield _pointer(name, resource), step


def _pointer(name: str, resource: Resource) -> str:
    state = Place() / "States" / name
    return str(state / "Parameters" / "FunctionName" if resource.is_lambda_invoke else state / "Resource")


def _sources(definition: object) -> dict[str, Json]:
    states = definition.get("States") if isinstance(definition, Mapping) else None
    return states if type(states) is dict else {}


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
    resources = {name: _resource(source) for name, source in _sources(definition).items()}
    found = []
    for name, resource in resources.items():
        following = _sources(definition)[name].get("Next") if resource is not None else None
        wait = resources.get(following) if type(following) is str else None
        if resource is None or wait is None or resource.kind != "step" or wait.kind != "wait":
            continue
        found.append(
            Problem(
                str(Place() / "States" / name / "Resource"),
                f"an answer that comes before the wait {shown(following)} is open is lost; "
                f"use {resource.text}.{WAIT_FOR_RESUME} in one state instead",
            )
        )
    return found
