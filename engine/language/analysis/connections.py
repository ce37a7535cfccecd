"""The edges of a definition's graph, in document order, each with its label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from perdure.engine.language.values import Json, compact


class Edge(NamedTuple):
    """A way from one state to another. `label`: the condition of a choice, the errors of a catch, else empty."""

    origin: str
    target: str
    kind: Literal["next", "choice", "default", "catch"]
    label: str = ""


def connections(definition: Mapping[str, Json]) -> Iterator[Edge]:
    """List the connections of a valid definition."""
    for name, state in definition["States"].items():
        if "Next" in state:
            yield Edge(name, state["Next"], "next")
        for rule in state.get("Choices", ()):
            yield Edge(name, rule["Next"], "choice", _condition(rule))
        if "Default" in state:
            yield Edge(name, state["Default"], "default")
        for catcher in state.get("Catch", ()):
            yield Edge(name, catcher["Next"], "catch", ", ".join(catcher["ErrorEquals"]))


def _condition(rule: Mapping[str, Json]) -> str:
    """Write a choice's condition as one line: `$.amount NumericGreaterThan 100`."""
    if "Condition" in rule:
        return str(rule["Condition"])
    for word in ("And", "Or"):
        if word in rule:
            return f" {word.lower()} ".join(f"({_condition(part)})" for part in rule[word])
    if "Not" in rule:
        return f"not ({_condition(rule['Not'])})"
    comparisons = (key for key in rule if key not in {"Variable", "Next", "Comment", "Assign", "Output"})
    return " and ".join(f"{rule.get('Variable', '')} {operator} {compact(rule[operator])}" for operator in comparisons)
