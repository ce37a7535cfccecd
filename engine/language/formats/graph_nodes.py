"""Reads the nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.formats.flow import FlowStep
from perdure.engine.language.formats.graph_states import RAW, STATE_NODES, TRIGGER
from perdure.engine.language.formats.members import Members
from perdure.engine.language.formats.step_list import StepListReader
from perdure.engine.language.values import Json, shown

NODE: Final = (
    "id",
    "type",
    "name",
    "action",
    "config",
    "data",
    "errorHandling",
    "retryConfig",
    "timeoutMs",
    "position",
)
_STEP: Final = ("id", "type", "name", "action", "errorHandling", "retryConfig", "timeoutMs")
_SHOWN: Final = frozenset({"label", "description", "icon", "color"})
"""Members of `data` that are for who shows it."""


class GraphNode(NamedTuple):
    """A node. `source` is as written; `step` is what it does, None for a trigger."""

    id: str
    type: str
    source: Mapping[str, Json]
    pointer: JsonPointer
    config_pointer: JsonPointer
    step: FlowStep | None = None


def read_node(
    source: Json,
    pointer: JsonPointer,
    reader: StepListReader,
    diagnostics: Diagnostics,
) -> GraphNode | None:
    """Read one node; None, with problems, if it is none."""
    if type(source) is not dict:
        diagnostics.add(pointer, "a node must be an object {id, type, config}")
        return None
    members = Members(source, pointer, diagnostics)
    for name in source:
        near = "" if name in NODE else diagnostics.suggestion(name, NODE)
        if near:
            members.refuse(name, f"unknown member {shown(name)}{near}")
    if "config" in members and "data" in members and type(source["data"]) is dict and set(source["data"]) - _SHOWN:
        members.refuse("data", "means the same as config: give one of them")
    held = "config" if "config" in members or "data" not in members else "data"
    kind = members.get("type")
    if type(kind) is str and (kind in STATE_NODES or kind in (TRIGGER, RAW)):
        return _state(members, kind, held, reader)
    config = members.inner(held)
    written = {name: source[name] for name in _STEP if name in source}
    given = {name: member for name, member in config.source.items() if held == "config" or name not in _SHOWN}
    if kind == "condition":
        for name in ("then", "else"):
            if name in given:
                config.refuse(
                    name, f"{name} is said by edges: one with sourceHandle {'true' if name == 'then' else 'false'}"
                )
        given = {name: member for name, member in given.items() if name not in ("then", "else")}
    step = reader.step({**written, "config": given}, pointer, pointer / held)
    return None if step is None else GraphNode(step.id, str(kind), source, pointer, pointer / held, step)


def _state(members: Members, kind: str, held: str, reader: StepListReader) -> GraphNode | None:
    """Read a node that is a state, or the trigger."""
    name = reader.taken_id(members)
    config = members.inner(held)
    if not name:
        return None
    if kind != TRIGGER:
        for field in ("errorHandling", "retryConfig", "timeoutMs", "action"):
            if field in members:
                members.refuse(field, f"belongs to steps: a node of type {kind} has the fields of its state in config")
    step = FlowStep(
        id=name,
        kind="state",
        name=members.text("name", most=255),
        pointer=members.pointer,
        config={"Type": kind, **config.source},
        config_pointer=config.pointer,
    )
    source = {**members.source, "config": config.source}
    return GraphNode(name, kind, source, members.pointer, config.pointer, None if kind == TRIGGER else step)
