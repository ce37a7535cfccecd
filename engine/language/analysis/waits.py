"""Tells whether a run of a definition can open more than one wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perdure.engine.language.analysis.connections import connections
from perdure.engine.language.model.resources import parse_resource
from perdure.engine.language.values import Json

_MANY: Final = 2
"""One wait more than a resume that names none can tell apart."""


def opens_several_waits(definition: Mapping[str, Json]) -> bool:
    """Say whether one run of a valid definition can open several waits: at once, in a row, or one again in a loop.

    A Retry is no such loop: what it tries again has not been answered.
    """
    return _opened(definition) >= _MANY


def _opened(machine: Mapping[str, Json]) -> int:
    """The number of waits one run of a machine opens at the most; of more than one it is not known how many."""
    waiting = {name: count for name, state in machine["States"].items() if (count := _opened_in(state))}
    if any(count >= _MANY for count in waiting.values()) or waiting.keys() & _after(machine, set(waiting)):
        return _MANY
    return 1 if waiting else 0


def _opened_in(state: Mapping[str, Json]) -> int:
    """The number of waits one visit of a state opens at the most."""
    if state["Type"] == "Task":
        return 1 if parse_resource(state["Resource"]).waits else 0
    if state["Type"] == "Parallel":
        return sum(_opened(branch) for branch in state["Branches"])
    if state["Type"] == "Map":  # an iteration for each item
        return _MANY if _opened(state.get("ItemProcessor", state.get("Iterator"))) else 0
    return 0


def _after(machine: Mapping[str, Json], states: set[str]) -> set[str]:
    """The states that a run may come to after one of these."""
    ways: dict[str, list[str]] = {}
    for way in connections(machine):
        ways.setdefault(way.origin, []).append(way.target)
    found: set[str] = set()
    ahead = [target for name in states for target in ways.get(name, ())]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += ways.get(name, ())
    return found
