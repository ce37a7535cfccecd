"""A definition as a list of steps and the connections between them, for clients that draw it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perdure.engine.language.analysis.connections import Edge, connections
from perdure.engine.language.analysis.drawing import machines_in


def outline(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The states of a valid definition, in its order, and where they lead.

    A step has `name`, `type`, and the state's own fields; a connection has `from`, `to`, `kind` (`next`,
    `choice`, `default` or `catch`) and, of a choice or a catch, a `label`: the condition, or the errors. After a
    Parallel or Map state come the states of its branches or iterations, whose steps have its name as `within`.
    """
    return {
        "workflow_steps": list(_steps(definition, {})),
        "workflow_connections": [_shown(connection) for connection in _connections(definition)],
    }


def _steps(machine: Mapping[str, Any], within: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, state in machine["States"].items():
        yield {"name": name, "type": state["Type"], **within, **{key: state[key] for key in state if key != "Type"}}
        for inner in machines_in(state):
            yield from _steps(inner, {"within": name})


def _connections(machine: Mapping[str, Any]) -> Iterator[Edge]:
    yield from connections(machine)
    for state in machine["States"].values():
        for inner in machines_in(state):
            yield from _connections(inner)


def _shown(connection: Edge) -> dict[str, str]:
    shown = {"from": connection.origin, "to": connection.target, "kind": connection.kind}
    return shown if connection.kind in ("next", "default") else {**shown, "label": connection.label}
