"""Definitions in Amazon States Language as graphs, and back: nothing is lost either way.

Each state is a node of its own type, with its fields as `config`; where it leads is an edge: `Next` a plain one, and by
`sourceHandle` the `Next` of a rule (`choice:0`), of a catcher (`catch:0`) and the `Default` (`default`). Machines in a
state stay in its config. A node of type `trigger` leads to the first state. What is not as it should be in a definition
that is not valid stays as it is in the config, so that it comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from perdure.engine.language.diagnostics import Diagnostics, JsonPointer
from perdure.engine.language.errors import Problem
from perdure.engine.language.formats.flow import DocumentError
from perdure.engine.language.formats.graph_layout import laid_out
from perdure.engine.language.parse.state_types import STATE_TYPES
from perdure.engine.language.values import Json

TRIGGER: Final = "trigger"
RAW: Final = "state"
"""The type of a node whose state has no type that there is: the state as it stands is its config's `state`."""

NEXT_TYPES: Final = frozenset({"Task", "Pass", "Wait", "Parallel", "Map"})
"""Types of states that go on to one other state, or end the machine."""

STATE_NODES: Final = frozenset(STATE_TYPES)
DEFAULT: Final = "default"
LISTS: Final[Mapping[str, str]] = {"Choices": "choice", "Catch": "catch"}
"""The fields whose members lead somewhere, and what the handles of their edges begin with."""


class GraphEdge(NamedTuple):
    """An edge between two nodes; `handle` is how it leaves the first, "" if it simply follows."""

    source: str
    target: str
    handle: str = ""


def graph_of(definition: Mapping[str, Json], layout: Mapping[str, Json] | None = None) -> dict[str, Json]:
    """Show a definition as a graph `{nodes, edges, definition}`; the last has the machine's other members.

    `layout`: what `layout_of` has kept of the graph that it was compiled from, so that this is that graph again.

    Raises DocumentError: it is no machine, so that there is nothing to show.
    """
    states = definition.get("States") if type(definition) is dict else None
    if type(states) is not dict:
        raise DocumentError([Problem("/States", "a graph shows the states of a machine, and there are none")])
    nodes: list[Json] = []
    edges: list[Json] = []
    others = {name: member for name, member in definition.items() if name != "States"}
    start = others.get("StartAt")
    if type(start) is str and start in states:
        del others["StartAt"]
        trigger = _free(TRIGGER, states)
        nodes.append({"id": trigger, "type": TRIGGER})
        edges.append({"source": trigger, "target": start})
    for name, state in states.items():
        node, leads = _node_of(name, state, states)
        nodes.append(node)
        edges += ({"source": name, "target": target, **_handled(handle)} for handle, target in leads)
    graph = {"nodes": nodes, "edges": edges, **({"definition": others} if others else {})}
    return graph if layout is None else laid_out(graph, layout)


def _handled(handle: str) -> dict[str, str]:
    return {"sourceHandle": handle} if handle else {}


def _free(name: str, taken: Mapping[str, Json]) -> str:
    while name in taken:
        name += "_"
    return name


def _node_of(name: str, state: Json, states: Mapping[str, Json]) -> tuple[dict[str, Json], list[tuple[str, str]]]:
    """Make the node of a state, and list where it leads, by handle."""
    kind = state.get("Type") if type(state) is dict else None
    if type(state) is not dict or type(kind) is not str or kind not in STATE_NODES:
        return {"id": name, "type": RAW, "config": {"state": state}}, []
    config = {field: member for field, member in state.items() if field != "Type"}
    leads: list[tuple[str, str]] = []
    if kind in NEXT_TYPES and "End" not in state and _leads(state.get("Next"), states):
        leads.append(("", config.pop("Next")))
    for field, handle in LISTS.items():
        if type(config.get(field)) is list:
            config[field] = [dict(member) if type(member) is dict else member for member in config[field]]
            for index, member in enumerate(config[field]):
                if type(member) is dict and _leads(member.get("Next"), states):
                    leads.append((f"{handle}:{index}", member.pop("Next")))
    if kind == "Choice" and _leads(config.get("Default"), states):
        leads.append((DEFAULT, config.pop("Default")))
    is_open = kind in NEXT_TYPES and "End" not in config and "Next" not in state
    if kind in NEXT_TYPES and config.get("End") is True and "Next" not in state:
        del config["End"]  # that is what having no edge means
    return {"id": name, "type": kind, "config": config, **({"isOpen": True} if is_open else {})}, leads


def _leads(target: Json, states: Mapping[str, Json]) -> bool:
    return type(target) is str and target in states


def definition_of(nodes: Mapping[str, Mapping[str, Json]], edges: list[GraphEdge], others: Mapping[str, Json]) -> Json:
    """Make the definition that a graph of states shows.

    `nodes`: by id; all but the trigger are of types of states, or RAW.
    `edges`: of one node at most one by each handle.
    `others`: the machine's other members.
    """
    ways: dict[str, dict[str, str]] = {}
    for edge in edges:
        ways.setdefault(edge.source, {})[edge.handle] = edge.target
    definition: dict[str, Json] = dict(others)
    states: dict[str, Json] = {}
    for name, node in nodes.items():
        if node["type"] == TRIGGER:
            definition["StartAt"] = ways.get(name, {}).get("")
            continue
        states[name] = _state_of(node, ways.get(name, {}))
    definition["States"] = states
    return definition


def _state_of(node: Mapping[str, Json], ways: Mapping[str, str]) -> Json:
    config: Mapping[str, Json] = node.get("config", {})
    if node["type"] == RAW:
        return config.get("state")
    state: dict[str, Json] = {"Type": node["type"], **config}
    for field, handle in LISTS.items():
        if type(state.get(field)) is list:
            state[field] = [_led(member, ways.get(f"{handle}:{index}")) for index, member in enumerate(state[field])]
    if DEFAULT in ways:
        state["Default"] = ways[DEFAULT]
    if "" in ways:
        state["Next"] = ways[""]
    elif node["type"] in NEXT_TYPES and not {"Next", "End"} & state.keys() and not node.get("isOpen"):
        state["End"] = True
    return state


def _led(member: Json, target: str | None) -> Json:
    return {**member, "Next": target} if target is not None and type(member) is dict else member


def handles_of(node: Mapping[str, Json]) -> Iterator[str]:
    """List the handles by which edges may leave a node of a state."""
    config: Any = node.get("config", {})
    if node["type"] in NEXT_TYPES:
        yield ""
    for field, handle in LISTS.items():
        if type(config) is dict and type(config.get(field)) is list:
            yield from (f"{handle}:{index}" for index in range(len(config[field])))
    if node["type"] == "Choice":
        yield DEFAULT


def relocated(found: list[Problem], places: Mapping[str, JsonPointer], diagnostics: Diagnostics) -> None:
    """Add problems of a definition where they stand in the graph; `places` are the pointers to the nodes' configs."""
    for problem in found:
        head, _, rest = problem.path.removeprefix("/States/").partition("/")
        name = head.replace("~1", "/").replace("~0", "~")
        if problem.path.startswith("/States/") and name in places:
            at = places[name]
            for part in rest.split("/") if rest else ():
                at = at / part.replace("~1", "/").replace("~0", "~")
            diagnostics.add(at, problem.message)
        else:
            where = f"{problem.path}: " if problem.path else ""
            diagnostics.add(JsonPointer() / "definition", f"{where}{problem.message}")
