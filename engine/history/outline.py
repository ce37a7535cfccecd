"""A definition as a list of steps and the connections between them, for those who draw it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.codec import encode_json


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
        "workflow_connections": [
            connection for name, state in states.items() for connection in _connections(name, state)
        ],
    }


def _connections(name: str, state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "Next" in state:
        yield {"from": name, "to": state["Next"], "kind": "next"}
    for rule in state.get("Choices", ()):
        yield {"from": name, "to": rule["Next"], "kind": "choice", "label": _condition(rule)}
    if "Default" in state:
        yield {"from": name, "to": state["Default"], "kind": "default"}
    for catcher in state.get("Catch", ()):
        label = ", ".join(catcher["ErrorEquals"])
        yield {"from": name, "to": catcher["Next"], "kind": "catch", "label": label}


def _condition(rule: Mapping[str, Any]) -> str:
    """A choice's condition as one line: `$.amount NumericGreaterThan 100`."""
    if "Condition" in rule:
        return str(rule["Condition"])
    for word in ("And", "Or"):
        if word in rule:
            return f" {word.lower()} ".join(f"({_condition(part)})" for part in rule[word])
    if "Not" in rule:
        return f"not ({_condition(rule['Not'])})"
    comparisons = (key for key in rule if key not in {"Variable", "Next", "Comment", "Assign", "Output"})
    return " and ".join(
        f"{rule.get('Variable', '')} {operator} {encode_json(rule[operator]).decode()}" for operator in comparisons
    )
