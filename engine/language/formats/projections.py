"""Shows a definition in another format than it was written in: as a graph, a list of steps, or service steps.

A projection is for reading. As Amazon States Language it is what may be written by hand. The graph comes back as the
same definition; of the lists, each step is a state: a Task as the action that it calls, any other state as its type,
with the state's own fields as its config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from perdure.engine.language.formats.by_hand import by_hand
from perdure.engine.language.formats.graph_states import graph_of
from perdure.engine.language.model.resources import Resource, parse_resource
from perdure.engine.language.values import Json

_PARAMETERS: Final = ("Arguments", "Parameters")
_WAIT: Final = "wait_for_resume"
_WORKFLOW: Final = "workflow"


def steps_of_definition(definition: Mapping[str, Json]) -> dict[str, Json]:
    """Show a definition as `{steps: [{id, type, name, config}]}`, in the order in which its states stand."""
    return {
        "steps": [
            {"id": name, "type": kind, "name": name, "config": config} for name, kind, config in _steps(definition)
        ]
    }


def service_of_definition(definition: Mapping[str, Json]) -> dict[str, Json]:
    """Show a definition as `{steps: [{step_type, step_config}]}`."""
    return {"steps": [{"step_type": kind, "step_config": config} for _, kind, config in _steps(definition)]}


PROJECTIONS: Final[Mapping[str, Callable[[Mapping[str, Json]], dict[str, Json]]]] = MappingProxyType(
    {
        "asl": by_hand,
        "graph": graph_of,
        "steps": steps_of_definition,
        "service": service_of_definition,
    }
)
"""By the name of a format, what shows a definition in it."""


def _steps(definition: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Json]]]:
    for name, state in definition["States"].items():
        kind, config = _step(state)
        yield name, kind, config


def _step(state: Mapping[str, Any]) -> tuple[str, dict[str, Json]]:
    resource = _resource(state)
    if resource is None:
        return state["Type"], {field: member for field, member in state.items() if field != "Type"}
    config = next((dict(state[field]) for field in _PARAMETERS if type(state.get(field)) is dict), {})
    if resource.kind == "wait":
        return _WAIT, config
    if resource.starts_execution:
        return _WORKFLOW, config
    return resource.step or resource.text, config


def _resource(state: Mapping[str, Any]) -> Resource | None:
    if state["Type"] != "Task":
        return None
    try:
        return parse_resource(state["Resource"])
    except (KeyError, ValueError):
        return None
