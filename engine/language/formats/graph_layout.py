"""Keeps what a graph of states holds beside its definition, so that the graph can be shown again as it was.

That is positions, names, ids of edges and whatever else is for who shows it; the order of nodes and edges; and how the
same is written where there are two ways. It is JSON, to be stored beside the definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perdure.engine.language.values import Json

_TRIGGER: Final = "trigger"
_NODE: Final = frozenset({"id", "type", "config", "data"})
_EDGE: Final = frozenset({"source", "target", "sourceHandle"})
_GRAPH: Final = frozenset({"nodes", "edges", "definition"})


def layout_of(graph: Mapping[str, Json]) -> dict[str, Json]:
    """Give what a graph that compiles holds beside its definition."""
    return {
        "nodes": {node["id"]: _beside_node(node) for node in graph["nodes"]},
        "edges": [_beside_edge(edge) for edge in graph.get("edges", ())],
        "graph": {name: member for name, member in graph.items() if name not in _GRAPH},
        "definition": graph.get("definition"),
        "hasEdges": "edges" in graph,
    }


def _beside_node(node: Mapping[str, Json]) -> dict[str, Json]:
    held = next((name for name in ("config", "data") if name in node), None)
    config = node[held] if held else {}
    return {
        "type": node["type"],
        "held": held,
        "end": type(config) is dict and config.get("End") is True,
        "config": config if node["type"] == _TRIGGER else None,
        "members": {name: member for name, member in node.items() if name not in _NODE},
    }


def _beside_edge(edge: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "key": _key(edge),
        "members": {name: member for name, member in edge.items() if name not in _EDGE},
        "handle": "sourceHandle" in edge,
    }


def _key(edge: Mapping[str, Json]) -> list[Json]:
    return [edge["source"], edge["target"], edge.get("sourceHandle") or ""]


def laid_out(graph: dict[str, Json], layout: Mapping[str, Json]) -> dict[str, Json]:
    """Put what was kept back into the graph of a definition; what is new in it stands at the end."""
    kept: Mapping[str, Mapping[str, Json]] = layout["nodes"]
    trigger = next((name for name, node in kept.items() if node["type"] == _TRIGGER), None)
    nodes = {node["id"]: node for node in _renamed(graph["nodes"], trigger)}
    edges = [{**edge, "source": _source(edge, graph, trigger)} for edge in graph["edges"]]
    if trigger is None:
        edges = [edge for edge in edges if edge["source"] in nodes]
    ordered = [*(name for name in kept if name in nodes), *(name for name in nodes if name not in kept)]
    return {
        **layout["graph"],
        "nodes": [_node(nodes[name], kept.get(name)) for name in ordered],
        **({"edges": _edges(edges, layout["edges"])} if layout["hasEdges"] or edges else {}),
        **_definition(graph, layout),
    }


def _renamed(nodes: list[Json], trigger: str | None) -> list[Json]:
    """Give the trigger its own name again; leave it out if there was none."""
    others = [node for node in nodes if node["type"] != _TRIGGER]
    return others if trigger is None else [{"id": trigger, "type": _TRIGGER}, *others]


def _source(edge: Mapping[str, Json], graph: Mapping[str, Json], trigger: str | None) -> Json:
    first = graph["nodes"][0]
    is_start = first["type"] == _TRIGGER and edge["source"] == first["id"]
    return trigger if is_start else edge["source"]


def _node(node: dict[str, Json], kept: Mapping[str, Json] | None) -> dict[str, Json]:
    if kept is None:
        return node
    config = node.get("config", {}) if kept["config"] is None else kept["config"]
    if kept["end"]:
        config = {**config, "End": True}
    made = {name: member for name, member in node.items() if name not in ("config", "data")}
    if kept["held"] is not None or config:
        made[kept["held"] or "config"] = config
    return {**made, **kept["members"]}


def _edges(edges: list[dict[str, Json]], kept: list[Mapping[str, Json]]) -> list[Json]:
    by_key = {tuple(_key(edge)): edge for edge in edges}
    ordered: list[Json] = []
    for each in kept:
        edge = by_key.pop(tuple(each["key"]), None)
        if edge is not None:
            handle = {"sourceHandle": None} if each["handle"] and "sourceHandle" not in edge else {}
            ordered.append({**edge, **handle, **each["members"]})
    return [*ordered, *by_key.values()]


def _definition(graph: Mapping[str, Json], layout: Mapping[str, Json]) -> dict[str, Json]:
    """Give the machine's other members; where it starts only if they said so."""
    others = dict(graph.get("definition", {}))
    written = layout["definition"]
    if type(written) is dict and "StartAt" in written:
        others["StartAt"] = written["StartAt"]
    return {"definition": others} if others or written is not None else {}
