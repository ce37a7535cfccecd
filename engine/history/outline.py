"""A definition as a list of steps and the connections between them, for those who draw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.language.connections import Connection, connections


def outline(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The states of a valid definition (`engine.language.problems`), in its order, and where they lead.

    A step has `name`, `type`, and the state's own fields; a connection has `from`, `to`, `kind` (`next`,
    `choice`, `default` or `catch`) and, of a choice or a catch, a `label`: the condition, or the errors.
    """
    states: Mapping[str, Mapping[str, Any]] = definition["States"]
    return {
        "workflow_steps": [
            {"name": name, "type": state["Type"], **{key: state[key] for key in state if key != "Type"}}
            for name, state in states.items()
        ],
        "workflow_connections": [_shown(connection) for connection in connections(definition)],
    }


def _shown(connection: Connection) -> dict[str, str]:
    shown = {"from": connection.origin, "to": connection.target, "kind": connection.kind}
    return shown if connection.kind in ("next", "default") else {**shown, "label": connection.label}
